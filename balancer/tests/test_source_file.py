"""A file is read when it has changed and come to rest."""

import asyncio
import contextlib

import pytest

from switchtender.sources import file
from switchtender.sources.file import changes, identity


@pytest.fixture
def watched(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "_POLL", 0.002)
    monkeypatch.setattr(file, "QUIET", 0.02)
    path = tmp_path / "config.yaml"
    path.write_text("one")
    return path


@contextlib.asynccontextmanager
async def seen(path):
    """The texts that a reader would have read, one for each change."""
    texts = []

    async def follow():
        async for _ in changes(path, identity(path)):
            texts.append(path.read_text())

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    yield texts
    task.cancel()


async def eventually(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_change_is_seen_once(watched):
    async with seen(watched) as texts:
        watched.write_text("two!")
        await eventually(lambda: texts == ["two!"])
        await asyncio.sleep(0.1)
        assert texts == ["two!"]


async def test_a_file_replaced_by_rename_is_seen(watched):
    async with seen(watched) as texts:
        fresh = watched.with_suffix(".new")
        fresh.write_text("two")
        fresh.replace(watched)
        await eventually(lambda: texts == ["two"])


async def test_a_file_still_being_written_is_not_read(watched, monkeypatch):
    monkeypatch.setattr(file, "QUIET", 0.2)
    async with seen(watched) as texts:
        with watched.open("w") as handle:
            for part in range(10):
                handle.write(f"part {part}\n")
                handle.flush()
                await asyncio.sleep(0.02)
        await eventually(lambda: texts)
        assert texts == ["".join(f"part {part}\n" for part in range(10))]


async def test_a_file_that_vanishes_is_no_change_until_it_is_back(watched):
    async with seen(watched) as texts:
        watched.unlink()
        await asyncio.sleep(0.1)
        assert texts == []
        watched.write_text("back again")
        await eventually(lambda: texts == ["back again"])
