// Puts the page together: what comes from the balancer goes to the parts that show it.

import * as api from "./api.js";
import { byId, write } from "./dom.js";
import { Events } from "./events.js";
import { explainForm } from "./explain.js";
import { groupsTable } from "./groups.js";
import { Connection, Header } from "./header.js";
import { follow } from "./live.js";
import { Nodes } from "./nodes.js";
import { Orders } from "./orders.js";
import { Sheet } from "./sheet.js";
import * as token from "./token.js";

const NOTHING = { events: [], first: 0 };
const NOTICE = 6000; // milliseconds that a notice stands

let notice = 0;
function tell(text) {
  write(byId("notice"), text);
  byId("notice").hidden = false;
  clearTimeout(notice);
  notice = setTimeout(() => (byId("notice").hidden = true), NOTICE);
}

const goTo = (id) => byId(id).scrollIntoView({ block: "start" });

const connection = new Connection();
const events = new Events({
  older: () => api.events(0).catch(() => NOTHING),
});
const orders = new Orders({ done: tell });
const sheet = new Sheet({
  showEvents: (name) => {
    events.narrow(name);
    goTo("events");
  },
});
const nodes = new Nodes({
  open: (key) => sheet.open(key),
  act: (verb, key) => orders.ask(verb, key),
  verbOf: (node) => orders.verbOf(node),
});
const narrow = ({ group = null, states = [] }) => {
  nodes.clear();
  nodes.narrow({ group, states: new Set(states) });
  goTo("nodes");
};
const header = new Header({ narrow });
const groups = groupsTable((group) => narrow({ group }));

let view = null;
let instance = null;

function render() {
  header.update(view); // the title is seen while the page is not
  orders.update(view);
  if (document.hidden) return;
  groups.update(view);
  nodes.update(view);
  sheet.update(view);
}

/** The journal of this process, from where we know it: what happened while nobody followed stands there. */
async function catchUp() {
  events.take(await api.events(events.last || null).catch(() => NOTHING));
}

function take(fresh) {
  view = fresh;
  if (view.instance !== instance) {
    instance = view.instance;
    events.clear();
  }
  render();
}

token.begin(() => {
  if (view !== null) render();
});
explainForm();
document.addEventListener("visibilitychange", () => {
  if (view !== null) render();
});
for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}
follow({
  view: take,
  event: (event) => events.add([event]),
  state: (name, last) => {
    connection.update(name, last);
    if (name === "live" && view !== null) catchUp();
  },
});
