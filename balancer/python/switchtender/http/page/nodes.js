// The table of nodes with its filters: by words, by state, by group. Problems come first, until somebody sorts it.

import { Badge, STATES } from "./parts.js";
import { attribute, byId, make, write } from "./dom.js";
import { count, groupKey, many } from "./format.js";
import { rank } from "./alarms.js";
import { matches, wordsOf } from "./order.js";
import { nodeKey, NodeRow } from "./node-row.js";
import { Table } from "./table.js";

const first = (value) => value ?? null;
const COLUMNS = [
  { id: "name", title: "Node", sort: (node) => node.node },
  { id: "state", title: "State", sort: (node) => rank(node) },
  { id: "load", title: "Load", sort: (node) => node.utilization, descending: true },
  { id: "calls", title: "Calls/s", sort: (node) => node.callsPerSecond, descending: true },
  { id: "rate", title: "Sessions/s", sort: (node) => first(node.sessionRate), descending: true },
  { id: "age", title: "Heartbeat", sort: (node) => first(node.reportAge), descending: true },
  { id: "probe", title: "OPTIONS", sort: (node) => first(node.probe && Number(node.probe.answered)) },
  { id: "weight", title: "Weight", sort: (node) => [node.priority, -node.weight] },
  { id: "order", title: "Order" },
];

export class Nodes {
  /** `open(key)` shows all of a node, `act(verb, key)` begins an order, `verbOf(node)` is what may be ordered. */
  constructor({ open, act, verbOf }) {
    this.verbOf = verbOf;
    this.filter = { words: [], states: new Set(), group: null };
    this.view = null;
    this.table = new Table(byId("nodes-table"), {
      label: "nodes-title",
      columns: COLUMNS,
      keyOf: nodeKey,
      tie: (node) => [groupKey(node), node.node],
      makeRow: (node) => {
        const row = new NodeRow(node, { open, act });
        return { element: row.element, update: (fresh) => row.update(fresh, this.verbOf(fresh), this.view.time) };
      },
      cap: 50,
      what: "nodes",
      sortedBy: "state",
    });
    this.states = new Map(STATES.map((state) => [state, this.stateButton(state)]));
    byId("filter-states").append(...[...this.states.values()].map(({ button }) => button));
    byId("filter-words").addEventListener("input", () => this.narrow({ words: wordsOf(byId("filter-words").value) }));
    byId("filter-group").addEventListener("change", () => this.narrow({ group: byId("filter-group").value || null }));
    byId("filter-clear").addEventListener("click", () => this.clear());
  }

  stateButton(state) {
    const badge = new Badge();
    badge.update(state);
    const number = make("span", { class: "count" });
    const button = make("button", { type: "button", class: "chip", "aria-pressed": "false" }, badge.element, number);
    button.addEventListener("click", () => {
      const states = new Set(this.filter.states);
      if (!states.delete(state)) states.add(state);
      this.narrow({ states });
    });
    return { button, number };
  }

  /** Show only these: any of `words`, `states` and `group`; what is not given stays. */
  narrow(change) {
    Object.assign(this.filter, change);
    byId("filter-group").value = this.filter.group ?? "";
    for (const [state, { button }] of this.states) attribute(button, "aria-pressed", this.filter.states.has(state));
    this.update(this.view);
  }

  /** Show all. */
  clear() {
    byId("filter-words").value = "";
    this.narrow({ words: [], states: new Set(), group: null });
  }

  update(view) {
    this.view = view;
    if (view === null) return;
    this.offerGroups(view.groups.map(groupKey));
    const here = view.nodes.filter((node) => matches(node, { ...this.filter, states: new Set() }));
    const numbers = new Map();
    for (const node of here) numbers.set(node.state, (numbers.get(node.state) ?? 0) + 1);
    for (const [state, { number, button }] of this.states) {
      write(number, count(numbers.get(state) ?? 0));
      button.classList.toggle("zero", !numbers.has(state));
    }
    const shown = here.filter((node) => matches(node, this.filter));
    const all = view.nodes.length;
    write(byId("nodes-count"), shown.length === all ? count(all) : `${count(shown.length)} of ${count(all)}`);
    byId("filter-clear").hidden = shown.length === all && !this.narrowed();
    this.table.show(shown, all === 0 ? "No node is known yet." : `None of ${many(all, "node")} is like that.`);
  }

  narrowed() {
    return this.filter.words.length > 0 || this.filter.states.size > 0 || this.filter.group !== null;
  }

  offerGroups(keys) {
    const select = byId("filter-group");
    const offered = [...select.options].slice(1).map((option) => option.value);
    if (offered.join() === keys.join()) return;
    select.replaceChildren(select.options[0], ...keys.map((key) => make("option", { value: key, text: key })));
    select.value = keys.includes(this.filter.group) ? this.filter.group : "";
    this.filter.group = select.value || null;
  }
}
