"""Turns on a clock that may do anything."""

from __future__ import annotations

import asyncio

import pytest
from operator_stand import eventually

from switchtender_operator.reconcile import turns as module
from switchtender_operator.reconcile.queue import DirtyKeys
from switchtender_operator.reconcile.turns import Turns


async def test_a_change_has_its_turn() -> None:
    turns = Turns(DirtyKeys(quiet=0.01))
    waiting = asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    turns.changed("a")
    assert await asyncio.wait_for(waiting, 30) == "a"
    turns.changed("a")
    second = asyncio.create_task(turns.next())
    await asyncio.sleep(0.05)
    assert not second.done()
    turns.done("a")
    assert await asyncio.wait_for(second, 30) == "a"


async def test_an_earlier_wake_up_ends_a_longer_wait() -> None:
    turns = Turns(DirtyKeys(quiet=0.01))
    turns.wake("late", 3600.0)
    waiting = asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    turns.wake("soon", 0.0)
    assert await asyncio.wait_for(waiting, 30) == "soon"
    assert turns.failed("soon", at_least=4.0) == 4.0


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
async def test_a_clock_that_jumps_delays_nothing_for_long(jump: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.05)
    now = [100_000.0]
    turns = Turns(DirtyKeys(quiet=0.1), clock=lambda: now[0])
    turns.changed("a")
    waiting = asyncio.create_task(turns.next())
    await asyncio.sleep(0)
    now[0] += jump
    turns.changed("a")
    turns.wake("a", 0.0)
    assert await asyncio.wait_for(waiting, 30) == "a"
    await eventually(lambda: turns.oldest() == 0.0)
