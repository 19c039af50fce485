// One node in the table: its state and why, its load, what comes to it, how it is heard.

import { Badge, LoadBar } from "./parts.js";
import { attribute, make, show, write } from "./dom.js";
import { amount, count, duration, groupKey, milliseconds, moment, NONE, percent } from "./format.js";
import { isLost } from "./alarms.js";
import { LINKS, VERDICTS } from "./words.js";
import { REASONS } from "./reasons.js";
import { cell } from "./table.js";

/** What an entry of the API is known by: a node has one in each of its groups. */
export const nodeKey = (node) => `${groupKey(node)}/${node.uid}`;

const HEARD = new Set(["ready", "full", "draining"]);

/** Why a node is as it is, in a sentence; "" where nothing is to be said. */
export function because(node) {
  if (node.state === "ready" && node.eligible) return "";
  if (node.state === "ready") return `Takes no call now: it ${VERDICTS[node.verdict] ?? node.verdict}.`;
  const known = REASONS[node.reason] ?? "";
  const ejected = node.reason === "Ejected" ? ` Left alone for ${duration(node.ejectedSeconds)} more.` : "";
  return known + ejected;
}

/** How the Event Socket stands, in a few words: up, or the trouble. */
export function link(node) {
  if (node.esl === null) return "no Event Socket";
  if (node.link === "authenticated") return "connected";
  return LINKS[node.link] ?? "not connected yet";
}

/** What OPTIONS came to: the answer, and how long it took or since when there is none. */
export function probe(node) {
  const found = node.probe;
  if (found === null) return [NONE, "not probed"];
  if (found.answered) return [String(found.status ?? "answered"), milliseconds(found.roundTrip)];
  return ["no answer", `${count(found.failures)} in a row`];
}

export class NodeRow {
  /** `open(key)` shows all of the node; `act(verb, key)` begins an order. */
  constructor(node, { open, act }) {
    const key = nodeKey(node);
    this.name = make("button", { type: "button", class: "link", text: node.node, "aria-haspopup": "dialog" });
    this.name.addEventListener("click", () => open(key));
    this.badge = new Badge();
    this.load = new LoadBar();
    for (const part of ["where", "since", "reason", "because", "calls", "share", "rate", "limit", "age", "link"]) {
      this[part] = make("span", { class: "under" });
    }
    for (const part of ["answer", "trip", "weight", "priority", "deadline"]) this[part] = make("span", { class: "under" });
    for (const part of [this.calls, this.rate, this.age, this.answer, this.weight]) part.className = "number";
    this.reason.className = "reason";
    this.because.className = "because";
    this.deadline.className = "because";
    this.order = make("button", { type: "button", class: "order" });
    this.order.addEventListener("click", () => act(this.order.dataset.verb, key));
    this.element = make(
      "tr",
      { role: "row" },
      cell("Node", this.name, this.where),
      cell("State", make("span", { class: "line" }, this.badge.element, this.since), this.reason, this.because, this.deadline),
      cell("Load", this.load.element),
      cell("Calls/s", this.calls, this.share),
      cell("Sessions/s", this.rate, this.limit),
      cell("Heartbeat", this.age, this.link),
      cell("OPTIONS", this.answer, this.trip),
      cell("Weight", this.weight, this.priority),
      cell("Order", this.order),
    );
    this.element.dataset.key = key;
  }

  /** `orders` is the verb that may be ordered of it, or null; `now` is the view's moment. */
  update(node, verb, now) {
    write(this.where, groupKey(node));
    attribute(this.where, "title", node.sip);
    this.badge.update(node.state);
    write(this.reason, node.reason);
    write(this.since, `for ${duration(node.stateSeconds)}`);
    attribute(this.since, "title", `since ${moment(now - node.stateSeconds, now)}`);
    say(this.because, because(node));
    say(this.deadline, drainText(node, now));
    this.load.update(node, node.node, HEARD.has(node.state));
    write(this.calls, amount(node.callsPerSecond));
    write(this.share, node.callShare === null ? "no calls" : `${percent(node.callShare)} of calls`);
    write(this.rate, amount(node.sessionRate));
    write(this.limit, node.sessionsPerSecondLimit === null ? "no limit" : `limit ${amount(node.sessionsPerSecondLimit)}`);
    write(this.age, node.reportAge === null ? "never" : duration(node.reportAge));
    write(this.link, link(node));
    attribute(this.link, "title", node.linkDetail || null);
    const [answer, trip] = probe(node);
    write(this.answer, answer);
    write(this.trip, trip);
    write(this.weight, amount(node.weight));
    write(this.priority, `priority ${count(node.priority)}`);
    this.element.classList.toggle("alarm", isLost(node));
    this.tellOrder(node, verb);
  }

  tellOrder(node, verb) {
    show(this.order, verb !== null);
    if (verb === null || this.order.dataset.verb === verb) return;
    this.order.dataset.verb = verb;
    write(this.order, verb === "drain" ? "Drain" : "Undrain");
    attribute(this.order, "aria-label", `${verb === "drain" ? "Drain" : "Undrain"} ${node.node} of ${groupKey(node)}`);
  }
}

function say(element, text) {
  write(element, text);
  show(element, text !== "");
}

function drainText(node, now) {
  if (!node.drain?.deadline) return "";
  const left = node.drain.deadline - now;
  const { sessions } = node.drain;
  if (sessions === 0) return "Drained: no session remains.";
  const remain = sessions === null ? "" : ` ${count(sessions)} remain.`;
  const until = `Drain ends ${moment(node.drain.deadline, now)}`;
  return left >= 0 ? `${until}, in ${duration(left)}.${remain}` : `${until}: ${duration(-left)} ago, and calls still stand.${remain}`;
}
