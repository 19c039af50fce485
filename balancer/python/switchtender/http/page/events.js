// What happened lately, the newest first; of one node where somebody asks for it.

import { arrange, attribute, byId, icon, make, point, show, write } from "./dom.js";
import { isoMoment, moment } from "./format.js";
import { wordsOf } from "./order.js";

const KEPT = 2000; // as many as the journal keeps
const STEP = 100; // shown at first, and more with each wish for older ones
const SEVERITIES = ["info", "warning", "error"];

/** What an event and its repeats have in common: the journal tells a repeat as the same event under a new id. */
const same = (event) => [event.type, event.since, event.namespace, event.group, event.node, event.reason].join("\n");

class Line {
  constructor() {
    this.drawing = icon("info");
    this.severity = make("span", { class: "unseen" });
    this.time = make("time");
    this.who = make("strong");
    this.what = make("span", { class: "reason" });
    this.times = make("span", { class: "times" });
    this.message = make("span", { class: "message" });
    const head = make("span", { class: "line" }, this.time, this.who, this.what, this.times);
    this.element = make("li", {}, this.drawing, this.severity, make("div", {}, head, this.message));
  }

  update(event) {
    const severity = SEVERITIES.includes(event.severity) ? event.severity : "info";
    this.element.dataset.severity = severity;
    this.element.dataset.id = event.id;
    point(this.drawing, severity);
    write(this.severity, severity === "info" ? "" : `${severity}: `);
    write(this.time, moment(event.time));
    attribute(this.time, "datetime", isoMoment(event.time));
    write(this.who, event.node ?? (event.group === null ? event.type : `${event.namespace}/${event.group}`));
    write(this.what, event.reason);
    write(this.times, event.count > 1 ? `× ${event.count}` : "");
    write(this.message, event.message);
    return this.element;
  }
}

export class Events {
  /** `older()` asks for the oldest events that the journal has. */
  constructor({ older }) {
    this.kept = []; // oldest first
    this.lines = new Map();
    this.words = [];
    this.shown = STEP;
    this.first = 0; // the oldest id that the journal keeps
    this.older = older;
    byId("events-filter").addEventListener("input", () => this.narrow(byId("events-filter").value));
    byId("events-older").addEventListener("click", () => this.showOlder());
  }

  /** The id of the newest event, 0 before the first. */
  get last() {
    return this.kept.at(-1)?.id ?? 0;
  }

  /** Forget all: another process has another journal. */
  clear() {
    this.kept = [];
    this.lines.clear();
    this.render();
  }

  /** Take in events, in any order; those that are known are left out. */
  add(events) {
    const known = new Set(this.kept.map((event) => event.id));
    const fresh = events.filter((event) => !known.has(event.id));
    if (fresh.length === 0) return;
    this.kept = [...this.kept, ...fresh].sort((one, other) => one.id - other.id);
    const newest = new Map(this.kept.map((event) => [same(event), event.id]));
    this.kept = this.kept.filter((event) => newest.get(same(event)) === event.id);
    this.kept = this.kept.slice(-KEPT);
    const kept = new Set(this.kept.map((event) => event.id));
    for (const id of this.lines.keys()) if (!kept.has(id)) this.lines.delete(id);
    this.render();
  }

  /** Show only events whose node, group, reason or message holds these words. */
  narrow(text) {
    this.words = wordsOf(text);
    byId("events-filter").value = text;
    this.render();
  }

  render() {
    const asked = (event) => {
      const text = [event.type, event.namespace, event.group, event.node, event.reason, event.message].join(" ");
      return this.words.every((word) => text.toLowerCase().includes(word));
    };
    const found = this.kept.filter(asked);
    const shown = found.slice(-this.shown).reverse();
    arrange(byId("events-list"), shown.map((event) => this.line(event)));
    show(byId("events-none"), shown.length === 0);
    write(byId("events-none"), this.words.length ? "No event with these words." : "Nothing has happened yet.");
    show(byId("events-older"), found.length > shown.length || this.moreThere());
  }

  line(event) {
    let line = this.lines.get(event.id);
    if (line === undefined) {
      line = new Line();
      this.lines.set(event.id, line);
    }
    return line.update(event);
  }

  /** Take in a page of the journal: {events, first}. */
  take({ events, first }) {
    this.first = first;
    this.add(events);
  }

  async showOlder() {
    this.shown += STEP;
    if (this.kept.length < this.shown && this.moreThere()) this.take(await this.older());
    this.render();
  }

  moreThere() {
    return this.first > 0 && this.kept.length > 0 && this.kept[0].id > this.first;
  }
}
