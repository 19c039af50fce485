// The top of the page: whose it is, whether what stands is fresh, how much goes through, and what is wrong.

import { alarms } from "./alarms.js";
import { arrange, attribute, byId, icon, make, point, show, write } from "./dom.js";
import { amount, count, duration, moment } from "./format.js";

const MOST = 12; // alarms in words: whoever has more needs their number
const CONNECTIONS = {
  connecting: ["Connecting…", "connecting"],
  live: ["Live", "live"],
  reconnecting: ["Reconnecting", "lost"],
  silent: ["No word from the balancer", "lost"],
};

/** Tell how the connection stands; `last` is the moment (milliseconds) of the last view, or null. */
export class Connection {
  constructor() {
    this.name = "connecting";
    this.last = null;
    this.drawing = icon("connecting");
    byId("connection").prepend(this.drawing);
    setInterval(() => this.tellAge(), 1000);
  }

  update(name, last) {
    this.name = name;
    this.last = last;
    const [words, drawing] = CONNECTIONS[name];
    const since = name === "live" || last === null ? "" : ` since ${moment(last / 1000)}`;
    write(byId("connection-words"), words + since);
    attribute(byId("connection"), "data-state", name);
    point(this.drawing, drawing);
    const old = name !== "live" && last !== null;
    document.body.classList.toggle("old", old);
    show(byId("old"), old);
    this.tellAge();
  }

  tellAge() {
    if (this.name === "live" || this.last === null) return;
    write(byId("old-age"), duration(Math.floor((Date.now() - this.last) / 1000)));
  }
}

export class Header {
  /** `narrow(filter)` shows the nodes that an alarm is about. */
  constructor({ narrow }) {
    this.narrow = narrow;
    this.rows = new Map();
  }

  update(view) {
    const { process } = view;
    write(byId("balancer"), view.balancer ?? "");
    write(byId("version"), view.version);
    write(byId("calls-per-second"), amount(process.callsPerSecond));
    write(byId("transactions"), count(process.transactionsOpen));
    write(byId("dialogs"), count(process.dialogs));
    this.tellAlarms(alarms(view), view);
  }

  tellAlarms(found, view) {
    const number = found.reduce((sum, alarm) => sum + alarm.weight, 0);
    const name = view.balancer === null ? "Switchtender" : `${view.balancer} · Switchtender`;
    const title = number > 0 ? `(${number}) ${name}` : name;
    if (document.title !== title) document.title = title;
    write(byId("alarms-count"), count(number));
    arrange(byId("alarms-list"), found.slice(0, MOST).map((alarm) => this.row(alarm)));
    show(byId("alarms-more"), found.length > MOST);
    write(byId("alarms-more"), `and ${count(found.length - MOST)} more`);
    show(byId("alarms-none"), number === 0);
    attribute(byId("alarms"), "data-alarms", number > 0 ? "some" : "none");
    const seen = new Set(found.map(({ key }) => key));
    for (const key of this.rows.keys()) if (!seen.has(key)) this.rows.delete(key);
  }

  row({ key, severity, text, filter }) {
    let row = this.rows.get(key);
    if (row === undefined) {
      const words = make("span");
      const way = filter === null ? make("span") : make("button", { type: "button", title: "Show these nodes" });
      way.append(icon(severity), words);
      if (filter !== null) way.addEventListener("click", () => this.narrow(filter));
      const element = make("li", { "data-severity": severity }, way);
      row = { element, words };
      this.rows.set(key, row);
    }
    write(row.words, text);
    return row.element;
  }
}
