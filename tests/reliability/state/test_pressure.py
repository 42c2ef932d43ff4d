"""What writers wait for each other is counted in the store, added up over processes, at no cost where nobody waits."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_guardrails.errors import NewerFormatError
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, StateStore, open_store
from pytest_guardrails.reliability.state.model import Draft
from pytest_guardrails.reliability.state.pressure import LAG, PRESSURE, PressureGauge, parse_pressure
from tests.reliability.processes import Child
from tests.reliability.state.test_combining import Together

KINDS: list[BackendKind] = ["sqlite", "json"]


def opened(path: Path, kind: BackendKind) -> StateStore:
    return open_store(path / "store", backend=kind, settings=BackendSettings(durability="process"))


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with opened(tmp_path, request.param) as found:
        yield found


def stored(store: StateStore, text: str) -> None:
    with store.backend.session("t") as session:
        session.stage([Draft(PRESSURE, 1, text)], "t")
        session.flush()


def test_a_writer_that_has_not_to_wait_writes_nothing_of_it(store: StateStore) -> None:
    store.put("a", 1)
    with store.transaction() as transaction:
        transaction.put("b", 2)
    assert store.backend.get(PRESSURE) is None
    assert store.pressure().deepest == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["put", "transaction"])
def test_a_wait_for_another_process_is_counted_with_the_commit_that_waited(
    tmp_path: Path, kind: BackendKind, way: str
) -> None:
    reader, writer = os.pipe()

    def write(say: Callable[[str], None]) -> None:
        with opened(tmp_path, kind) as mine:
            mine.put("a", 0)
            say("ready")
            os.read(reader, 1)
            if way == "put":
                mine.put("a", 2)
            else:
                with mine.transaction() as transaction:
                    transaction.put("a", 2)

    child = Child(write)
    assert child.line() == "ready"
    with opened(tmp_path, kind) as store, store.transaction() as transaction:
        transaction.put("a", 1)
        os.write(writer, b"x")
        while len(os.listdir(f"/proc/{child.pid}/task")) == 1:  # a thread of it will wait for the lock
            os.sched_yield()
    child.result()
    os.close(reader)
    os.close(writer)
    with opened(tmp_path, kind) as store:
        waits = store.pressure().lock_waits
        assert waits.counts[-1] == 1
        assert waits.total > 0
        assert store.keys() == ["a"]


def test_the_depth_of_the_queue_is_counted(store: StateStore) -> None:
    together = Together(store)
    for number in range(4):
        together.add(f"k{number}", lambda number=number: store.put(f"k{number}", number))  # type: ignore[misc]
    together.finish()
    store.put("next", 1)  # the counts of a commit go with the next one
    found = parse_pressure(store.backend.get(PRESSURE))
    assert (found.deepest, found.depths.counts[-1], found.depths.total) == (5, 1, 5.0)


def test_counts_of_several_processes_add_up_and_lag_a_few_waits_at_most(tmp_path: Path) -> None:
    def wait_often(say: Callable[[str], None]) -> float:
        gauge = PressureGauge()
        with opened(tmp_path, "sqlite") as store:
            for _ in range(LAG + 3):
                gauge.waited(0.25)
                if gauge.due:
                    with store.backend.session("t") as session:
                        draft = gauge.draft(session)
                        assert draft is not None
                        session.stage([draft], "t")
                        session.flush()
            return gauge.pending.lock_waits.total

    assert [Child(wait_often).result() for _ in range(2)] == [0.5, 0.5]
    with opened(tmp_path, "sqlite") as store:
        assert store.pressure().lock_waits.total == 2 * (LAG + 1) * 0.25


def test_a_forked_child_does_not_count_again_what_its_parent_will_write(store: StateStore) -> None:
    gauge = PressureGauge()
    gauge.waited(1.0)

    def look(say: Callable[[str], None]) -> tuple[object, float]:
        draft = gauge.draft(store.backend)
        gauge.waited(2.0)
        return draft, gauge.pending.lock_waits.total

    assert Child(look).result() == (None, 2.0)


def test_fields_of_a_newer_program_are_kept_and_its_format_is_refused_and_left_alone(store: StateStore) -> None:
    gauge = PressureGauge()
    stored(store, '{"format": 1, "mood": "sunny"}')
    gauge.waited(1.0)
    draft = gauge.draft(store.backend)
    assert draft is not None
    assert '"mood":"sunny"' in (draft.text or "")
    stored(store, '{"format": 99}')
    gauge.waited(1.0)
    assert gauge.draft(store.backend) is None
    store.put("a", 1)  # what others may not touch keeps nobody from working
    with pytest.raises(NewerFormatError, match="99"):
        store.pressure()


def test_threads_wait_for_each_other_without_losing_counts(store: StateStore) -> None:
    def write() -> None:
        for _ in range(20):
            with store.transaction() as transaction:
                transaction.put("n", transaction.get("n", 0) + 1)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("n") == 80
    assert store.pressure().lock_waits.counts[-1] <= 80
