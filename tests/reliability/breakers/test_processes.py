"""One breaker for several processes: nothing is lost, one is the probe, and the dead hold nothing."""

import asyncio
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from pytest_guardrails.reliability.breakers import Breaker, BreakerSettings, CircuitOpenError, StoredKeeper
from pytest_guardrails.reliability.breakers.record import HookRecord
from pytest_guardrails.reliability.state import BackendKind
from tests.reliability.breakers.stores import BACKENDS, hook_state
from tests.reliability.processes import Child

COMMAND = "check --all"
QUICK = BreakerSettings(cooldown_s=0.0)
BOTH = pytest.mark.parametrize("backend", BACKENDS)


@BOTH
@pytest.mark.slow
@pytest.mark.parametrize("hooks", [1, 3])
def test_no_failure_of_four_processes_is_lost(tmp_path: Path, backend: BackendKind, hooks: int) -> None:
    settings = BreakerSettings(failure_threshold=100)

    def work(say: Callable[[str], None]) -> None:
        state = hook_state(tmp_path, backend, settings=settings)
        for number in range(150):
            state.record_failure(f"{COMMAND} {number % hooks}", "boom")
        state.store.close()

    for child in [Child(work) for _ in range(4)]:
        child.result()
    state = hook_state(tmp_path, backend)
    assert sum(record.failure_count for record in state.get_all_hooks()) == 600
    assert state.get_global_stats()[:3] == (600, 600, hooks)


def ask_with_twenty_threads(folder: Path, backend: BackendKind, say: Callable[[str], None]) -> int:
    state = hook_state(folder, backend, settings=QUICK)
    start = threading.Barrier(20)
    admitted = []

    def ask() -> None:
        start.wait(30.0)
        if state.admit(COMMAND).allowed:
            admitted.append(1)

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)
    return len(admitted)


@BOTH
@pytest.mark.slow
def test_of_twenty_threads_in_four_processes_exactly_one_is_the_probe(tmp_path: Path, backend: BackendKind) -> None:
    state = hook_state(tmp_path, backend, settings=QUICK)
    for _ in range(3):
        state.record_failure(COMMAND, "boom")
    state.store.close()
    done = threading.Event()

    def work(say: Callable[[str], None]) -> None:
        admitted = ask_with_twenty_threads(tmp_path, backend, say)
        say(str(admitted))
        done.wait(60.0)  # alive, so that a permit is not given on because its holder died

    children = [Child(work) for _ in range(4)]
    assert sum(int(child.line(60.0)) for child in children) == 1
    for child in children:
        child.kill()


@BOTH
def test_a_prober_that_was_killed_gives_its_permit_back(tmp_path: Path, backend: BackendKind) -> None:
    state = hook_state(tmp_path, backend, settings=QUICK)
    for _ in range(3):
        state.record_failure(COMMAND, "boom")
    state.store.close()

    def probe(say: Callable[[str], None]) -> None:
        say(str(hook_state(tmp_path, backend, settings=QUICK).admit(COMMAND).allowed))
        threading.Event().wait(60.0)

    child = Child(probe)
    assert child.line() == "True"
    assert state.admit(COMMAND).reason == "probing"
    child.kill()
    assert state.admit(COMMAND).allowed
    state.store.close()


def test_a_stored_breaker_is_shared_by_those_who_name_it(tmp_path: Path) -> None:
    one, other = (Breaker(StoredKeeper(hook_state(tmp_path, "json"), "service")) for _ in range(2))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            one.call(lambda: 1 / 0)
    with pytest.raises(CircuitOpenError):
        other.call(int)


def test_no_lock_is_held_while_a_stored_breaker_calls(tmp_path: Path) -> None:
    breaker = Breaker(StoredKeeper(hook_state(tmp_path, "json"), "service"))
    inside = threading.Barrier(8)
    threads = [threading.Thread(target=breaker.call, args=(inside.wait, 30.0)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert not inside.broken


@pytest.mark.asyncio
async def test_a_cancelled_probe_of_a_stored_breaker_frees_its_permit(tmp_path: Path) -> None:
    state = hook_state(tmp_path, "json", settings=QUICK)
    for _ in range(3):
        state.record_failure("service", "boom")
    breaker = Breaker(StoredKeeper(state, "service"))
    inside = asyncio.Event()

    async def hang() -> None:
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(breaker.call_async(hang))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert state.get_hook_state("service").circuit.permits == ()
    assert state.get_hook_state("service").state == "half_open"


@BOTH
@pytest.mark.slow
def test_a_thousand_hooks_under_four_writers_that_are_killed(tmp_path: Path, backend: BackendKind) -> None:
    """Each writer counts what it was told to be recorded; after SIGKILL at most one more than that is there."""
    settings = BreakerSettings(failure_threshold=100)
    state = hook_state(tmp_path, backend, settings=settings)
    with state.store.transaction() as transaction:
        for number in range(1000):
            state.put_record(transaction, HookRecord(f"hook {number}"))
    state.store.close()

    def write(first: int) -> Callable[[Callable[[str], None]], None]:
        def work(say: Callable[[str], None]) -> None:
            mine = hook_state(tmp_path, backend, settings=settings)
            for number in count(first, 4):
                mine.record_failure(f"hook {number % 1000}", "boom")
                say("recorded")

        return work

    children = [Child(write(first)) for first in range(4)]
    for child in children:
        for _ in range(5):
            child.line(60.0)
    for child in children:
        child.kill()
    told = sum(5 + child.rest().count(b"recorded") for child in children)
    found = hook_state(tmp_path, backend)
    recorded = sum(record.failure_count for record in found.get_all_hooks())
    assert told <= recorded <= told + len(children)
    assert (len(found.get_all_hooks()), found.get_global_stats().total_failures) == (1000, recorded)
    assert found.store.incidents() == []
