"""Cases of the alerts on balancers themselves."""

from tests.views.rules.promtool import BALANCERS, Case, Firing, balancer, operator, up

BUILD = balancer("a", "build_info", "1x8 stale", version="0.1.0")
OTHER = balancer("b", "build_info", "1x60", version="0.1.0")
LEADER = operator("a", "is_leader", "1x8 stale")
REFUSING = balancer("a", "sip_rejected_overload_total", "0+30x40")
STOPPED = balancer("a", "worker_running", "1x4 0x20", worker="1")
PANIC = balancer("a", "worker_panics_total", "0x8 1x20")
DROPPED = balancer("a", "datagrams_dropped_total", "0+60x60", cause="receive_buffer_full")
LOST = balancer("a", "events_lost_total", "0+15x60")

CASES = [
    Case(
        "SwitchtenderTargetDown",
        "a balancer and an operator that were there",
        [
            BUILD,
            up(BUILD, "1x8 0x40"),
            OTHER,
            up(OTHER, "1x60"),
            LEADER,
            up(LEADER, "1x8 0x40"),
        ],
        "8m",
        [
            Firing(
                dict(up(series, "").labels),
                f"{series.labels['instance']} does not answer scrapes",
                "A balancer or operator that was there within the last six hours does not answer Prometheus. Its nodes "
                "and calls do not show in any number.",
            )
            for series in (BUILD, LEADER)
        ],
    ),
    Case(
        "SwitchtenderTargetDown",
        "somebody else's target is down; a balancer missed one scrape; another was taken away",
        [
            up(balancer("c", "build_info", ""), "0x60"),
            balancer("a", "build_info", "1x8 stale 1x50", version="0.1.0"),
            up(BUILD, "1x8 0 1x50"),
            balancer("b", "build_info", "1x8 stale", version="0.1.0"),
            up(OTHER, "1x8 stale"),
        ],
        "8m",
    ),
    Case(
        "SwitchtenderNoBalancer",
        "both are gone",
        [BUILD, balancer("b", "build_info", "1x12 stale", version="0.1.0")],
        "8m",
        [
            Firing(
                {"job": BALANCERS},
                f"{BALANCERS}: no balancer answers scrapes",
                "2 balancer(s) were there within the last hour and none is now.",
            )
        ],
    ),
    Case("SwitchtenderNoBalancer", "one of two is gone; operators are no balancers", [BUILD, OTHER, LEADER], "8m"),
    Case(
        "SwitchtenderOverloaded",
        "two requests a second are refused, none is dropped",
        [REFUSING, balancer("a", "sip_dropped_overload_total", "0x40")],
        "6m",
        [
            Firing(
                dict(REFUSING.labels),
                "10.0.0.1:8080 refuses calls to protect itself",
                "2 requests a second are refused or dropped because a worker comes too late to what is due, or the "
                "balancer's own limits are used up, whatever room nodes have.",
            )
        ],
    ),
    Case(
        "SwitchtenderOverloaded",
        "it was refusing some minutes ago",
        [
            balancer("a", "sip_rejected_overload_total", "0+30x10 300x40"),
            balancer("a", "sip_dropped_overload_total", "0x50"),
        ],
        "8m",
    ),
    Case(
        "SwitchtenderWorkerStopped",
        "one of two",
        [STOPPED, balancer("a", "worker_running", "1x24", worker="0")],
        "4m",
        [
            Firing(
                dict(STOPPED.labels),
                "10.0.0.1:8080: packet worker 1 does not run",
                "What the kernel gives this worker is not read.",
            )
        ],
    ),
    Case("SwitchtenderWorkerStopped", "all run", [balancer("a", "worker_running", "1x24", worker="0")], "4m"),
    Case(
        "SwitchtenderWorkerPanicked",
        "once",
        [PANIC],
        "4m",
        [
            Firing(
                dict(PANIC.labels),
                "10.0.0.1:8080: a packet worker met a fault",
                "A fault of the balancer was caught while it handled a message. At worst calls in set-up at this "
                "worker are lost; calls that stand and the worker itself go on.",
            )
        ],
    ),
    Case(
        "SwitchtenderWorkerPanicked",
        "a quarter of an hour ago",
        [balancer("a", "worker_panics_total", "0x8 1x80")],
        "18m",
    ),
    Case(
        "SwitchtenderDatagramsDropped",
        "four a second",
        [DROPPED, balancer("a", "datagrams_dropped_total", "0x60", cause="send_failed")],
        "12m",
        [
            Firing(
                dict(DROPPED.labels),
                "10.0.0.1:8080: datagrams are lost within the host (receive_buffer_full)",
                "4 datagrams a second are lost. Over UDP they are sent again by whoever waits for an answer, half a "
                "second later.",
            )
        ],
    ),
    Case(
        "SwitchtenderDatagramsDropped",
        "a few, and a burst that is over",
        [
            balancer("a", "datagrams_dropped_total", "0+1x60", cause="send_failed"),
            balancer("a", "datagrams_dropped_total", "0x20 200x60", cause="receive_buffer_full"),
        ],
        "12m",
    ),
    Case(
        "SwitchtenderEventsLost",
        "one a second",
        [LOST],
        "12m",
        [
            Firing(
                dict(LOST.labels),
                "10.0.0.1:8080: log events are lost",
                "About 300 log events of the packet core were lost in five minutes. Calls are not touched.",
            )
        ],
    ),
    Case("SwitchtenderEventsLost", "none since long", [balancer("a", "events_lost_total", "40x60")], "12m"),
]
