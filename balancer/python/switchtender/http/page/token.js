// The token that orders need: held for as long as this tab is open, and never shown. It comes by the dialog, or in the
// address as #token=…, from where it is taken at once: addresses end up in histories and in messages.

const KEY = "switchtender.token";

let held = null;
let told = () => {};

/** The token, or null. */
export const token = () => held;

/** Hold another token; null forgets it. */
export function hold(value) {
  held = value;
  try {
    if (value === null) sessionStorage.removeItem(KEY);
    else sessionStorage.setItem(KEY, value);
  } catch {
    // storage is forbidden: held as long as the page stands
  }
  told();
}

/** Begin with what this tab held, or with what the address brings; `changed` is called whenever that changes. */
export function begin(changed) {
  told = changed;
  try {
    held = sessionStorage.getItem(KEY);
  } catch {
    held = null;
  }
  takeFromAddress();
  window.addEventListener("hashchange", takeFromAddress);
}

function takeFromAddress() {
  const brought = new URLSearchParams(location.hash.slice(1)).get("token");
  if (brought === null) return;
  history.replaceState(history.state, "", location.pathname + location.search);
  if (brought.trim()) hold(brought.trim());
}
