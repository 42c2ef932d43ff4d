"""Breakers: an in-memory call beside what else there is, a durable one, and what `hook run` costs above bare Python."""

# ruff: noqa: PLC0415 - peers are imported where they are made; one that is not installed is left out

import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pytest_guardrails.reliability.breakers import Breaker, CircuitOpenError, HookState, StoredKeeper
from pytest_guardrails.reliability.state import open_store
from tests.benchmarks.figures import Figure, interleave, spread

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = "Breaker"
_LONG_S = 3600  # the peers stay open for as long as we measure
Call = Callable[[], object]


def work() -> int:
    return 1


def broken() -> int:
    raise ValueError


async def work_async() -> int:
    return 1


def locked(function: Call) -> Call:
    lock = threading.Lock()

    def call() -> object:
        with lock:
            return function()

    return call


def closed_calls() -> dict[str, Call]:
    found: dict[str, Call] = {"bare call": work, "bare lock": locked(work), OURS: Breaker("closed")(work)}
    with suppress(ImportError):
        import pybreaker

        found["pybreaker"] = pybreaker.CircuitBreaker(fail_max=3)(work)
    with suppress(ImportError):
        import purgatory

        found["purgatory"] = purgatory.SyncCircuitBreakerFactory()("closed")(work)
    with suppress(ImportError):
        import aiobreaker

        found["aiobreaker"] = aiobreaker.CircuitBreaker(fail_max=3)(work)
    with suppress(ImportError):
        import tenacity

        found["tenacity (retries)"] = tenacity.retry(stop=tenacity.stop_after_attempt(1))(work)
    with suppress(ImportError):
        import stamina

        found["stamina (retries)"] = stamina.retry(on=ValueError, attempts=1)(work)
    return found


def open_calls() -> dict[str, Call]:
    ours = Breaker("open")
    found: dict[str, tuple[Callable[..., Any], type[Exception]]] = {OURS: (ours(broken), CircuitOpenError)}
    with suppress(ImportError):
        import pybreaker

        peer = pybreaker.CircuitBreaker(fail_max=3, reset_timeout=_LONG_S)
        found["pybreaker"] = (peer(broken), pybreaker.CircuitBreakerError)
    with suppress(ImportError):
        import purgatory
        from purgatory.domain.model import OpenedState

        factory = purgatory.SyncCircuitBreakerFactory(default_threshold=3, default_ttl=_LONG_S)
        found["purgatory"] = (factory("open")(broken), OpenedState)
    with suppress(ImportError):
        import aiobreaker

        breaker = aiobreaker.CircuitBreaker(fail_max=3, timeout_duration=timedelta(seconds=_LONG_S))
        found["aiobreaker"] = (breaker(broken), aiobreaker.CircuitBreakerError)
    for call, _ in found.values():
        for _ in range(4):
            with suppress(Exception):
                call()
    return {name: refused(call, error) for name, (call, error) in found.items()}


def refused(call: Call, error: type[Exception]) -> Call:
    def attempt() -> object:
        try:
            return call()
        except error:
            return None

    return attempt


def nanoseconds(call: Call, count: int) -> float:
    start_s = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - start_s) / count * 1e9


def async_calls() -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {"bare call": work_async, OURS: Breaker("async")(work_async)}
    with suppress(ImportError):
        import purgatory

        factory = purgatory.AsyncCircuitBreakerFactory()
        found["purgatory"] = factory("async")(work_async)
    with suppress(ImportError):
        import aiobreaker

        breaker = aiobreaker.CircuitBreaker(fail_max=3)
        found["aiobreaker"] = lambda: breaker.call_async(work_async)
    with suppress(ImportError):
        from hyx.circuitbreaker import consecutive_breaker

        found["hyx"] = consecutive_breaker()(work_async)
    return found


async def broken_async() -> int:
    raise ValueError


def open_async_calls() -> dict[str, Callable[[], Any]]:
    ours = Breaker("async open")
    found: dict[str, tuple[Callable[..., Any], type[Exception]]] = {OURS: (ours(broken_async), CircuitOpenError)}
    with suppress(ImportError):
        import purgatory
        from purgatory.domain.model import OpenedState

        factory = purgatory.AsyncCircuitBreakerFactory(default_threshold=3, default_ttl=_LONG_S)
        found["purgatory"] = (factory("open")(broken_async), OpenedState)
    with suppress(ImportError):
        import aiobreaker

        breaker = aiobreaker.CircuitBreaker(fail_max=3, timeout_duration=timedelta(seconds=_LONG_S))
        found["aiobreaker"] = (lambda: breaker.call_async(broken_async), aiobreaker.CircuitBreakerError)
    with suppress(ImportError):
        from hyx.circuitbreaker import consecutive_breaker
        from hyx.circuitbreaker.exceptions import BreakerFailing

        peer = consecutive_breaker(failure_threshold=3, recovery_time_secs=_LONG_S)
        found["hyx"] = (peer(broken_async), BreakerFailing)
    calls = {name: refused_async(call, error) for name, (call, error) in found.items()}
    asyncio.run(opened(list(calls.values())))
    return calls


async def opened(calls: Sequence[Callable[[], Any]]) -> None:
    for call in calls:
        for _ in range(4):
            with suppress(ValueError):
                await call()


def refused_async(call: Callable[[], Any], error: type[Exception]) -> Callable[[], Any]:
    async def attempt() -> object:
        try:
            return await call()
        except error:
            return None

    return attempt


def nanoseconds_async(call: Callable[[], Any], count: int) -> float:
    async def run() -> float:
        start_s = time.perf_counter()
        for _ in range(count):
            await call()
        return (time.perf_counter() - start_s) / count * 1e9

    return asyncio.run(run())


def figures(what: str, unit: str, samples: Mapping[str, list[float]], aim: str, most: float) -> list[Figure]:
    medians = {name: spread(taken)[0] for name, taken in samples.items()}
    made = []
    for name, taken in samples.items():
        median, low, high = spread(taken)
        peers = {peer: median / other for peer, other in medians.items() if peer != name} if name == OURS else {}
        ours = name == OURS
        holds = median <= most if ours else None
        made.append(
            Figure(
                name=f"{what}: {name}",
                unit=unit,
                value=median,
                low=low,
                high=high,
                aim=aim if ours else "",
                holds=holds,
                ratios=peers,
            )
        )
    return made


def in_memory(rounds: int, count: int) -> list[Figure]:
    aim = "at most 1,000 ns a call"
    made = []
    for what, calls in (("closed", closed_calls()), ("open", open_calls())):
        taken = interleave({name: partial(nanoseconds, call, count) for name, call in calls.items()}, rounds)
        made += figures(f"breaker in memory, {what}", "ns/call", taken, aim, 1000.0)
    for what, several in (("closed", async_calls()), ("open", open_async_calls())):
        taken = interleave({name: partial(nanoseconds_async, call, count) for name, call in several.items()}, rounds)
        made += figures(f"breaker in memory, async, {what}", "ns/call", taken, aim, 1000.0)
    return made


def stored(rounds: int, count: int) -> list[Figure]:
    """A call through a breaker that all processes share; growth with the number of hooks in the store."""
    made = []
    for hooks in (1, 10, 100):
        with tempfile.TemporaryDirectory() as folder, open_store(os.path.join(folder, "hooks.db")) as store:
            state = HookState(store)
            for number in range(hooks):
                state.record_success(f"hook {number}")
            call = Breaker(StoredKeeper(state, "hook 0"))(work)
            taken = [nanoseconds(call, count) / 1e3 for _ in range(rounds)]
        median, low, high = spread(taken)
        name = f"durable call, {hooks} hooks in the store"
        made.append(Figure(name=name, unit="us/call", value=median, low=low, high=high))
    return made


def milliseconds(command: list[str], environment: Mapping[str, str], processor: list[float]) -> float:
    """From start to end; what it took of the processor goes into `processor`, which a loaded machine changes less."""
    start_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    end_s, after = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    processor.append((after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3)
    return (end_s - start_s) * 1e3


def hook_run(rounds: int) -> list[Figure]:
    """Cold starts; byte code is cached, as it is for whoever has installed the program."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"HOME": folder, "PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": os.path.join(folder, "cache")}
        hook = [sys.executable, "-m", "pytest_guardrails.cli", "hook", "run", "--", "true"]
        shown = os.path.join(folder, ".claude", "hook_state.json")
        aged = ["sh", "-c", f'touch -d @0 "{shown}" 2> /dev/null; exec "$@"', "sh", *hook]
        commands = {
            "bare true": ["true"],
            "bare Python": [sys.executable, "-c", "pass"],
            "hook run -- true": hook,
            "hook run -- true, the document for people written as well (and sh, touch)": aged,
        }
        processor: dict[str, list[float]] = {name: [] for name in commands}
        contestants = {
            name: partial(milliseconds, command, environment, processor[name]) for name, command in commands.items()
        }
        taken = interleave(contestants, rounds)
    bare = spread(taken["bare Python"])
    made = []
    for name, samples in taken.items():
        median, low, high = spread(samples)
        made.append(Figure(name=f"cold {name}", unit="ms", value=median, low=low, high=high))
    for name, samples in processor.items():
        median, low, high = spread(samples)
        made.append(Figure(name=f"cold {name}, processor time", unit="ms", value=median, low=low, high=high))
    above = spread(
        [hooked - alone for hooked, alone in zip(taken["hook run -- true"], taken["bare Python"], strict=True)]
    )
    made.append(
        Figure(
            name="cold hook run -- true, one durable record included, above bare Python",
            unit="ms",
            value=above[0],
            low=above[1],
            high=above[2],
            aim="at most 25 ms",
            holds=above[0] <= 25.0,
            ratios={"bare Python": above[0] / bare[0]},
        )
    )
    return made


def measure(quick: bool) -> list[Figure]:
    """See the module."""
    rounds, count = (3, 5_000) if quick else (9, 20_000)
    return in_memory(rounds, count) + stored(rounds, 50 if quick else 500) + hook_run(9 if quick else 31)
