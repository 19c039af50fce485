// All that is known of one node, in a dialog that follows the view while it is open.

import { Badge, LoadBar } from "./parts.js";
import { arrange, byId, make, show, write } from "./dom.js";
import { amount, count, duration, groupKey, moment, NONE, percent } from "./format.js";
import { because, link, nodeKey, probe } from "./node-row.js";
import { VERDICTS } from "./words.js";

/** What is told of a node, by name. */
function facts(node, now) {
  const found = [
    ["SIP", `${node.sip} over ${node.transport}`],
    ["Event Socket", node.esl ?? "none"],
    ["Link", link(node) + (node.linkDetail ? `: ${node.linkDetail}` : "")],
    ["Event Socket errors", nonZero(node.eslErrors) || "none"],
    ["Last report", node.reportAge === null ? "never" : `${duration(node.reportAge)} ago`],
    ["Sessions reported", `${count(node.sessions)} of ${count(node.maxSessions)}`],
    ["Effective, capacity, free", [node.effective, node.capacity, node.free].map(amount).join(", ")],
    ["Headroom kept", amount(node.headroom)],
    ["Our share of its sessions", percent(node.share)],
    ["Calls placed, ended, under way", [node.assigned, node.ended, node.inFlight].map(count).join(", ")],
    ["Calls/s, share of the group's", `${amount(node.callsPerSecond)}, ${percent(node.callShare)}`],
    ["Legs/s, requests/s", `${amount(node.legsPerSecond)}, ${amount(node.requestsPerSecond)}`],
    ["Sessions/s reported, limit", `${amount(node.sessionRate)}, ${amount(node.sessionsPerSecondLimit)}`],
    ["OPTIONS", probe(node).join(", ") + (node.probe?.detail ? `: ${node.probe.detail}` : "")],
    ["Verdict", `${node.verdict}: it ${VERDICTS[node.verdict] ?? node.verdict}`],
    ["Failures in a row", count(node.failures)],
    ["Weight, priority, score", [node.weight, node.priority, node.score].map(amount).join(", ")],
    ["Idle CPU", node.idleCPU === null ? NONE : `${amount(node.idleCPU)} %`],
    ["Ordered", ordered(node.admin)],
  ];
  for (const [name, { inUse, limit }] of Object.entries(node.resources)) {
    found.push([`Resource ${name}`, `${count(inUse)} of ${limit === null ? "no limit" : count(limit)}`]);
  }
  if (node.drain) {
    const { since, deadline } = node.drain;
    const end = deadline === null || deadline === undefined ? "no deadline" : `deadline ${moment(deadline, now)}`;
    found.push(["Drain", `${since ? `since ${moment(since, now)}, ` : ""}${end}`]);
  }
  found.push(["Core-UUID", node.coreUUID ?? NONE], ["Known as", node.uid]);
  return found;
}

const nonZero = (totals) =>
  Object.entries(totals)
    .filter(([, total]) => total > 0)
    .map(([reason, total]) => `${reason} ${count(total)}`)
    .join(", ");

function ordered(admin) {
  const parts = [];
  if (admin.state !== null) parts.push(admin.state);
  if (admin.weight !== null) parts.push(`weight ${admin.weight}`);
  for (const [name, limit] of Object.entries(admin.resources)) parts.push(`${name} ${limit}`);
  return parts.join(", ") || "nothing";
}

export class Sheet {
  /** `showEvents(name)` shows the events of a node. */
  constructor({ showEvents }) {
    this.key = null;
    this.view = null;
    this.badge = new Badge();
    this.load = new LoadBar();
    this.rows = new Map();
    this.dialog = byId("sheet");
    byId("sheet-badge").append(this.badge.element);
    byId("sheet-load").append(this.load.element);
    this.dialog.addEventListener("close", () => (this.key = null));
    byId("sheet-events").addEventListener("click", () => {
      const { node } = this.found();
      this.dialog.close();
      showEvents(node);
    });
  }

  /** Show this node. */
  open(key) {
    this.key = key;
    this.update(this.view);
    this.dialog.showModal();
  }

  found() {
    return this.view.nodes.find((node) => nodeKey(node) === this.key);
  }

  update(view) {
    this.view = view;
    if (this.key === null || view === null) return;
    const node = this.found();
    show(byId("sheet-gone"), node === undefined);
    if (node === undefined) return;
    write(byId("sheet-title"), node.node);
    write(byId("sheet-group"), groupKey(node));
    this.badge.update(node.state);
    const since = `since ${moment(view.time - node.stateSeconds, view.time)} (${duration(node.stateSeconds)})`;
    write(byId("sheet-reason"), `${node.reason} ${since}`);
    write(byId("sheet-because"), because(node));
    this.load.update(node, node.node);
    const shown = facts(node, view.time);
    arrange(byId("sheet-facts"), shown.map(([name, value]) => this.row(name, value)));
  }

  row(name, value) {
    let row = this.rows.get(name);
    if (row === undefined) {
      row = { value: make("dd") };
      row.element = make("div", {}, make("dt", { text: name }), row.value);
      this.rows.set(name, row);
    }
    write(row.value, value);
    return row.element;
  }
}
