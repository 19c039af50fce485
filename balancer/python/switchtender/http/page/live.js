// The live stream: a view each second, and what happens in between. It ends when the balancer restarts or the network
// goes; then it begins again by itself, and whoever shows the last view is told that it is old. Knows no element.

const SILENCE = 4; // seconds without a view on an open stream, after which what stands is old
const PATIENCE = [1, 2, 4, 8, 15]; // seconds before the next try

/**
 * Follow the balancer. `view(document)` is called with each view, `event(document)` with each event, and
 * `state(name, since)` when the connection changes: "connecting", "live", "reconnecting", "silent";
 * `since` is the moment (milliseconds) of the last view, null before the first.
 */
export function follow({ view, event, state }) {
  let source = null;
  let tries = 0;
  let last = null;
  let shown = "connecting";

  const tell = (name) => {
    if (name !== shown) state((shown = name), last);
  };

  const open = () => {
    source = new EventSource("api/v1/live");
    source.addEventListener("view", (message) => {
      last = Date.now();
      tries = 0;
      view(JSON.parse(message.data));
      tell("live");
    });
    source.addEventListener("event", (message) => event(JSON.parse(message.data)));
    source.addEventListener("error", () => {
      tell(last === null ? "connecting" : "reconnecting");
      source.close(); // a browser gives up for good after an answer that is no stream: each try is ours
      setTimeout(open, 1000 * PATIENCE[Math.min(tries++, PATIENCE.length - 1)]);
    });
  };

  setInterval(() => {
    if (shown === "live" && Date.now() - last > 1000 * SILENCE) tell("silent");
  }, 1000);
  state(shown, last);
  open();
}
