"""The metric families that the packet core counts. It names them; what each says to its reader, and the order of its
labels, stand here.
"""

from __future__ import annotations

from switchtender_api.metrics import Family, Kind

PREFIX = "switchtender_"

_GROUP = ("namespace", "group")


def _families(kind: Kind, labels: tuple[str, ...], texts: dict[str, str]) -> tuple[Family, ...]:
    return tuple(Family(PREFIX + name, kind, text, labels) for name, text in texts.items())


CALLS = (
    *_families(
        "counter",
        _GROUP,
        {
            "calls_offered": "New calls that the group took on: a first node was chosen, or none had room.",
            "calls_held": "New calls that had to wait, since nothing but per-second limits were used up.",
            "calls_spilled": "New calls that went to another group for lack of room; all else is counted there.",
            "calls_outward": "Calls of the group's nodes to the outside; of these nothing is counted as a call of the "
            "group.",
        },
    ),
    *_families(
        "counter",
        (*_GROUP, "outcome"),
        {
            "calls": "Calls of the group by how they ended for the caller: answered, redirected, client_error, "
            "challenged, server_error, declined, timed_out, cancelled.",
            "calls_held_over": "Calls that waited, by what became of it: placed or expired.",
            "calls_outward_over": "Calls of the group's nodes to the outside that are over: answered or failed.",
        },
    ),
    *_families(
        "counter",
        (*_GROUP, "cause"),
        {
            "calls_rejected": "Calls of the group that no node took, by cause: full (every node that takes calls), "
            "none_ready (no node takes calls), refused (by every node that was tried).",
            "failovers": "Times a call of the group went on to its next node, by cause: refusal (by the node itself), "
            "code (opted in), silence (no response), progress (nothing after 100), transport, shutdown.",
        },
    ),
    *_families(
        "histogram",
        _GROUP,
        {
            "post_dial_delay_seconds": "Seconds from a new call's INVITE to the first answer above 100 passed to the "
            "caller, if that is no refusal.",
            "first_response_seconds": "Seconds from a new call's INVITE sent to a node to the node's first response, "
            "100 included.",
        },
    ),
)
"""What becomes of calls, by group."""

WORK = (
    *_families(
        "gauge",
        (),
        {
            "transactions_open": "Transactions that wait for a final answer.",
            "transactions": "Transactions held, those that only absorb retransmissions included.",
            "dialogs": "Calls ringing or up that came through this replica and whose end it has not seen; at each node "
            "no more than the sessions it has by its last report.",
            "snapshot_generation": "Snapshot that every packet worker goes by.",
            "traces_active": "Calls being traced.",
        },
    ),
    *_families(
        "counter",
        (),
        {
            "worker_panics": "Panics caught in a packet worker: faults of ours.",
            "transactions_lost_at_stop": "Transactions that were open when the process ended.",
            "events_lost": "Log events that the packet core could not hand to the control side; nothing depends on "
            "them.",
            "fingerprints_unpublished": "Server transactions that the other workers could not be told of.",
            "call_ends_lost": "Ends of calls that another worker could not be told of.",
            "trace_messages": "Messages and decisions of traced calls that were taken down.",
            "hep_packets": "Copies of SIP messages sent to the HEP collector.",
        },
    ),
    *_families(
        "counter",
        ("cause",),
        {
            "hep_dropped": "Copies of SIP messages that were not sent to the HEP collector, which is never waited for, "
            "by cause: send_buffer_full, send_failed, too_large."
        },
    ),
    *_families(
        "histogram",
        (),
        {"selection_seconds": "Seconds that one choice of a node took; sampled: one choice in 16 is measured."},
    ),
)
"""What the packet workers have at hand, and what went wrong there."""

NETWORK = (
    *_families("gauge", (), {"tcp_connections": "TCP connections open, those being opened included."}),
    *_families(
        "counter",
        (),
        {
            "datagrams_received": "Datagrams read from the network.",
            "datagrams_sent": "Datagrams given to the network.",
            "datagrams_taken_over": "Datagrams taken over from another worker, which had received them.",
            "tcp_connections_accepted": "TCP connections accepted.",
            "tcp_connections_opened": "TCP connections that we opened and that came about.",
            "tcp_framing_errors": "TCP connections in which the end of a message could not be found.",
            "tcp_messages_received": "Messages and keep-alives read from TCP connections.",
            "tcp_messages_sent": "Messages written to TCP connections.",
            "tcp_messages_undelivered": "Messages that no TCP connection took.",
            "tcp_bytes_received": "Bytes read from TCP connections.",
            "tcp_bytes_sent": "Bytes written to TCP connections.",
            "messages_not_handed_over": "Messages for a TCP connection of another worker that could not be passed to "
            "it.",
            "icmp_errors": "ICMP errors received for what was sent.",
            "receive_errors": "Receive calls that failed.",
        },
    ),
    *_families(
        "counter",
        ("cause",),
        {
            "datagrams_dropped": "Datagrams lost within this host, by cause: receive_buffer_full, send_buffer_full, "
            "send_failed, panic.",
            "tcp_connections_closed": "TCP connections closed, by cause.",
            "tcp_connections_refused": "TCP connections closed at once, by cause.",
            "tcp_connects_failed": "TCP connections that we wanted to open and that did not come about, by cause.",
        },
    ),
)
"""Datagrams and connections."""

SIP = _families(
    "counter",
    (),
    {
        "sip_received": "Datagrams given to the SIP layer, those of other workers included.",
        "sip_requests_received": "Well-formed SIP requests received.",
        "sip_responses_received": "Well-formed SIP responses received.",
        "sip_keep_alives": "Keep-alives and empty datagrams received.",
        "sip_malformed_dropped": "Malformed datagrams that were dropped.",
        "sip_malformed_answered": "Malformed requests that were answered.",
        "sip_retransmissions": "Requests received that matched a transaction: the sender had sent them before.",
        "sip_stray_acks": "ACKs that belong to nothing.",
        "sip_stray_responses": "Responses that belong to nothing: of an earlier life, of another element, or forged.",
        "sip_mismatched_responses": "Responses whose Call-ID or CSeq is not that of the transaction their branch "
        "names.",
        "sip_responses_without_via": "Responses with no Via below ours (RFC 3261 section 16.7 step 3).",
        "sip_handed_over": "Datagrams handed to the worker that owns their transaction.",
        "sip_hand_overs_lost": "Datagrams meant for another worker that could not be passed to it.",
        "sip_oversized": "Messages that would not fit once forwarded.",
        "sip_requests_sent": "SIP requests sent, retransmissions included.",
        "sip_responses_sent": "SIP responses sent, retransmissions included.",
        "sip_retransmitted": "Messages sent again because nothing came back.",
        "sip_rejected_target": "Requests refused by the balancer itself with 404, 405 or 416.",
        "sip_rejected_extension": "Requests refused with 420.",
        "sip_rejected_no_dialog": "Requests in dialogs, and CANCELs, answered with 481.",
        "sip_rejected_loop": "Requests answered with 482 (RFC 3261 section 16.3 step 4).",
        "sip_rejected_hops": "Requests answered with 483.",
        "sip_rejected_overload": "Requests refused because of the balancer's own limits.",
        "sip_rejected_over_limit": "New requests refused because no node of their group may take them.",
        "sip_rejected_budget": "Requests in dialogs refused because of a node's request budget.",
        "sip_dropped_overload": "Requests dropped because even transactions in dialogs passed twice the limit.",
        "sip_rejected_foreign_path": "Requests from a caller whose path token only nodes may use.",
        "sip_rejected_source": "Requests refused because their listener does not take them from there.",
        "sip_rejected_outward": "New requests from the side of the nodes that may not leave.",
        "sip_named_dialog": "INVITEs sent to the node of the dialog that they replace or join.",
        "sip_tokens_refused": "Record-Route tokens that could not be trusted, or are of another dialog.",
        "sip_forced_to_flow": "Requests of nodes for some address that went to the caller's own flow instead.",
        "sip_rejected_flow_failed": "Requests for a caller whose connection is no more, answered with 430.",
        "sip_responses_rerouted": "Responses that went over a new connection because that of their request was gone.",
        "sip_responses_lost": "Responses dropped because the connection of their request was gone.",
        "sip_relayed_requests": "Requests forwarded without a transaction, as the mode of their group says.",
        "sip_relayed_responses": "Responses passed on without a transaction.",
        "sip_cancels": "CANCELs that found their INVITE.",
        "sip_transport_errors": "Transport errors that found their transaction.",
        "sip_stray_transport_errors": "Transport errors that found no transaction.",
        "sip_options_answered": "OPTIONS that the balancer answered itself.",
        "sip_further_2xx": "Late or further 2xx that were passed on.",
        "sip_challenged": "INVITEs sent to the node that had challenged their Call-ID.",
    },
)
"""SIP messages, by what became of them."""

CORE = (*CALLS, *WORK, *NETWORK, *SIP)

BY_CORE_NAME = {family.exposed.removeprefix(PREFIX): family for family in CORE}
"""By the name that the packet core gives it (counters with ``_total``)."""
