"""What a leader remembers from one decision to the next: needs and sessions over time, and what it asked for.

Made anew by every leader. All that is forgotten so makes it wait longer, never act sooner.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import combinations
from statistics import fmean, median
from typing import Final

SAMPLE_EVERY: Final = timedelta(seconds=5)
"""Least time between two kept samples of the sessions."""

TREND_SPAN: Final = timedelta(minutes=2)
"""The trend is that of so much time."""

TREND_LEAST: Final = timedelta(seconds=30)
"""Less than this says nothing of a trend."""

GAP: Final = timedelta(minutes=5)
"""A leader that did not look for so long, or whose clock was set, begins anew."""

SEEN_WITHIN: Final = timedelta(seconds=15)
"""So long a drain or a revival that was decided counts as done although it is not seen yet."""


@dataclass(frozen=True, slots=True)
class Window:
    """The numbers of a sliding time, of which only those are kept that can still become its highest (or lowest).

    `since`: from when on nothing is missing.
    """

    since: datetime | None = None
    values: tuple[tuple[datetime, int], ...] = ()

    def highest(self, at: datetime, value: int, span: timedelta) -> Window:
        """Return the window after `value`; its `extreme` is the highest of the last `span`."""
        return self._after(at, value, span, tuple(kept for kept in self.values if kept[1] > value))

    def lowest(self, at: datetime, value: int, span: timedelta) -> Window:
        """Return the window after `value`; its `extreme` is the lowest of the last `span`."""
        return self._after(at, value, span, tuple(kept for kept in self.values if kept[1] < value))

    def _after(self, at: datetime, value: int, span: timedelta, rivals: tuple[tuple[datetime, int], ...]) -> Window:
        start = at - span
        since = at if self.since is None else max(self.since, start)
        return Window(since, (*(kept for kept in rivals if kept[0] >= start), (at, value)))

    @property
    def extreme(self) -> int | None:
        """The highest, or lowest, number; None while there is none."""
        return self.values[0][1] if self.values else None

    def whole(self, at: datetime, span: timedelta) -> bool:
        """Whether nothing of the last `span` is missing."""
        return self.since is not None and at - self.since >= span


@dataclass(frozen=True, slots=True)
class ScaleHistory:
    """What one leader remembers of one group. The empty one is that of a new leader.

    `highs` of what may be kept and `lows` of what is missing, in nodes; `sessions` of all nodes, while the nodes
    whose sessions are not known stay the same (`unknown`); `begun`: drains this leader began, by uid, and
    `drained`, `revived`: what it asked for and may not see yet; `added` nodes; `failing`: nodes that took no calls
    since when; `marked`: nodes whose lowest deletion cost is read back since when; `per`: sessions a node last took.
    """

    at: datetime | None = None
    highs: Window = field(default_factory=Window)
    lows: Window = field(default_factory=Window)
    sessions: tuple[tuple[datetime, int], ...] = ()
    unknown: frozenset[str] = frozenset()
    begun: tuple[tuple[str, datetime], ...] = ()
    drained: tuple[tuple[str, datetime], ...] = ()
    revived: tuple[tuple[str, datetime], ...] = ()
    added: tuple[tuple[datetime, int], ...] = ()
    failing: tuple[tuple[str, datetime], ...] = ()
    marked: tuple[tuple[str, datetime], ...] = ()
    per: float | None = None

    def looked(self, now: datetime) -> ScaleHistory:
        """Return the history as far as it holds at `now`: empty after a gap, or where the clock was set back."""
        if self.at is None or not timedelta(0) <= now - self.at <= GAP:
            return ScaleHistory(at=now)
        return replace(
            self,
            at=now,
            drained=tuple(asked for asked in self.drained if now - asked[1] <= SEEN_WITHIN),
            revived=tuple(asked for asked in self.revived if now - asked[1] <= SEEN_WITHIN),
        )

    def sampled(self, now: datetime, sessions: int, unknown: frozenset[str]) -> ScaleHistory:
        """Return the history with the sessions of now; another set of unknown nodes begins the series anew."""
        kept = tuple(s for s in self.sessions if now - s[0] <= TREND_SPAN) if unknown == self.unknown else ()
        if not kept or now - kept[-1][0] >= SAMPLE_EVERY:
            kept = (*kept, (now, sessions))
        return replace(self, sessions=kept, unknown=unknown)

    def saw(self, now: datetime, *, failing: Iterable[str], marked: Iterable[str]) -> ScaleHistory:
        """Return the history with these nodes, and no others, failing and marked at `now`."""
        return replace(self, failing=_since(self.failing, now, failing), marked=_since(self.marked, now, marked))

    def rise(self, now: datetime, sessions: int) -> float:
        """Return by how many sessions a second all nodes together gain, 0 or more.

        The median of the slopes between all samples (Theil, Sen), which a single step moves little, less what
        chance alone gives: a count of calls that come by chance varies by its square root.
        """
        points = self.sessions if self.sessions and self.sessions[-1][0] == now else (*self.sessions, (now, sessions))
        span = (points[-1][0] - points[0][0]).total_seconds()
        if len(points) < 3 or span < TREND_LEAST.total_seconds():
            return 0.0
        slope = median((b[1] - a[1]) / (b[0] - a[0]).total_seconds() for a, b in combinations(points, 2))
        chance = math.sqrt(fmean(point[1] for point in points))
        return max(0.0, slope * span - chance) / span

    def wanted(self, now: datetime, *, high: int, low: int, scale_in: timedelta, scale_out: timedelta) -> ScaleHistory:
        """Return the history with the nodes to keep (`high`) and the nodes needed (`low`) at `now`."""
        return replace(self, highs=self.highs.highest(now, high, scale_in), lows=self.lows.lowest(now, low, scale_out))

    def asked(self, now: datetime, *, drain: tuple[str, ...], revive: tuple[str, ...], added: int) -> ScaleHistory:
        """Return the history with what is asked for at `now`."""
        undone = {*drain, *revive}
        return replace(
            self,
            begun=(*self.begun, *((uid, now) for uid in drain)),
            drained=(*(a for a in self.drained if a[0] not in undone), *((uid, now) for uid in drain)),
            revived=(*(a for a in self.revived if a[0] not in undone), *((uid, now) for uid in revive)),
            added=(*self.added, (now, added)) if added else self.added,
        )

    def without(self, uids: Collection[str], now: datetime) -> ScaleHistory:
        """Return the history without the drains and revivals of these nodes that were asked for at `now` in vain."""

        def kept(asked: tuple[tuple[str, datetime], ...]) -> tuple[tuple[str, datetime], ...]:
            return tuple(each for each in asked if each[0] not in uids or each[1] != now)

        if not uids:
            return self
        return replace(self, begun=kept(self.begun), drained=kept(self.drained), revived=kept(self.revived))

    def recent(self, now: datetime, *, scale_in: timedelta, lead: timedelta) -> ScaleHistory:
        """Return the history with only those drains and additions that still count against the steps."""
        return replace(
            self,
            begun=tuple(begun for begun in self.begun if now - begun[1] < scale_in),
            added=tuple(added for added in self.added if now - added[0] < lead),
        )


def _since(
    known: tuple[tuple[str, datetime], ...], now: datetime, uids: Iterable[str]
) -> tuple[tuple[str, datetime], ...]:
    """Return since when each of the nodes is what it is."""
    since = dict(known)
    return tuple((uid, since.get(uid, now)) for uid in uids)
