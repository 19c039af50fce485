"""The state tables of a real node: what `fsctl` says and what SIP answers, state by state."""

import pytest
from sim_bench import Bench, header, request, statuses

from switchtender_simulator.lifecycle import Phase, Status

# state -> (ready_check, pause_check, … inbound, … outbound, shutdown_check), as measured; None = not measured
CHECKS = {
    "normal": (True, False, False, False, False),
    "pause inbound": (True, False, True, False, False),
    "pause outbound": (True, False, False, True, None),
    "pause": (False, True, True, True, None),
    "elegant": (True, None, False, None, True),
    "asap": (False, None, True, None, True),
    "stopping": (False, None, None, None, False),
}
# state -> (status of INVITE, of OPTIONS)
SIP = {
    "normal": (200, 200),
    "pause inbound": (503, 200),
    "pause outbound": (200, 200),
    "pause": (503, 200),
    "elegant": (200, 200),
    "asap": (503, 200),
    "standby": (503, 503),
    "booting": (503, 200),
    "stopping": (503, 200),
    "teardown": (410, 410),
}


def enter(status: Status, state: str) -> None:
    if state.startswith("pause"):
        word = state.partition(" ")[2]
        status.set_paused("inbound" if word == "inbound" else "outbound" if word == "outbound" else None, paused=True)
    elif state in {"elegant", "asap"}:
        status.request_shutdown(state)
    elif state == "standby":
        status.standby = True
    elif state != "normal":
        status.phase = Phase(state)


@pytest.mark.parametrize("state", CHECKS)
def test_checks_by_state(state: str) -> None:
    status = Status(phase=Phase.RUNNING)
    enter(status, state)
    ours = (
        status.ready,
        status.pause_check(None),
        status.pause_check("inbound"),
        status.pause_check("outbound"),
        status.shutdown_check,
    )
    assert [mine for mine, theirs in zip(ours, CHECKS[state], strict=True) if theirs is not None] == [
        theirs for theirs in CHECKS[state] if theirs is not None
    ]


@pytest.mark.parametrize("state", SIP)
def test_sip_by_state(state: str) -> None:
    bench = Bench()
    enter(bench.status, state)
    invite = bench.call()
    assert (statuses(invite)[-1], *statuses(bench.say(request("OPTIONS", "ping", 2)))) == SIP[state]
    if SIP[state][0] != 200:
        assert len(invite) == 1  # a refusal has no 100 before it
        assert header(invite[0], "Reason") == ""
        assert header(invite[0], "Record-Route") == ""
    if SIP[state][0] == 503:
        assert header(invite[0], "Retry-After") == ("" if state == "standby" else "300")


def test_resume_and_cancel_undo() -> None:
    status = Status(phase=Phase.RUNNING)
    status.set_paused(None, paused=True)
    status.set_paused("outbound", paused=False)
    assert (status.paused_inbound, status.paused_outbound, status.ready) == (True, False, True)
    status.set_paused("inbound", paused=False)
    status.request_shutdown("asap")
    assert not status.ready
    status.cancel_shutdown()
    assert status.ready
    assert not status.shutdown_check
