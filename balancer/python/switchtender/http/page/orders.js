// Drain and undrain: only where orders are taken here and a token is held, and never without asking once more. Where the
// API server says what is wanted of a node, the page shows the command that tells it.

import { attribute, byId, show, write } from "./dom.js";
import { groupKey, many } from "./format.js";
import * as api from "./api.js";
import { nodeKey } from "./node-row.js";
import { hold, token } from "./token.js";

const WORDS = { drain: "Drain", undrain: "Undrain" };

/** Drains that are the node's own will: no order ends them. */
const OWN_WILL = new Set(["Paused", "ShutdownRequested", "ShuttingDown"]);

/** Whether new calls are kept from the node by an order. */
export const isDrained = (node) => node.admin.state === "Drained" || (Boolean(node.drain) && !OWN_WILL.has(node.drain.reason));

/** What is to be known before the order is given. */
export function consequences(verb, node, view) {
  if (verb === "undrain") return [`${node.node} is sent new calls again as soon as it can take them.`];
  const standing = node.sessions === null ? "" : ` ${many(node.sessions, "session")} stand there now.`;
  const said = [`${node.node} is sent no new calls, in every group that it is in. Calls that stand go on.${standing}`];
  const group = view.groups.find((entry) => groupKey(entry) === groupKey(node));
  if (group !== undefined && node.eligible && group.eligible <= 1) {
    said.push(`No other node of ${groupKey(node)} is eligible now: its new calls may be turned away.`);
  }
  return said;
}

export class Orders {
  /** `done(text)` tells what was ordered. */
  constructor({ done }) {
    this.done = done;
    this.view = null;
    this.asked = null;
    this.dialog = byId("order");
    byId("order-yes").addEventListener("click", () => this.give());
    byId("order-copy").addEventListener("click", () => this.copy());
    this.signIn = byId("sign-in");
    byId("sign-in-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.present(byId("sign-in-token").value.trim());
    });
    byId("orders").addEventListener("click", () => (token() === null ? this.askToken() : hold(null)));
  }

  update(view) {
    this.view = view;
    this.tell();
  }

  /** Say in the header how orders stand. */
  tell() {
    const button = byId("orders");
    show(button, this.view?.orders === "token");
    const allowed = token() !== null;
    write(byId("orders-name"), allowed ? "Orders on" : "Orders off");
    attribute(button, "aria-label", allowed ? "Orders are on: forget the token" : "Orders are off: give the token");
    attribute(button, "aria-pressed", allowed);
  }

  /** The verb that may be ordered of a node, or null. */
  verbOf(node) {
    if (this.view === null || (this.view.orders === "token" && token() === null)) return null;
    return isDrained(node) ? "undrain" : "drain";
  }

  askToken(trouble = "") {
    byId("sign-in-token").value = "";
    this.trouble("sign-in-trouble", trouble);
    this.signIn.showModal();
  }

  async present(brought) {
    if (brought === "") return this.trouble("sign-in-trouble", "Paste the token first.");
    byId("sign-in-yes").disabled = true;
    try {
      await api.presentToken(brought);
      hold(brought);
      this.signIn.close();
      this.done("Orders are on until this tab is closed.");
    } catch (refusal) {
      this.trouble("sign-in-trouble", refusal.message);
    } finally {
      byId("sign-in-yes").disabled = false;
    }
  }

  /** Ask whether it is meant. */
  ask(verb, key) {
    const node = this.view.nodes.find((entry) => nodeKey(entry) === key);
    if (node === undefined) return;
    this.asked = { verb, node };
    write(byId("order-title"), `${WORDS[verb]} ${node.node}?`);
    const [what, warning = ""] = consequences(verb, node, this.view);
    write(byId("order-what"), what);
    write(byId("order-warning"), warning);
    show(byId("order-warning"), warning !== "");
    write(byId("order-yes"), WORDS[verb]);
    this.trouble("order-trouble", "");
    const elsewhere = this.view.orders !== "token";
    show(byId("order-yes"), !elsewhere);
    show(byId("order-elsewhere"), false);
    if (elsewhere) this.give(); // nothing is done by it: the answer is the command
    this.dialog.showModal();
  }

  async give() {
    const { verb, node } = this.asked;
    byId("order-yes").disabled = true;
    try {
      await api.order(verb, node.node, groupKey(node), this.view.orders === "token" ? token() : null);
      this.dialog.close();
      this.done(verb === "drain" ? `${node.node} is drained.` : `${node.node} is drained no longer.`);
    } catch (refusal) {
      this.refused(refusal);
    } finally {
      byId("order-yes").disabled = false;
    }
  }

  refused(refusal) {
    if (refusal.status === 409 && this.view.orders !== "token") {
      const command = refusal.message.indexOf("kubectl ");
      write(byId("order-command"), command < 0 ? refusal.message : refusal.message.slice(command));
      show(byId("order-elsewhere"), true);
    } else if (refusal.status === 401) {
      hold(null);
      this.dialog.close();
      this.askToken("The token was refused. Give another one.");
    } else {
      this.trouble("order-trouble", refusal.message);
    }
  }

  trouble(id, text) {
    write(byId(id), text);
    show(byId(id), text !== "");
  }

  async copy() {
    const text = byId("order-command").textContent;
    try {
      await navigator.clipboard.writeText(text);
      this.done("The command is copied.");
      this.dialog.close();
    } catch {
      getSelection().selectAllChildren(byId("order-command")); // no clipboard without TLS: select it for the hand
    }
  }
}

