// The table of groups: how full each is, how its nodes stand, what it takes and what it turns away.

import { Badge, LoadBar, STATES } from "./parts.js";
import { byId, make, show, write } from "./dom.js";
import { amount, causes, count, groupKey } from "./format.js";
import { groupRank } from "./alarms.js";
import { cell, Table } from "./table.js";

const COLUMNS = [
  { id: "name", title: "Group", sort: groupKey },
  { id: "load", title: "Load", sort: (group) => group.utilization, descending: true },
  { id: "states", title: "Nodes", sort: (group) => [groupRank(group)] },
  { id: "calls", title: "Calls/s", sort: (group) => group.callsPerSecond, descending: true },
  { id: "rejected", title: "Turned away/s", sort: (group) => group.rejectedPerSecond, descending: true },
  { id: "failovers", title: "Failovers", sort: (group) => total(group.failovers), descending: true },
];

const total = (totals) => Object.values(totals ?? {}).reduce((sum, value) => sum + value, 0);

class Row {
  constructor(group, choose) {
    this.key = groupKey(group);
    this.name = make("button", { type: "button", class: "link", text: this.key });
    this.name.addEventListener("click", () => choose(this.key));
    this.algorithm = make("span", { class: "under" });
    this.load = new LoadBar();
    this.badges = new Map(STATES.map((state) => [state, new Badge()]));
    this.eligible = make("span", { class: "under" });
    this.calls = make("span", { class: "number" });
    this.placed = make("span", { class: "under" });
    this.rejected = make("span", { class: "number" });
    this.why = make("span", { class: "under" });
    this.failovers = make("span", { class: "number" });
    this.failed = make("span", { class: "under" });
    const badges = make("span", { class: "badges" }, ...[...this.badges.values()].map((badge) => badge.element));
    this.element = make(
      "tr",
      { role: "row" },
      cell("Group", this.name, this.algorithm),
      cell("Load", this.load.element),
      cell("Nodes", badges, this.eligible),
      cell("Calls/s", this.calls, this.placed),
      cell("Turned away/s", this.rejected, this.why),
      cell("Failovers", this.failovers, this.failed),
    );
    this.element.dataset.key = this.key;
  }

  update(group) {
    write(this.algorithm, group.algorithm);
    this.load.update(group, this.key);
    for (const [state, badge] of this.badges) {
      const number = group.states[state] ?? 0;
      badge.update(state, `${count(number)} ${state}`);
      show(badge.element, number > 0);
    }
    write(this.eligible, `${count(group.eligible)} of ${count(group.nodes)} eligible`);
    write(this.calls, amount(group.callsPerSecond));
    write(this.placed, `${count(group.assigned)} placed`);
    write(this.rejected, amount(group.rejectedPerSecond));
    write(this.why, causes(group.rejected) || "none so far");
    write(this.failovers, count(total(group.failovers)));
    write(this.failed, causes(group.failovers) || "none so far");
    this.element.classList.toggle("alarm", group.eligible === 0);
    this.rejected.classList.toggle("bad", group.rejectedPerSecond > 0);
    this.eligible.classList.toggle("bad", group.eligible === 0);
  }
}

/** The table; `choose(key)` narrows the nodes to a group. Gives {update(view)}. */
export function groupsTable(choose) {
  const table = new Table(byId("groups-table"), {
    label: "groups-title",
    columns: COLUMNS,
    keyOf: groupKey,
    tie: groupKey,
    makeRow: (group) => new Row(group, choose),
    cap: 20,
    what: "groups",
    sortedBy: "states",
  });
  return {
    update(view) {
      write(byId("groups-count"), count(view.groups.length));
      table.show(view.groups, "No group is configured yet.");
    },
  };
}
