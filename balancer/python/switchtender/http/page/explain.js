// The question where a call would go, and the answer of the code that routes calls: the choice, and of each node why.

import { Badge } from "./parts.js";
import { byId, make, show, write } from "./dom.js";
import { amount, percent } from "./format.js";
import * as api from "./api.js";
import { REFUSALS } from "./words.js";
import { cell, Table } from "./table.js";

const FIELDS = ["requestUri", "method", "from", "to", "source", "listener", "group"];
const DRAWN = new Set(["LeastLoad", "Random", "Weighted"]); // algorithms that draw lots
const COLUMNS = [
  { id: "name", title: "Node", sort: (entry) => entry.name },
  { id: "verdict", title: "Verdict", sort: (entry) => (entry.taken ? 0 : entry.verdict === "Eligible" ? 1 : 2) },
  { id: "room", title: "Room", sort: (entry) => entry.free, descending: true },
  { id: "weight", title: "Weight", sort: (entry) => [entry.priority, -entry.weight] },
];

/** The header lines as typed, by name. Raises Error with the line that is none. */
export function headersOf(text) {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(":");
      if (colon < 1) throw new Error(`Not a header line: ${line}. Accepted: Name: value`);
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    }),
  );
}

/** What the form asks. Raises Error. */
function question(form) {
  const given = new FormData(form);
  const wanted = {};
  const message = given.get("kind") === "message";
  for (const field of message ? ["source", "listener", "group"] : FIELDS) {
    const value = (given.get(field) ?? "").trim();
    if (value !== "") wanted[field] = value;
  }
  if (message) return { ...wanted, message: given.get("message") };
  const headers = headersOf(given.get("headers"));
  return Object.keys(headers).length ? { ...wanted, headers } : wanted;
}

/** The answer in one sentence. */
export function sentence(answer) {
  const { choice } = answer;
  if (choice === null) return `No node takes the call: ${REFUSALS[answer.reason] ?? answer.reason}.`;
  const over = choice.transport ? ` over ${choice.transport}` : "";
  return `Goes to ${choice.name} (${choice.sip}${over}).`;
}

/** Which group was asked, and how it chooses. */
export function circumstances(answer) {
  if (answer.group === null) return "";
  const key = `${answer.group.namespace}/${answer.group.name}`;
  const rule = answer.rule === null ? "every call is its" : `by its rule ${answer.rule}`;
  const by = answer.matches ? rule : "none of its rules matches, it was asked for";
  const hash = answer.hash ? `, hash key ${answer.hash}` : "";
  const draw = answer.choice !== null && DRAWN.has(answer.algorithm) ? " Another draw may differ." : "";
  return `Group ${key}: ${by}; algorithm ${answer.algorithm}${hash}.${draw}`;
}

class Row {
  constructor() {
    this.name = make("strong");
    this.where = make("span", { class: "under" });
    this.badge = new Badge();
    this.verdict = make("span", { class: "reason" });
    this.why = make("span", { class: "because" });
    this.room = make("span", { class: "number" });
    this.load = make("span", { class: "under" });
    this.weight = make("span", { class: "number" });
    this.priority = make("span", { class: "under" });
    this.element = make(
      "tr",
      { role: "row" },
      cell("Node", this.name, this.where),
      cell("Verdict", make("span", { class: "line" }, this.badge.element, this.verdict), this.why),
      cell("Room", this.room, this.load),
      cell("Weight", this.weight, this.priority),
    );
  }

  update(entry) {
    this.element.dataset.key = entry.uid;
    this.element.classList.toggle("taken", entry.taken);
    write(this.name, entry.name);
    write(this.where, `${entry.sip} over ${entry.transport}`);
    this.badge.update(entry.state ?? "unknown");
    write(this.verdict, entry.taken ? `${entry.verdict}, chosen` : entry.verdict);
    write(this.why, entry.why);
    write(this.room, amount(entry.free));
    write(this.load, `${amount(entry.effective)} of ${amount(entry.capacity)}, ${percent(entry.utilization)}`);
    write(this.weight, amount(entry.weight));
    write(this.priority, `priority ${entry.priority}, score ${amount(entry.score)}`);
  }
}

const candidates = (place, label) =>
  new Table(byId(place), {
    label,
    columns: COLUMNS,
    keyOf: (entry) => entry.uid,
    tie: (entry) => entry.name,
    makeRow: () => new Row(),
    cap: 20,
    what: "candidates",
    sortedBy: "verdict",
  });

/** Let the form ask and show. */
export function explainForm() {
  const form = byId("explain-form");
  const tables = [candidates("candidates", "candidates-title"), candidates("spilled", "spilled-title")];
  const choose = () => {
    const message = new FormData(form).get("kind") === "message";
    show(byId("explain-fields"), !message);
    show(byId("explain-message"), message);
    byId("request-uri").required = !message;
    byId("message").required = message;
  };
  for (const radio of form.elements.kind) radio.addEventListener("change", choose);
  choose();

  const tell = (answer) => {
    const spill = answer.spill ?? null;
    write(byId("answer-what"), sentence(answer));
    byId("answer-what").dataset.taken = answer.choice !== null;
    write(byId("answer-how"), circumstances(answer));
    tables[0].show(answer.candidates, "There is no candidate.");
    show(byId("spill"), spill !== null);
    if (spill !== null) {
      write(byId("spilled-title"), `Over its limit it spills into ${spill.group.namespace}/${spill.group.name}`);
      tables[1].show(spill.candidates, "There is no candidate.");
    }
    show(byId("answer"), true);
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    byId("explain-ask").disabled = true;
    try {
      tell(await api.explain(question(form)));
      show(byId("explain-trouble"), false);
    } catch (trouble) {
      write(byId("explain-trouble"), trouble.message);
      show(byId("explain-trouble"), true);
      show(byId("answer"), false);
    } finally {
      byId("explain-ask").disabled = false;
    }
  });
}
