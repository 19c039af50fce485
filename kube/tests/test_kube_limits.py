"""The write limiter, backoff, paths and errors: what is pure or needs virtual time only."""

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kube_virtual import now, run_virtual

from switchtender_kube import ApiError, Conflict, Resource, WriteLimiter
from switchtender_kube.backoff import Backoff
from switchtender_kube.errors import error_of


def limiter(qps: float, burst: int) -> WriteLimiter:
    return WriteLimiter(qps, burst, clock=now)


@given(qps=st.floats(0.1, 100), burst=st.integers(1, 20), writes=st.integers(1, 60))
def test_a_burst_goes_at_once_and_the_rest_at_the_rate(qps: float, burst: int, writes: int) -> None:
    async def main() -> None:
        limit = limiter(qps, burst)
        began = now()
        for n in range(writes):
            await limit.acquire()
            due = max(0, n + 1 - burst) / qps
            assert now() - began == pytest.approx(due, abs=1e-3)

    run_virtual(main)


@given(times=st.lists(st.floats(0, 3), max_size=50), qps=st.floats(0.5, 20), burst=st.integers(1, 5))
def test_no_window_of_time_holds_more_than_rate_and_burst(times: list[float], qps: float, burst: int) -> None:
    async def main() -> None:
        limit = limiter(qps, burst)
        wrote: list[float] = []

        async def write(at: float) -> None:
            await asyncio.sleep(at)
            await limit.acquire()
            wrote.append(now())

        await asyncio.gather(*(write(at) for at in times))
        assert len(wrote) == len(times)
        for i, start in enumerate(wrote):
            for j in range(i, len(wrote)):
                assert j - i + 1 <= burst + (wrote[j] - start) * qps + 1e-3

    run_virtual(main)


def test_first_come_first_served() -> None:
    async def main() -> None:
        limit, order = limiter(1, 1), []

        async def write(n: int) -> None:
            await limit.acquire()
            order.append(n)

        await asyncio.gather(*(write(n) for n in range(10)))
        assert order == list(range(10))

    run_virtual(main)


@pytest.mark.parametrize(
    ("status", "retry_after", "pause"), [(429, 7.0, 7.0), (429, None, 1.0), (503, 30.0, 30.0), (429, 9999.0, 120.0)]
)
def test_all_writes_wait_when_the_server_asks_for_patience(
    status: int, retry_after: float | None, pause: float
) -> None:
    async def main() -> None:
        limit = limiter(100, 10)

        async def refused() -> None:
            raise ApiError(status, retry_after=retry_after)

        async def done() -> str:
            return "done"

        with pytest.raises(ApiError):
            await limit.call(refused)
        began = now()
        assert await limit.call(done) == "done"
        assert now() - began == pytest.approx(pause)

    run_virtual(main)


@pytest.mark.parametrize("error", [ApiError(500), ApiError(409, "AlreadyExists"), ApiError(503)])
def test_other_errors_hold_up_nobody(error: ApiError) -> None:
    async def main() -> None:
        limit = limiter(100, 10)

        async def refused() -> None:
            raise error

        began = now()
        for _ in range(3):
            with pytest.raises(ApiError):
                await limit.call(refused)
        assert now() == began

    run_virtual(main)


def test_a_pause_that_comes_while_others_wait_is_for_them_too() -> None:
    async def main() -> None:
        limit = limiter(1, 1)
        await limit.acquire()
        waiting = asyncio.create_task(limit.acquire())
        await asyncio.sleep(0.5)
        limit.pause(10)
        limit.pause(2)
        began = now()
        await waiting
        assert now() - began == pytest.approx(10)

    run_virtual(main)


@pytest.mark.parametrize(("qps", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_limit_that_lets_nothing_through_is_refused(qps: float, burst: int) -> None:
    with pytest.raises(ValueError, match="qps"):
        WriteLimiter(qps, burst)


@given(failures=st.integers(0, 5000), seed=st.integers())
def test_backoff_is_bounded_however_long_it_goes_on(failures: int, seed: int) -> None:
    backoff = Backoff(random.Random(seed), 0.5, 30.0, failures)
    assert 0.25 <= backoff.next() <= 30.0
    assert backoff.failures == failures + 1
    assert backoff.next(cap=10.0) <= 10.0
    assert 5 <= Backoff(random.Random(seed)).next(retry_after=5.0) <= 5.5


@pytest.mark.parametrize(
    ("resource", "arguments", "path"),
    [
        (Resource("", "v1", "pods"), (), "/api/v1/pods"),
        (Resource("", "v1", "pods"), ("voice",), "/api/v1/namespaces/voice/pods"),
        (Resource("", "v1", "pods"), ("voice", "fs-0", "status"), "/api/v1/namespaces/voice/pods/fs-0/status"),
        (Resource("", "v1", "namespaces", namespaced=False), (None, "voice"), "/api/v1/namespaces/voice"),
        (Resource("apps", "v1", "deployments"), ("a", "b"), "/apis/apps/v1/namespaces/a/deployments/b"),
        (Resource("g.dev", "v1", "wides", namespaced=False), ("ignored", "x"), "/apis/g.dev/v1/wides/x"),
        (Resource("", "v1", "secrets"), ("voice", "../../nodes"), "/api/v1/namespaces/voice/secrets/..%2F..%2Fnodes"),
    ],
)
def test_paths(resource: Resource, arguments: tuple[str | None, ...], path: str) -> None:
    assert resource.path(*arguments) == path


def test_a_path_that_would_lead_elsewhere_is_refused() -> None:
    with pytest.raises(ValueError, match="namespace is missing"):
        Resource("", "v1", "pods").path(name="fs-0")
    with pytest.raises(ValueError, match="needs a name"):
        Resource("", "v1", "pods").path("voice", subresource="status")


@pytest.mark.parametrize(
    ("body", "retry_after", "expected"),
    [
        (b"", None, ("", "", None)),
        (b"<html>", "3", ("", "", 3.0)),
        (b"[]", "Wed, 21 Oct 2026 07:28:00 GMT", ("", "", None)),
        (b'{"reason": "X", "message": "m", "details": {"retryAfterSeconds": 2}}', None, ("X", "m", 2.0)),
        (b'{"reason": null, "details": "x"}', "-5", ("", "", None)),
        (b'{"message": "m", "details": {"retryAfterSeconds": 0}}', "nan", ("", "m", None)),
        (b"\xff", "1e9", ("", "", None)),
    ],
)
def test_any_answer_makes_an_error(
    body: bytes, retry_after: str | None, expected: tuple[str, str, float | None]
) -> None:
    error = error_of(500, body, retry_after)
    assert (error.reason, error.message, error.retry_after) == expected


def test_a_long_message_is_cut() -> None:
    assert len(error_of(422, {"message": "x" * 100_000}).message) == 2000


def test_a_conflict_tells_whose_fields_those_are() -> None:
    causes = [
        {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".spec.x"},
        {"reason": "Other", "message": "not that"},
        "nonsense",
    ]
    error = error_of(409, {"reason": "Conflict", "message": "m", "details": {"causes": causes}})
    assert isinstance(error, Conflict)
    assert error.fields == ('conflict with "kubectl": .spec.x',)
    assert str(error) == "409 Conflict: m"
    assert not isinstance(error_of(409, {"reason": "AlreadyExists"}), Conflict)


def test_what_expired_means() -> None:
    assert error_of(410, b"").expired
    assert error_of(400, {"reason": "Expired"}).expired
    assert not error_of(404, b"").expired
