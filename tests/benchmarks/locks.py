"""Locks: acquire and release a second with nobody else there; waits and shares of four processes that hold for 1 ms."""

import fcntl
import importlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_guardrails.reliability.durability import FileLock
from tests.benchmarks.figures import Figure, interleave, spread
from tests.reliability.processes import Child

__all__ = ["measure"]

HOLD_S = 0.001
OURS, PEER = "FileLock", "portalocker"
Make = Callable[[str], Callable[[], Any]]


def ours(path: str) -> Callable[[], Any]:
    lock = FileLock(path)
    return lambda: lock


def portalocker(path: str) -> Callable[[], Any]:
    module = importlib.import_module("portalocker")
    return lambda: module.Lock(path, timeout=60)


def filelock(path: str) -> Callable[[], Any]:
    lock = importlib.import_module("filelock").FileLock(path)
    return lambda: lock


class RawFlock:
    """The bare system call, with no deadline and no turnstile."""

    def __init__(self, path: str) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def __enter__(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)


def raw(path: str) -> Callable[[], Any]:
    lock = RawFlock(path)
    return lambda: lock


CONTESTANTS: dict[str, Make] = {OURS: ours, PEER: portalocker, "filelock": filelock, "raw flock": raw}


def measure(quick: bool) -> list[Figure]:
    """Rates, waits and shares."""
    return [*_alone(quick), *_contended(quick)]


def _available() -> dict[str, Make]:
    found = {}
    for name, make in CONTESTANTS.items():
        try:
            with tempfile.TemporaryDirectory() as scratch:
                make(os.path.join(scratch, "probe"))
        except ImportError:
            print(f"   not installed: {name} (extra `bench`)")
            continue
        found[name] = make
    return found


def _alone(quick: bool) -> list[Figure]:
    count = 500 if quick else 3000
    with tempfile.TemporaryDirectory() as scratch:

        def sample(make: Callable[[], Any]) -> Callable[[], float]:
            def run() -> float:
                began = time.perf_counter()
                for _ in range(count):
                    with make():
                        pass
                return count / (time.perf_counter() - began)

            return run

        made = {name: sample(make(str(Path(scratch, name)))) for name, make in _available().items()}
        samples = interleave(made, 3 if quick else 9)
    base = spread(samples[PEER])[0]
    figures = []
    for name, found in samples.items():
        median, low, high = spread(found)
        is_ours = name == OURS
        figures.append(
            Figure(
                name=f"acquire and release: {name}",
                unit="pairs/s",
                value=median,
                low=low,
                high=high,
                aim="at least portalocker's" if is_ours else "",
                holds=median >= base if is_ours else None,
                ratios={PEER: median / base} if name != PEER else {},
            )
        )
    return figures


def _contended(quick: bool) -> list[Figure]:
    duration_s = 1.0 if quick else 3.0
    figures = []
    for name, make in _available().items():
        with tempfile.TemporaryDirectory() as scratch:

            def work(say: object, make: Make = make, folder: str = scratch) -> list[float]:
                return _hold_over_and_over(make(os.path.join(folder, "lock")), duration_s)

            results = [child.result() for child in [Child(work) for _ in range(4)]]
        counts = [len(waits) for waits in results]
        waits = sorted(wait for found in results for wait in found)
        p99, longest = waits[int(len(waits) * 0.99)] * 1e3, waits[-1] * 1e3
        least, is_ours = min(counts) * 4 / sum(counts), name == OURS
        rows = [
            ("p99 wait", "ms", p99, "at most 10 ms", p99 <= 10),
            ("longest wait", "ms", longest, "", True),
            ("least share", "of an equal one", least, "at least 0.8", least >= 0.8),
        ]
        figures += [
            Figure(
                name=f"4 processes, 1 ms holds: {what}: {name}",
                unit=unit,
                value=value,
                aim=aim if is_ours else "",
                holds=holds if is_ours and aim else None,
            )
            for what, unit, value, aim, holds in rows
        ]
    return figures


def _hold_over_and_over(make: Callable[[], Any], duration_s: float) -> list[float]:
    waits = []
    end = time.monotonic() + duration_s
    while (start := time.monotonic()) < end:
        with make():
            waits.append(time.monotonic() - start)
            free = time.monotonic() + HOLD_S
            while time.monotonic() < free:
                pass
    return waits
