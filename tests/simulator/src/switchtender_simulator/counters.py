"""What a node has counted since its process started; shown by the HTTP API, judged against the balancer's numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(slots=True)
class Counters:
    """SIP counters of one life of a node. A request is everything but responses, ACK and dropped ones included."""

    requests: int = 0
    dropped: int = 0  # by the requests-per-second blackout
    unanswered: int = 0  # by the fault `sip_silent`
    malformed: int = 0
    retransmitted: int = 0  # requests seen again
    invites: int = 0  # new ones, outside of dialogs
    reinvites: int = 0
    acks: int = 0
    answered: int = 0  # calls that got a 200
    refused: Counter[str] = field(default_factory=Counter)  # FreeSWITCH's own refusals, by cause
    failed: Counter[str] = field(default_factory=Counter)  # by status of the scripted answer
    cancels: int = 0
    byes_received: int = 0
    byes_sent: int = 0
    byes_unanswered: int = 0
    never_acknowledged: int = 0  # answered calls whose ACK never came
    options: int = 0
    registers: int = 0
    others: int = 0
    unknown_dialog: int = 0  # requests that got 481
    challenged: int = 0
    foreign_credentials: int = 0  # credentials for another node's challenge
    responses: int = 0
    unexpected_responses: int = 0
    outside_calls: int = 0
    outside_refused: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Name to number, or to numbers by cause; `dataclasses.asdict` cannot copy a `Counter`."""
        values = {field_.name: getattr(self, field_.name) for field_ in fields(self)}
        return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}
