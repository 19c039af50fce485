"""Every metric family of the balancer, declared once. Knows names, labels and texts, not where numbers come from.

No label holds a Call-ID, an address or a user: the number of series is bounded by nodes, groups and this page.
"""

from __future__ import annotations

from switchtender.metrics.core_families import CALLS, CORE, NETWORK, PREFIX, SIP, WORK
from switchtender_api.metrics import Family, Kind

NODE = ("namespace", "group", "node")
GROUP = ("namespace", "group")


def _family(name: str, kind: Kind, text: str, *labels: str) -> Family:
    return Family(PREFIX + name, kind, text, labels)


# What a node reported, and what follows from it. A replica leaves these out while the node is stale, down or unknown
# for it.

NODE_SESSIONS = _family("node_sessions", "gauge", "Sessions (legs) as the node last reported them.", *NODE)
NODE_MAX_SESSIONS = _family("node_max_sessions", "gauge", "Max-Sessions as the node last reported it.", *NODE)
NODE_EFFECTIVE = _family(
    "node_effective_sessions",
    "gauge",
    "Sessions the node is taken to carry now: its report, and this replica's own calls since.",
    *NODE,
)
NODE_CAPACITY = _family(
    "node_capacity_sessions", "gauge", "Sessions the node may carry: its usable limit less headroom.", *NODE
)
NODE_UTILIZATION = _family("node_utilization", "gauge", "Effective sessions over capacity, 0 to 1.", *NODE)
NODE_HEADROOM = _family("node_headroom_sessions", "gauge", "Sessions kept free on the node.", *NODE)
NODE_SHARE = _family("node_share", "gauge", "This replica's part of the node's new sessions, 0 to 1.", *NODE)
NODE_SESSION_RATE = _family(
    "node_session_rate",
    "gauge",
    "New sessions (legs) that the node was asked for in a second, refused ones included, as it last reported.",
    *NODE,
)
NODE_SESSION_RATE_LIMIT = _family(
    "node_session_rate_limit",
    "gauge",
    "New sessions (legs) in a second past which the node refuses, as it last reported.",
    *NODE,
)
NODE_IDLE_CPU = _family(
    "node_idle_cpu_ratio", "gauge", "Idle CPU of the node's host as it last reported it, 0 to 1.", *NODE
)
NODE_DRAIN_SESSIONS = _family(
    "node_drain_sessions", "gauge", "Sessions that remain on the node as it reports them; only while it drains.", *NODE
)

NODE_LOAD = (
    NODE_SESSIONS, NODE_MAX_SESSIONS, NODE_EFFECTIVE, NODE_CAPACITY, NODE_UTILIZATION, NODE_HEADROOM, NODE_SHARE,
    NODE_SESSION_RATE, NODE_SESSION_RATE_LIMIT, NODE_IDLE_CPU, NODE_DRAIN_SESSIONS,
)  # fmt: skip

# What this replica itself knows of a node, whatever the node says.

NODE_STATE = _family("node_state", "gauge", "1 for the state the node is in, 0 for every other.", *NODE, "state")
NODE_HEARTBEAT_AGE = _family(
    "node_heartbeat_age_seconds",
    "gauge",
    "Seconds since the node's last report, heartbeat or answer to a poll; absent before the first.",
    *NODE,
)
NODE_REQUESTS = _family("node_requests_per_second", "gauge", "SIP requests sent to the node in the last second.", *NODE)
NODE_LEGS = _family("node_legs_per_second", "gauge", "Legs of new calls sent to the node in the last second.", *NODE)
NODE_SCORE = _family(
    "node_score", "gauge", "What the scorers of the node's groups make of it; 1 where there is none.", *NODE
)
NODE_EJECTED = _family(
    "node_ejected_seconds", "gauge", "Seconds for which the node gets no calls because calls failed there.", *NODE
)
NODE_IN_FLIGHT = _family(
    "node_invites_in_flight", "gauge", "Calls offered to the node that have no final response yet.", *NODE
)
NODE_WEIGHT = _family("node_weight", "gauge", "Weight of the node within the group.", *NODE)
NODE_ASSIGNED = _family("node_calls_assigned", "counter", "Calls offered to the node.", *NODE)
NODE_ENDED = _family(
    "node_calls_ended", "counter", "Calls on the node that ended with a BYE through this replica.", *NODE
)
NODE_PROBES = _family(
    "node_probe_results",
    "counter",
    "OPTIONS sent to the node by what became of them: answered, unanswered; refused: by a status that does not count.",
    *NODE,
    "result",
)
NODE_PROBE_ANSWERED = _family(
    "node_probe_answered", "gauge", "1 while the node counts as answering OPTIONS, 0 while it does not.", *NODE
)
NODE_PROBE_TRIP = _family(
    "node_probe_round_trip_seconds",
    "gauge",
    "Seconds from the last OPTIONS to its answer; absent while none came.",
    *NODE,
)
NODE_RESOURCE_IN_USE = _family(
    "node_resource_in_use", "gauge", "Calls that use the resource on the node.", *NODE, "resource"
)
NODE_RESOURCE_LIMIT = _family(
    "node_resource_limit", "gauge", "Calls that may use it at once, by this replica's part.", *NODE, "resource"
)
NODE_DRAIN_DEADLINE = _family(
    "node_drain_deadline_timestamp_seconds",
    "gauge",
    "When the node is to be empty; only while it drains with a deadline.",
    *NODE,
)
NODE_DRAIN_SINCE = _family(
    "node_drain_since_timestamp_seconds", "gauge", "When the drain of the node began; only while it drains.", *NODE
)
NODE_DISABLED = _family(
    "node_disabled", "gauge", "1 for a node that an operator disabled (switchtender disable); only for such.", *NODE
)
ESL_CONNECTED = _family(
    "esl_connected", "gauge", "1 while this replica is logged in to the node's Event Socket, else 0.", *NODE
)
ESL_CONNECTS = _family("esl_connects", "counter", "Logins to the node's Event Socket that succeeded.", *NODE)
ESL_DISCONNECTS = _family(
    "esl_disconnects", "counter", "Logins to the node's Event Socket that ended, whoever ended them.", *NODE
)
ESL_ERRORS = _family(
    "esl_errors",
    "counter",
    "Event Socket connections that failed or ended, by reason: acl_rejected, auth_failed (the node refuses us), "
    "unreachable, silent, protocol_error, closed, reset.",
    *NODE,
    "reason",
)

NODE_KNOWN = (
    NODE_STATE, NODE_HEARTBEAT_AGE, NODE_REQUESTS, NODE_LEGS, NODE_SCORE, NODE_EJECTED, NODE_IN_FLIGHT, NODE_WEIGHT,
    NODE_ASSIGNED, NODE_ENDED, NODE_PROBES, NODE_PROBE_ANSWERED, NODE_PROBE_TRIP, NODE_RESOURCE_IN_USE,
    NODE_RESOURCE_LIMIT, NODE_DRAIN_DEADLINE, NODE_DRAIN_SINCE, NODE_DISABLED, ESL_CONNECTED,
    ESL_CONNECTS, ESL_DISCONNECTS, ESL_ERRORS,
)  # fmt: skip

# Groups, as this replica sees their nodes.

GROUP_SESSIONS = _family("group_sessions", "gauge", "Reported sessions over the nodes that take calls.", *GROUP)
GROUP_EFFECTIVE = _family(
    "group_effective_sessions", "gauge", "Effective sessions over the nodes that take calls.", *GROUP
)
GROUP_CAPACITY = _family("group_capacity_sessions", "gauge", "Capacity over the nodes that take calls.", *GROUP)
GROUP_UTILIZATION = _family(
    "group_utilization", "gauge", "Effective sessions over capacity of the group, 0 to 1.", *GROUP
)
GROUP_NODES = _family("group_nodes", "gauge", "Nodes of the group by state.", *GROUP, "state")
GROUP_ELIGIBLE = _family("group_eligible_nodes", "gauge", "Nodes of the group that would take a call now.", *GROUP)
GROUP_GENERATION = _family(
    "group_generation", "gauge", "metadata.generation of the BalancerGroup that is acted on.", *GROUP
)
SCORE_FAULTS = _family(
    "score_faults",
    "counter",
    "Times that a scorer gave no score, by how it failed; the last good score stayed.",
    "scorer",
    "fault",
)

GROUPS = (
    GROUP_SESSIONS, GROUP_EFFECTIVE, GROUP_CAPACITY, GROUP_UTILIZATION, GROUP_NODES, GROUP_ELIGIBLE, GROUP_GENERATION,
    SCORE_FAULTS,
)  # fmt: skip

# The process.

BUILD = _family("build", "info", "Version of the balancer, of the Python it runs on and its machine.", "version")
WORKERS = _family("workers", "gauge", "Packet workers.")
WORKER_RUNNING = _family("worker_running", "gauge", "1 while the packet worker runs, else 0.", "worker")
WORKER_LAG = _family(
    "worker_loop_lag_seconds", "gauge", "How late the packet worker came to what was due, lately.", "worker"
)
WORKER_OVERLOADED = _family(
    "worker_overloaded", "gauge", "1 while the packet worker refuses new calls because of its own limits.", "worker"
)
RELOADS = _family(
    "config_reloads", "counter", "Attempts to take up the configuration, by result: success, failure.", "result"
)
RELOAD_OK = _family("config_last_reload_successful", "gauge", "1 if the last attempt succeeded, else 0.")
RELOAD_TIME = _family(
    "config_last_reload_success_timestamp_seconds", "gauge", "When an attempt last succeeded; 0: never."
)
GENERATION = _family("config_generation", "gauge", "Snapshot that the packet core was given.")
CERTIFICATE_EXPIRY = _family(
    "certificate_expiry_timestamp_seconds",
    "gauge",
    "When the certificate in use expires; only where TLS is configured.",
    "certificate",
)
LIVE_CLIENTS = _family("live_clients", "gauge", "Streams of server-sent events that are being served.")

PROCESS = (
    BUILD, WORKERS, WORKER_RUNNING, WORKER_LAG, WORKER_OVERLOADED, RELOADS, RELOAD_OK, RELOAD_TIME, GENERATION,
    CERTIFICATE_EXPIRY, LIVE_CLIENTS,
)  # fmt: skip

# In Kubernetes only.

WATCH_HEALTHY = _family(
    "watch_healthy", "gauge", "1 while the API server serves the watch, 0 while it refuses or is away.", "watch"
)
WATCH_IDLE = _family(
    "watch_idle_seconds", "gauge", "Seconds since the API server last said anything on the watch.", "watch"
)
WATCH_OBJECTS = _family("watch_objects", "gauge", "Objects known through the watch.", "watch")
WATCH_EVENTS = _family("watch_events", "counter", "Events that came on the watch.", "watch")
WATCH_LISTS = _family("watch_lists", "counter", "Full lists taken.", "watch")
WATCH_RESTARTS = _family("watch_restarts", "counter", "Times the watch was interrupted, by reason.", "watch", "reason")
SETS_KNOWN = _family("sets_known", "gauge", "DestinationSets that are known, all balancers'.")
SETS_ACTED_ON = _family("sets_acted_on", "gauge", "DestinationSets that this balancer acts on.")
UNKNOWN_FIELDS = _family(
    "unknown_fields", "gauge", "Fields in the known DestinationSets that this version does not know and leaves out."
)
SNAPSHOT_AGE = _family(
    "snapshot_age_seconds",
    "gauge",
    "Seconds since the DestinationSets in force were last known to be the newest ones.",
)
GROUP_REJECTED = _family(
    "group_rejected",
    "gauge",
    "1 for a group that is not served as its newest version says; the log and the group's status say why.",
    *GROUP,
)

WATCHED = (WATCH_HEALTHY, WATCH_IDLE, WATCH_OBJECTS, WATCH_EVENTS, WATCH_LISTS, WATCH_RESTARTS)
SETS = (SETS_KNOWN, SETS_ACTED_ON, UNKNOWN_FIELDS, SNAPSHOT_AGE, GROUP_REJECTED)
KUBERNETES = (*WATCHED, *SETS)

SECTIONS: tuple[tuple[str, tuple[Family, ...]], ...] = (
    ("Load of a node", NODE_LOAD),
    ("Nodes", NODE_KNOWN),
    ("Groups", GROUPS),
    ("Calls", CALLS),
    ("The process", PROCESS),
    ("The packet core", WORK),
    ("Datagrams and connections", NETWORK),
    ("SIP messages", SIP),
    ("In Kubernetes", KUBERNETES),
)
"""As the reference shows them."""

FAMILIES = (*NODE_LOAD, *NODE_KNOWN, *GROUPS, *PROCESS, *CORE, *KUBERNETES)
"""All of them."""
