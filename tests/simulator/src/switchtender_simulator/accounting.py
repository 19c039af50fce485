"""FreeSWITCH's session accounting: who is admitted, what the counters show, when requests are dropped unseen.

Pure: time is an argument (seconds, any monotonic clock), there is no I/O and no SIP in here.

The rules are measured on FreeSWITCH 1.11.1 (the same on 1.10.12):

* A new inbound session first meets an *early check* (count >= max: refused, no session, no token). Then it takes a
  token of the current second, then it exists, and only then the limit is looked at again: the session that makes the
  count reach Max-Sessions is refused *and* stays as a zombie for about ten seconds. So Max-Sessions - 1 calls fit.
* Tokens: N a second, decremented before the test, so N - 1 are admitted; refused requests go on decrementing, which
  makes `Session-Per-Sec` negative (printed as unsigned 32 bit).
* An outbound leg takes a token, too, but may take the last slot.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum

UINT32 = 1 << 32
TICKS_PER_FIVE_MINUTES = 300
ZOMBIE_SECONDS = 10.06


class Refusal(StrEnum):
    """Why a session was refused; the names are those of the counters in the HTTP API."""

    FULL = "full"
    BOUNDARY = "boundary"
    SESSIONS_PER_SECOND = "sps"
    IDLE_CPU = "idle_cpu"
    PAUSED = "paused"
    SHUTDOWN = "shutdown"
    BOOTING = "booting"


class SessionLedger:
    """Counts sessions as FreeSWITCH's core does; `advance` must see time before anything is read or admitted."""

    def __init__(
        self, *, max_sessions: int, sessions_per_second: int, now: float, zombie_seconds: float = ZOMBIE_SECONDS
    ) -> None:
        self.max_sessions = max_sessions
        self.sessions_per_second = sessions_per_second
        self.min_idle_cpu = 0.0
        self.idle_cpu = 100.0
        self.zombie_seconds = zombie_seconds
        self.count = 0
        self.background = 0
        self.since_startup = 0
        self.peak = 0
        self.peak_five_minutes = 0
        self.tokens = sessions_per_second
        self.last_second = 0
        self.last_second_peak = 0
        self.last_second_peak_five_minutes = 0
        self._ticks = 0
        self._next_tick = now + 1.0
        self._zombies: deque[float] = deque()

    @property
    def zombies(self) -> int:
        """Sessions that exist but carry no call: refused at the boundary and not yet abandoned."""
        return len(self._zombies)

    @property
    def is_full(self) -> bool:
        """The early check: what FreeSWITCH asks before it makes a session."""
        return self.count >= self.max_sessions

    def advance(self, now: float) -> None:
        """Let second ticks pass and zombies be abandoned, up to `now`."""
        while self._zombies and self._zombies[0] <= now:
            self._zombies.popleft()
            self.release()
        while self._next_tick <= now:
            self._next_tick += 1.0
            self._tick()

    def _tick(self) -> None:
        # Signed arithmetic as in the core: a limit lowered in mid-second gives a negative rate for one beat.
        self.last_second = self.sessions_per_second - self.tokens
        self.tokens = self.sessions_per_second
        self._ticks += 1
        if self._ticks % TICKS_PER_FIVE_MINUTES == 0:
            self.peak_five_minutes = self.count
            self.last_second_peak_five_minutes = 0
        self.last_second_peak = max(self.last_second_peak, self.last_second)
        self.last_second_peak_five_minutes = max(self.last_second_peak_five_minutes, self.last_second)

    def _take_token(self) -> bool:
        self.tokens -= 1
        return self.tokens > 0

    def _create(self) -> None:
        self.count += 1
        self.since_startup += 1
        self.peak = max(self.peak, self.count)
        self.peak_five_minutes = max(self.peak_five_minutes, self.count)

    def open_inbound(self) -> Refusal | None:
        """First look at an inbound call: None means that a session exists now and `confirm` must follow."""
        if self.is_full:
            return Refusal.FULL
        if self.min_idle_cpu > self.idle_cpu:
            return Refusal.IDLE_CPU
        if not self._take_token():
            return Refusal.SESSIONS_PER_SECOND
        self._create()
        return None

    def confirm(self, now: float) -> Refusal | None:
        """Second look at a session that `open_inbound` made; at the limit it turns into a zombie.

        A zombie keeps its place in `count` and leaves by itself; the caller must not release it.
        """
        if self.count < self.max_sessions:
            return None
        self._zombies.append(now + self.zombie_seconds)
        return Refusal.BOUNDARY

    def abandon(self, now: float) -> None:
        """A session whose call never comes (a challenged INVITE without a second try) ends as a zombie does."""
        self._zombies.append(now + self.zombie_seconds)

    def open_outbound(self) -> Refusal | None:
        """Ask for an outbound (B) leg: it takes a token and may take the last slot; None means that it exists."""
        if self.min_idle_cpu > self.idle_cpu:
            return Refusal.IDLE_CPU
        if not self._take_token():
            return Refusal.SESSIONS_PER_SECOND
        if self.count + 1 > self.max_sessions:
            return Refusal.FULL
        self._create()
        return None

    def release(self, legs: int = 1) -> None:
        """`legs` sessions end."""
        self.count -= legs

    def set_background(self, sessions: int) -> None:
        """Make `sessions` the number of sessions that no balancer sent; they are exempt from the limits."""
        while self.background < sessions:
            self.background += 1
            self._create()
        self.release(self.background - sessions)
        self.background = sessions

    def set_limit(self, max_sessions: int) -> int:
        """`fsctl max_sessions`: zero and below are ignored; returns the limit in force."""
        if max_sessions > 0:
            self.max_sessions = max_sessions
        return self.max_sessions

    def set_rate(self, sessions_per_second: int) -> int:
        """`fsctl sps`: takes effect with the next second's tokens; zero and below are ignored."""
        if sessions_per_second > 0:
            self.sessions_per_second = sessions_per_second
        return self.sessions_per_second

    def reset_rate_peak(self) -> None:
        """`fsctl sps_peak_reset`."""
        self.last_second_peak = 0
        self.last_second_peak_five_minutes = 0


def uint32(value: int) -> int:
    """How FreeSWITCH prints a signed counter in a HEARTBEAT: as unsigned 32 bit."""
    return value % UINT32


class RequestMeter:
    """The SIP profile's `max-recv-requests-per-second`: a silent blackout once the second before was over the limit.

    Dropped requests count, too, so a sustained overload never ends; one second below the limit does end it.
    A limit of 0 switches the test off.
    """

    def __init__(self, *, limit: int, now: float) -> None:
        self.limit = limit
        self._window = now
        self._current = 0
        self._previous = 0

    def drops(self, now: float) -> bool:
        """Count one request that arrives at `now`; True when it must vanish without an answer."""
        elapsed = now - self._window
        if elapsed >= 1.0:
            whole = int(elapsed)
            self._previous = self._current if whole == 1 else 0
            self._current = 0
            self._window += whole
        self._current += 1
        return 0 < self.limit < self._previous
