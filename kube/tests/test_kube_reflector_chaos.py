"""The reflector under any sequence of faults, and its size with 5,000 pods."""

import asyncio
import gc
import json
import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kube_bench import PODS, Bench, pod
from kube_virtual import now, run_virtual

from switchtender_kube import Reflector

# --- everything at once -----------------------------------------------------------------------------------------

CHANGES = ["put", "put", "put", "remove", "remove", "replace"]
FAULTS = ["cut", "compact", "error-410", "error-500", "end", "garbage", "fail-list", "fail-watch", "429", "empty"]
STEPS = st.sampled_from([*CHANGES, *FAULTS, "partial", "away", "freeze", "wait", "wait", "bookmark"])


@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 9)), max_size=40), seed=st.integers(0, 99))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_after_any_sequence_of_faults_the_store_is_what_the_server_has(steps: list[tuple[str, int]], seed: int) -> None:
    async def main() -> None:
        bench = Bench(page=3, resync=900.0)
        rng = random.Random(seed)
        bench.client.latency = lambda: rng.uniform(0, 0.05)
        mirror: dict[str, Any] = {}

        def changed(uid: str, old: Any, new: Any) -> None:
            assert mirror.get(uid) == old
            if new is None:
                del mirror[uid]
            else:
                mirror[uid] = new

        bench.reflector._changed = changed
        async with bench.running(synced=False):
            for step, n in steps:
                await _step(bench, step, n)
            bench.api.clear_faults()
            bench.client.reachable = True
            await asyncio.sleep(600)
            assert bench.reflector.synced.is_set()
            assert bench.reflector.store == bench.truth == mirror
            assert bench.reflector.stats.callback_errors == 0

    run_virtual(main)


async def _step(bench: Bench, step: str, n: int) -> None:
    api = bench.api
    match step:
        case "put":
            bench.put(pod(f"p{n}", api.store.version))
        case "remove" | "replace":
            if api.object("pods", "voice", f"p{n}") is not None:
                api.remove("pods", "voice", f"p{n}")
                if step == "replace":
                    bench.put(pod(f"p{n}", api.store.version))
        case "cut":
            bench.client.cut()
        case "compact":
            api.compact()
        case "error-410" | "error-500":
            api.in_stream_error(int(step.split("-")[1]))
        case "end":
            api.end_watches()
        case "garbage":
            api.say(b"{garbage\n")
        case "fail-list" | "fail-watch":
            api.fail("pods", step.split("-")[1], [500, 410, 403, 404][n % 4], times=n, in_stream=n % 2 == 0)
        case "429":
            api.fail("pods", None, 429, retry_after=n, times=2)
        case "empty":
            api.empty_list("pods", times=1)
        case "partial":
            api.partial_list("pods", keep=n // 3, times=1)
        case "away":
            bench.client.reachable = not bench.client.reachable
        case "freeze":
            api.freeze() if n % 2 else api.thaw(drop=False)
        case "bookmark":
            api.bookmark()
    await asyncio.sleep([0, 0.01, 0.5, 2, 5, 20, 70, 100, 0, 1][n])


# --- size -------------------------------------------------------------------------------------------------------


def test_5000_pods_of_6_kb_take_few_requests_and_little_memory() -> None:
    """The store alone is measured (bytes that are still allocated after), not the server's pods nor the time."""
    import tracemalloc

    async def main() -> None:
        filler = {f"annotation-{i}": "x" * 500 for i in range(11)}
        pods = []
        for n in range(5000):
            raw = pod(f"freeswitch-{n}", n, app="fs")
            raw["metadata"] |= {
                "uid": f"{n:08}-0000-0000-0000-000000000000",
                "annotations": filler,
                "resourceVersion": "1",
            }
            pods.append(raw)
        assert len(json.dumps(pods[0])) > 5_900
        requests: list[Any] = []

        class Pages:
            async def get(self, path: str, query: Any = None) -> Any:
                requests.append(query)
                start = int(query["continue"] or 0)
                page = json.loads(json.dumps(pods[start : start + query["limit"]]))
                after = start + query["limit"]
                more = {"continue": str(after)} if after < len(pods) else {}
                return {"metadata": {"resourceVersion": "7", **more}, "items": page}

            async def watch(self, path: str, query: Any = None, *, silence: float):
                await asyncio.sleep(silence)
                yield b""

        reflector = Reflector(
            Pages(), PODS, namespace=None, clock=now,
            project=lambda raw: (raw["metadata"]["name"], raw["metadata"]["namespace"], raw["spec"]["value"]),
            changed=lambda *_: None,
        )  # fmt: skip
        gc.collect()
        tracemalloc.start()
        task = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        task.cancel()
        assert len(reflector.store) == 5000
        assert len(requests) == 10
        assert held < 6 << 20, f"{held} bytes"

    run_virtual(main)
