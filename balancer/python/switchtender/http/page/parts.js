// The pieces that say how something stands: the badge of a state, the bar of a load. Both say it in words, too: neither
// a color nor a length means anything alone.

import { amount, NONE, percent } from "./format.js";
import { attribute, icon, make, point, write } from "./dom.js";

/** States in the order in which they are counted out: the worst first. */
export const STATES = ["down", "stale", "unknown", "full", "draining", "ready"];

/** The badge of a state: its icon and its word. */
export class Badge {
  constructor() {
    this.drawing = icon("unknown");
    this.word = make("span");
    this.element = make("span", { class: "badge" }, this.drawing, this.word);
  }

  update(state, word = state) {
    if (this.element.dataset.state !== state) {
      this.element.dataset.state = state;
      point(this.drawing, STATES.includes(state) ? state : "unknown");
    }
    write(this.word, word);
  }
}

/** A load bar: effective of capacity as its length, what was reported as a mark on it, and the numbers beneath. */
export class LoadBar {
  constructor() {
    this.fill = make("span", { class: "fill" });
    this.mark = make("span", { class: "mark" });
    this.track = make("span", { class: "track", role: "meter", "aria-valuemin": "0" }, this.fill, this.mark);
    this.part = make("strong", { class: "part" });
    this.numbers = make("span", { class: "numbers" });
    this.element = make("span", { class: "load" }, this.part, this.track, this.numbers);
  }

  /** `item` is a node or a group; `name` says whose load it is, `heard` whether it is known as of now. */
  update(item, name, heard = true) {
    const { effective, capacity, sessions, utilization } = item;
    const known = capacity > 0;
    const numbers = `${amount(effective)} of ${amount(capacity)}`;
    const reported = sessions === null ? "none reported" : `${amount(sessions)} reported`;
    write(this.part, known ? percent(utilization) : NONE);
    write(this.numbers, `${numbers} · ${reported}`);
    const level = !heard ? "old" : utilization >= 0.95 ? "high" : utilization >= 0.8 ? "raised" : "calm";
    if (this.track.dataset.level !== level) this.track.dataset.level = level;
    this.track.classList.toggle("empty", !known);
    place(this.fill, "--part", known ? utilization : 0);
    place(this.mark, "--part", known && sessions !== null ? sessions / capacity : 0);
    this.mark.hidden = !known || sessions === null;
    attribute(this.track, "aria-label", `Load of ${name}`);
    attribute(this.track, "aria-valuemax", Math.max(capacity, 0));
    attribute(this.track, "aria-valuenow", Math.min(Math.max(effective, 0), Math.max(capacity, 0)));
    attribute(this.track, "aria-valuetext", `${numbers} sessions, ${reported}`);
  }
}

function place(element, property, part) {
  const value = Math.min(1, Math.max(0, part)).toFixed(3);
  if (element.style.getPropertyValue(property) !== value) element.style.setProperty(property, value);
}
