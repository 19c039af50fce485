"""The packet core, in Rust: SIP over UDP, transactions, the choice of a node.

Nothing here is called per packet. A whole configuration goes down (`Core.apply`), what the nodes report goes down
(`Core.report`), numbers and events come up. Every method may be called from any thread; those that wait release the
interpreter. Times named `time` are seconds of the clock behind `time.monotonic()`.
"""

from typing import Self, final

__all__ = [
    "Baseline",
    "BindError",
    "Chooser",
    "ConfigError",
    "Core",
    "CoreError",
    "CoreStopped",
    "Evaluation",
    "__version__",
    "evaluate",
]

__version__: str
"""The version of the packet core (the Cargo workspace's)."""

class CoreError(Exception):
    """Anything the packet core refuses."""

class ConfigError(CoreError):
    """Settings or a snapshot that do not hold. `args` is `(pointer, message)`; what was in force stays in force."""

class BindError(CoreError):
    """An address that could not be bound. `args` is `(what, address, port, message)`, e.g.
    `("listener public", "127.0.0.1", 5060, "Address already in use (os error 98)")`."""

class CoreStopped(CoreError):  # noqa: N818  a state, not a mistake
    """The core was stopped, or was never started where that is needed."""

@final
class Baseline:
    """What this balancer had placed on a node when a report was taken. All are totals that only grow."""

    @property
    def assigned(self) -> int:
        """Calls assigned by all workers up to the report's moment less one INVITE's way (20 ms)."""
    @property
    def assigned_now(self) -> int:
        """Calls assigned by all workers up to now."""
    @property
    def ended(self) -> int:
        """Calls ended (2xx to a BYE) by all workers up to now."""
    @property
    def exact(self) -> bool:
        """False: the age reaches past what is remembered (2 s). Such a report clears nothing: publish it with the
        baseline of the report before."""

@final
class Evaluation:
    """One node's room, by the arithmetic that the packet path uses. In sessions (legs), finite, not negative."""

    @property
    def effective(self) -> float:
        """Sessions the node is taken to carry now."""
    @property
    def capacity(self) -> float:
        """Sessions it is allowed to carry."""
    @property
    def free(self) -> float:
        """`capacity - effective`, not below 0."""
    @property
    def utilization(self) -> float:
        """`effective / capacity` clamped to [0, 1]; 1.0 where there is no capacity."""
    @property
    def eligible(self) -> bool:
        """One more call fits."""

def evaluate(
    *,
    sessions: float,
    max_sessions: float,
    cap: float | None,
    headroom: float,
    share: float,
    legs_per_call: int,
    assigned: int,
    ended: int,
) -> Evaluation:
    """The packet path's own arithmetic on given numbers.

    `assigned` and `ended` are calls since the report's baseline; `cap` is the configured limit, if any; `share` is in
    (0, 1]. Raises ValueError for a number that is not finite or a share outside (0, 1].
    """

@final
class Chooser:
    """The packet path's own choice over plain numbers, seeded, for models and simulations.

    `algorithm` is "LeastLoad" or "RoundRobin"; ValueError for another one.
    """

    def __new__(cls, algorithm: str, seed: int) -> Self: ...
    def choose(self, nodes: list[tuple[Evaluation, float]], excluded: set[int]) -> int | None:
        """The index of the node that the next call goes to, None when no node has room.

        `nodes` are (evaluation, weight) pairs; `excluded` are indices not to be chosen (tried before).
        """

@final
class Core:
    """Sockets, worker threads and the state they share.

    Constructing it parses the settings, binds every socket and starts nothing. Raises ConfigError, BindError.
    """

    def __new__(cls, settings: bytes) -> Self: ...
    def apply(self, snapshot: bytes) -> int:
        """Put a whole snapshot in force and return its generation (1, 2, …). Counters of nodes that stay are kept.

        Raises ConfigError and leaves the old snapshot in force.
        """
    def start(self) -> None:
        """Start the workers. Raises CoreStopped when they were started before."""
    def baseline(self, uid: str, age: float) -> Baseline:
        """The totals a report of that age (seconds) stands on. KeyError for an unknown uid."""
    def report(
        self,
        uid: str,
        *,
        admission: str,
        sessions: float = 0.0,
        max_sessions: float = 0.0,
        cap: float | None = None,
        headroom: float = 0.0,
        share: float = 1.0,
        sessions_per_second: float | None = None,
        idle_cpu: float | None = None,
        baseline_assigned: int = 0,
        baseline_ended: int = 0,
        weight_factor: float = 1.0,
        score: float = 1.0,
    ) -> None:
        """Publish what the load model makes of a node's report, as one unit.

        `admission` is "open" (new calls by the arithmetic), "unmeasured" (no numbers: own counts against `cap`),
        "closed" (its own will: paused, draining, disabled; never overridden), "unreachable" (stale or down: overridden
        below the panic threshold) or "unknown" (as before the first report). `sessions_per_second` is the node's limit
        (None: its default of 30). `idle_cpu` is the host's idle CPU in percent, which `Weighted` goes by. `score`, not
        below 0, is the group's scorer's: it multiplies the weight, and `First` goes by it. Raises KeyError for an
        unknown uid and ValueError for an unknown admission, a number that is not finite, a negative score, or a share
        outside (0, 1].
        """
    def restarted(self, uid: str) -> None:
        """The node began anew: what calls had taken of its resources is free, and an ejection ends. KeyError for an
        unknown uid."""
    def nodes(self) -> bytes:
        """JSON: every node, present or recently removed, evaluated now by the packet path's arithmetic.

        `{"generation", "nodes": [{"uid", "name", "sip", "transport": "UDP" | "TCP", "removed": bool, "admission": str,
        "reported": seconds since the report | null (none yet), "sessions", "max_sessions", "cap": number | null,
        "headroom", "share", "weight_factor", "score", "sessions_per_second_limit": number | null,
        "idle_cpu": number | null, "assigned", "ended" (totals), "assigned_since", "ended_since" (the report's
        baseline), "in_flight", "cooling": seconds left, "suspect": bool, "failures": calls that failed in a row,
        "ejected_for_ms": time left, "answered_ago": seconds since it answered anything | null (never),
        "legs_per_second", "requests_per_second", "resources": {name: {"in_use", "limit": number | null}},
        "groups": [{"namespace", "name", "weight", "weight_now", "priority", "backup": bool, "draining": bool,
        "effective", "capacity", "free", "utilization", "eligible": bool, "verdict": str, "last_resort": bool}]}]}`
        """
    def explain(self, request: bytes) -> bytes:
        """JSON in: `{"message": a whole request as text}` or `{"request_uri": str, "method": "INVITE", "from", "to",
        "call_id", "headers": {name: value}}`; and with either `{"source": ip, "listener": name (the first one),
        "group": "namespace/name" (ask this one, whichever would match)}`.

        JSON out: `{"generation", "group": {"namespace", "name"} | null, "matches": bool, "rule": index | null,
        "mode": "Stateful" | "Stateless", "algorithm", "hash": hex | null, "wanted": {"legs", "resources": [name],
        "emergency": bool}, "candidates": [{"uid", "name", "sip", "transport", "weight", "weight_now" (with factor and
        score), "score", "priority", "backup", "draining", "admission", "sessions", "assigned_since", "ended_since",
        "in_flight", "idle_cpu", "effective", "capacity", "free", "utilization", "eligible", "verdict", "last_resort",
        "resources": {name: {"in_use", "limit"}} (of those wanted), "taken": bool, "why": words}],
        "spill": {"group", "candidates"} | null, "eligible": count, "choice": {"uid", "name", "sip", "transport",
        "group"} | null, "reason": null | "NoGroup" | "Empty" | "NotReady" | "Excluded" | "Cooling" | "Full" |
        "Resource" | "RateLimited"}`; without a group only `generation`, `group`, `matches`, `rule`, `candidates`,
        `choice` and `reason`. Nothing is counted. Raises ConfigError for a question that cannot be read.
        """
    def stats(self) -> bytes:
        """JSON: `{"counters": [{"name", "labels": {}, "value"}], "gauges": [the same], "histograms": [{"name",
        "labels": {}, "buckets": [[upper bound in seconds, count up to it], …], "sum": seconds, "count"}],
        "workers": [{"worker", "running": bool, "generation", "open_transactions", "transactions", "loop_lag": seconds,
        "overloaded": bool, "received", "sent", "tcp_connections", "panics"}],
        "groups": [{"namespace", "name", "uid", "generation"}] (the versions in force)}`.

        Names are Prometheus names without prefix; a counter's ends in `_total`. Per group, labels `namespace` and
        `group`: `calls_offered_total`, `calls_total{outcome}`, `calls_rejected_total{cause}`, `failovers_total{cause}`,
        `calls_held_total`, `calls_held_over_total{outcome}`, `calls_spilled_total`, `calls_outward_total`,
        `calls_outward_over_total{outcome}`.
        Over all: `datagrams_received_total`, `datagrams_sent_total`, `datagrams_dropped_total{cause}`,
        `tcp_connections_{accepted,opened}_total`, `tcp_connections_{closed,refused}_total{cause}`,
        `tcp_connects_failed_total{cause}`, `tcp_framing_errors_total`, the gauge `tcp_connections`,
        `events_lost_total`, `worker_panics_total`, `transactions_lost_at_stop_total`, `sip_*_total` and more.

        Histograms have 14 buckets and, as Prometheus counts, each holds all observations up to its bound. Per group,
        labels as above, 0.25 ms to 30 s: `post_dial_delay_seconds` (a new call's INVITE to the first answer above 100
        that the caller was passed, refusals excluded) and `first_response_seconds` (a new call's INVITE sent to a node
        to that node's first response, 100 included). Over all, 100 ns to 1 ms: `selection_seconds` (one choice of a
        node; one in 16 is measured). A group that leaves keeps its counts for an hour, should it come back.

        Gauges: `transactions_open`, `transactions`, `tcp_connections`, `snapshot_generation` (what every worker goes
        by) and `dialogs`: calls ringing or up that came through this core and whose end it has not seen, at each node
        no more than the sessions that it reported and what came and went since. Calls of groups in mode Stateless are
        not known, and with more than `max_transactions` some are forgotten. Values are at most 10 ms old.
        """
    def events(self, limit: int) -> list[tuple[str, float, int, str, int, str]]:
        """Take up to `limit` events from the workers' bounded rings, each worker's oldest first:
        `(kind, time, worker, uid, code, detail)`.

        Kinds: "node_refused" (code: SIP status, detail: phrase), "node_timed_out" (detail: what was waited for),
        "node_transport_error", "shutdown_seen", "node_ejected" (detail: for how long), "node_returned" (its
        first answer after that), "worker_panicked" (uid empty, detail: message), "log" (uid empty,
        code: a `logging` level, detail: message). Lost ones are counted in `stats()`; nothing depends on them.
        """
    def trace(self, trace: int, call_id: str, *, until: float, per_second: int) -> None:
        """Follow the call with exactly this Call-ID, one that stands or one to come, over all workers and transports.

        `trace` is the caller's number for it, not in use. `until` is its end (`time.monotonic()`). `per_second`, 1 to
        10,000, bounds the messages told of it in each second, and by itself the decisions. At most 8 traces stand at
        once; one that is over makes room. Raises ValueError: no room, number in use, an empty or overlong Call-ID
        (1,024 bytes), a limit out of bounds, an end that is no time.
        """
    def end_trace(self, trace: int) -> int:
        """End and forget a trace; how many messages and decisions were left out of it, by its limit or because the
        ring was full. What was told of it and not taken yet is still taken by `traced`. 0 for an unknown one."""
    def trace_left_out(self, trace: int) -> int:
        """How many messages and decisions were left out of a trace so far; known after its end, until `end_trace` or
        until a new one needs its place. 0 for an unknown one."""
    def traced(self, limit: int) -> list[tuple[int, float, int, str, str, str, str, bytes]]:
        """Take up to `limit` entries of traces, by time, as (trace, time, worker, what, …).

        A message: (…, "received" | "sent", "UDP" | "TCP", our "ip:port", the peer's "ip:port", the message). Longer
        ones are cut after 4,096 bytes and end with `\\r\\n[N more bytes]`. A message that workers pass among themselves
        is told once, where it came in or went out. Retransmissions are told, each; pings of a connection are not.

        A decision: (…, what, "namespace/group", the node's uid or "", its "ip:port" or "", JSON). "placed":
        `{"attempt": 1…, "algorithm", "candidates": members of the group, "candidates_eligible", "weight",
        "weight_now", "priority", "backup", "draining", "effective", "capacity", "free", "utilization", "eligible",
        "verdict", "last_resort"}` of the chosen node, before the call is counted there. "failed": `{"cause":
        "refusal" | "code" | "shutdown" | "silence" | "progress" | "transport", "attempt", "goes_on": bool}`: the
        attempt failed, and another node follows or not. "held" and "refused": `{"reason": as in `explain`}`: no
        node can take it.

        Each worker has a ring of 1,024 entries for this, apart from those of `events`. `event_fd` becomes readable for
        these too, but only `events` resets it: call that first, then this.
        """
    @property
    def event_fd(self) -> int:
        """Becomes readable when events or entries of traces wait (an eventfd, owned by the core; `events` resets
        it)."""
    def addresses(self) -> bytes:
        """JSON: `{"listeners": [{"name", "address", "port"}], "node_side": {"address", "port"} | null,
        "worker_ports": [{"worker", "address", "port"}]}` as bound (port 0 resolved)."""
    def open_transactions(self) -> int:
        """Transactions open over all workers."""
    def stop(self, deadline: float | None = None) -> None:
        """Begin to stop: everything is served on, new calls too, until no transaction was open for 5 s from now on, at
        the latest `deadline` seconds from now (None: the settings' `stop_deadline_ms`). Returns at once; a later call
        can only bring the end nearer. ValueError for a negative or infinite one."""
    def stopped(self) -> bool:
        """Whether every worker has ended."""
    def join(self) -> None:
        """Wait until every worker has ended (interpreter released). Raises CoreStopped when none was ever started."""
