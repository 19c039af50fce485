// What somebody on call must see first: groups without an eligible node, calls turned away, nodes that are not heard.
// Pure: from a view to short sentences, the worst first.

import { amount, count, groupKey, many } from "./format.js";

/** Whether nobody meant this node to be as it is. */
export const isLost = (node) =>
  (node.state === "down" || node.state === "stale") && node.reason !== "Disabled";

const RANKS = { down: 0, stale: 1, unknown: 2, full: 3, draining: 4, ready: 6 };

/** How far up a node belongs where problems come first; what an operator switched off is no problem. */
export function rank(node) {
  if (node.reason === "Disabled") return 5;
  if (node.state === "ready" && !node.eligible) return 3.5;
  return RANKS[node.state] ?? 2;
}

/** How far up a group belongs where problems come first. */
export function groupRank(group) {
  if (group.eligible === 0) return 0;
  if (group.rejectedPerSecond > 0) return 1;
  if (group.states.down + group.states.stale > 0) return 2;
  return 3;
}

const uids = (nodes) => new Set(nodes.map((node) => node.uid)).size;

function lost(view, state) {
  const nodes = view.nodes.filter((node) => isLost(node) && node.state === state);
  if (nodes.length === 0) return [];
  const reasons = new Map();
  for (const node of nodes) reasons.set(node.reason, (reasons.get(node.reason) ?? 0) + 1);
  const named = [...new Set(nodes.map((node) => node.node))];
  const who = named.length <= 3 ? named.join(", ") : `${named.slice(0, 2).join(", ")} and ${count(named.length - 2)} more`;
  const number = uids(nodes);
  return [
    {
      key: state,
      weight: number,
      severity: state === "down" ? "error" : "warning",
      text: `${many(number, "node")} ${state}: ${who} (${[...reasons.keys()].join(", ")})`,
      filter: { states: [state] },
    },
  ];
}

/**
 * The alarms of a view. `key` says which it is from one view to the next, whatever its `text`; `weight` is how many alarms one counts for: nodes count each. `filter` is what to show of the
 * nodes for it, null where there is nothing to narrow.
 */
export function alarms(view) {
  const found = [];
  const alarm = (key, text, filter = null) => found.push({ key, weight: 1, severity: "error", text, filter });
  if (!view.ready) alarm("ready", `The balancer is not ready: ${view.notReady}`);
  if (view.process.overloaded) alarm("overloaded", "The balancer is overloaded: new calls get 503");
  for (const group of view.groups) {
    const name = groupKey(group);
    if (group.eligible === 0) {
      const tried = group.callsPerSecond > group.rejectedPerSecond ? ", calls go to nodes that are not heard" : "";
      alarm(`eligible ${name}`, `${name}: no eligible node of ${count(group.nodes)}${tried}`, { group: name });
    }
  }
  for (const group of view.groups) {
    const name = groupKey(group);
    if (group.rejectedPerSecond > 0) {
      const rate = `${amount(group.rejectedPerSecond)} calls/s turned away`;
      alarm(`rejected ${name}`, `${name}: ${rate}`, { group: name });
    }
  }
  return [...found, ...lost(view, "down"), ...lost(view, "stale")];
}
