// What the short words of the API mean, where the API has no sentence for them. Pure.

/** Verdicts on a node, to be read after "it". */
export const VERDICTS = {
  Eligible: "may take a call",
  Excluded: "was tried before",
  Draining: "is draining",
  ZeroWeight: "has no weight",
  Closed: "takes no new calls by its own word or an operator's",
  Unknown: "has not reported yet",
  Unreachable: "is stale or down",
  Ejected: "failed too many calls in a row",
  Cooling: "refused or failed a call a moment ago",
  Suspect: "did not answer last time, and one call finds out now",
  Full: "has no room",
  Resource: "has none left of a resource that calls want",
  RateLimited: "has its sessions per second used up",
  RequestBudget: "has its requests per second used up",
};

/** States of the connection to the Event Socket. */
export const LINKS = {
  connecting: "connecting",
  acl_rejected: "refused by its access list",
  auth_failed: "login refused",
  unreachable: "cannot be reached",
  silent: "does not answer",
  protocol_error: "speaks no Event Socket",
  closed: "closed by the node",
  reset: "connection broke",
};

/** Why no node of a group takes a call. */
export const REFUSALS = {
  NoGroup: "no group matches: the caller gets 404",
  Empty: "the group has no node",
  NotReady: "every node is draining, stale, down or not heard yet",
  Excluded: "every node was tried",
  Cooling: "every node that is left refused or failed a call a moment ago",
  Full: "every node is full",
  Resource: "a resource that the call wants is used up on every node",
  RateLimited: "every node has its calls per second used up",
};
