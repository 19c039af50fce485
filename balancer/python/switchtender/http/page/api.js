// What the page asks of the balancer, beside the live stream. Addresses are relative, so that a proxy may serve the page
// below a path of its own. Knows no element.

/** An answer that is none: the status (0 where nobody answered) and the balancer's own words. */
export class Refusal extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Refusal(0, "The balancer does not answer.");
  }
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refusal(answer.status, document.error ?? `The balancer answers ${answer.status}.`);
  return document;
}

const post = (path, document, headers = {}) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(document),
  });

const bearer = (token) => (token === null ? {} : { Authorization: `Bearer ${token}` });

/** Where a call would go now, and why. Raises Refusal. */
export const explain = (question) => post("api/v1/explain", question);

/** Carry out an order for a node of a group. Raises Refusal: 401 wrong token, 403 not allowed, 409 done elsewhere. */
export const order = (verb, node, group, token) =>
  post(`api/v1/nodes/${encodeURIComponent(node)}/${verb}`, { group }, bearer(token));

/** Whether the token is one that may give orders: asked of something that only such a token is shown. Raises Refusal. */
export const presentToken = (token) => ask("api/v1/traces", { headers: bearer(token) });

/** As much of the journal as one answer holds, oldest first: what came after this id, or with null the newest. */
export const events = (after) => ask(`api/v1/events?limit=1000${after === null ? "" : `&after=${after}`}`);
