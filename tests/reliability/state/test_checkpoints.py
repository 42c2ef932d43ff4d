"""Checkpoints: what is kept, in which order, and what a damaged or newer record does."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, CorruptionError, NewerFormatError
from pytest_guardrails.reliability.durability import FencedError, JsonRefusedError
from pytest_guardrails.reliability.state import (
    BackendKind,
    BackendSettings,
    Checkpoint,
    Checkpoints,
    IterationError,
    StateStore,
    Transaction,
    open_store,
)
from tests.reliability.clocks import MovedClock

FULL = Checkpoint(
    run_id="run 7/../x",
    iteration_index=3,
    files_written=("a.py", "b.py"),
    cost_accumulated=1.25,
    last_status="retry",
    last_feedback="again " * 300,
    last_tests={"passed": 3},
    plan=["one", {"two": 2}],
    phases=["p"],
    task="mend it",
    current_stage_idx=2,
    current_stage_id="validate",
    consecutive_retry_count=1,
    last_retry_feedback_hash="ab" * 32,
    payload={"guard": [1, None]},
)


@pytest.fixture(params=["sqlite", "json"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state", backend=request.param) as opened:
        yield opened


def at(iteration: int, **fields: Any) -> Checkpoint:
    return Checkpoint(run_id="run", iteration_index=iteration, **fields)


@pytest.mark.parametrize("compress", [False, True])
def test_every_field_comes_back(store: StateStore, compress: bool) -> None:
    checkpoints = Checkpoints(store, compress=compress, clock=MovedClock(wall_s=5.0))
    checkpoints.save(FULL)
    store.clear_cache()
    found = checkpoints.load(FULL.run_id)
    assert found is not None
    assert found.timestamp == 5.0
    assert {name: getattr(found, name) for name in FULL.__slots__ if name != "timestamp"} == {
        name: getattr(FULL, name) for name in FULL.__slots__ if name != "timestamp"
    }


def test_compression_makes_large_records_smaller(store: StateStore) -> None:
    Checkpoints(store).save(FULL)
    plain = Checkpoints(store).list(FULL.run_id)[-1].size_bytes
    Checkpoints(store, compress=True).save(FULL)
    assert Checkpoints(store).list(FULL.run_id)[-1].size_bytes < plain / 2


def test_a_run_without_checkpoints_has_none(store: StateStore) -> None:
    checkpoints = Checkpoints(store)
    assert (checkpoints.load("run"), checkpoints.exists("run"), checkpoints.list("run")) == (None, False, ())
    assert checkpoints.clear("run") == 0


def test_the_newest_is_the_last_saved_whatever_the_clock_says(store: StateStore) -> None:
    clock = MovedClock()
    checkpoints = Checkpoints(store, clock=clock)
    for number in range(3):
        checkpoints.save(at(number))
        clock.wall_s -= 3600
    newest = checkpoints.load("run")
    assert newest is not None
    assert newest.iteration_index == 2
    assert [entry.sequence for entry in checkpoints.list("run")] == [1, 2, 3]


def test_the_newest_k_are_kept(store: StateStore) -> None:
    checkpoints = Checkpoints(store, keep=3)
    for number in range(7):
        checkpoints.save(at(number, payload=number))
    assert [(entry.sequence, entry.iteration_index) for entry in checkpoints.list("run")] == [(5, 4), (6, 5), (7, 6)]
    old = checkpoints.load("run", 5)
    assert old is not None
    assert old.payload == 4
    assert checkpoints.load("run", 4) is None


def test_going_back_is_refused_unless_it_is_said(store: StateStore) -> None:
    checkpoints = Checkpoints(store)
    checkpoints.save(at(5))
    checkpoints.save(at(5))
    with pytest.raises(IterationError, match="was at iteration 5"):
        checkpoints.save(at(4))
    checkpoints.save(at(4), allow_rewind=True)
    newest = checkpoints.load("run")
    assert newest is not None
    assert newest.iteration_index == 4


def test_guard_state_and_checkpoint_commit_together(store: StateStore) -> None:
    checkpoints = Checkpoints(store)
    checkpoints.save(at(1), together=lambda transaction: transaction.put("guard", 1))
    with store.transaction() as transaction:
        transaction.fence("run", 2)

    def late(transaction: Transaction) -> None:
        transaction.put("guard", 2)
        transaction.fence("run", 1)

    with pytest.raises(FencedError):
        checkpoints.save(at(2), together=late)
    assert store.get("guard") == 1
    newest = checkpoints.load("run")
    assert newest is not None
    assert newest.iteration_index == 1


def test_clearing_forgets_one_run_only(store: StateStore) -> None:
    checkpoints = Checkpoints(store)
    checkpoints.save(at(9))
    checkpoints.save(FULL)
    assert checkpoints.runs() == ("run", FULL.run_id)
    assert checkpoints.clear("run") == 1
    assert (checkpoints.exists("run"), checkpoints.list("run"), checkpoints.runs()) == (False, (), (FULL.run_id,))
    checkpoints.save(at(0))
    assert [entry.sequence for entry in checkpoints.list("run")] == [2]


def test_what_is_not_finite_is_refused_with_its_path(store: StateStore) -> None:
    with pytest.raises(JsonRefusedError, match=r"\$\.payload\.cost"):
        Checkpoints(store).save(at(0, payload={"cost": math.nan}))
    assert not Checkpoints(store).exists("run")


def test_unknown_fields_survive(store: StateStore) -> None:
    checkpoints = Checkpoints(store)
    checkpoints.save(at(0, unknown={"future": {"x": 1}}))
    found = checkpoints.load("run")
    assert found is not None
    assert found.unknown == {"future": {"x": 1}}


def test_a_changed_record_is_noticed(store: StateStore) -> None:
    Checkpoints(store).save(at(0, task="mend"))
    store.update("checkpoint/run", lambda record: {**record, "body": record["body"].replace("mend", "bend")})
    with pytest.raises(CorruptionError, match="not what was saved"):
        Checkpoints(store).load("run")


def test_a_newer_format_is_refused(store: StateStore) -> None:
    Checkpoints(store).save(at(0))
    store.update("checkpoint/run", lambda record: {**record, "format": 2})
    with pytest.raises(NewerFormatError, match="format 2"):
        Checkpoints(store).load("run")


@pytest.mark.parametrize("wrong", [{"run_id": ""}, {"iteration_index": -1}, {"iteration_index": True}])
def test_a_checkpoint_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Checkpoint(**{"run_id": "run", "iteration_index": 0, **wrong})


WRONG: list[tuple[str, Any]] = [
    ("run_id", ""),
    ("run_id", 7),
    ("iteration_index", True),
    ("iteration_index", -1),
    ("files_written", "abc.txt"),
    ("files_written", b"abc"),
    ("files_written", {"a": 1}),
    ("files_written", ["a", 1]),
    ("cost_accumulated", math.nan),
    ("cost_accumulated", math.inf),
    ("cost_accumulated", -0.01),
    ("cost_accumulated", True),
    ("cost_accumulated", "1.5"),
    ("last_status", None),
    ("last_feedback", ["done"]),
    ("task", 1),
    ("current_stage_idx", -1),
    ("current_stage_idx", 1.5),
    ("current_stage_id", 3),
    ("timestamp", math.nan),
    ("checkpoint_version", "1"),
    ("consecutive_retry_count", True),
    ("consecutive_retry_count", -2),
    ("last_retry_feedback_hash", b"00"),
    ("unknown", ["a"]),
    ("unknown", {1: "a"}),
    ("unknown", {"task": "two of them"}),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_field_of_a_checkpoint_that_is_not_what_it_must_be_is_named(name: str, value: Any) -> None:
    fields: dict[str, Any] = {"run_id": "run", "iteration_index": 1, name: value}
    with pytest.raises(ConfigurationError, match=name):
        Checkpoint(**fields)


def test_a_list_of_files_becomes_a_tuple() -> None:
    files: Any = ["a", "b"]
    assert Checkpoint(run_id="run", iteration_index=0, files_written=files).files_written == ("a", "b")


@pytest.mark.parametrize("kind", ["sqlite", "json"])
@pytest.mark.parametrize("keep", [3, 10])
def test_a_clean_up_of_the_store_leaves_the_checkpoints_alone(tmp_path: Path, kind: BackendKind, keep: int) -> None:
    clock = MovedClock()
    settings = BackendSettings(clock=clock)
    with open_store(tmp_path / "store", backend=kind, settings=settings) as store:
        checkpoints = Checkpoints(store, keep=keep)
        for number in range(12):
            checkpoints.save(Checkpoint(run_id="run", iteration_index=number))
            store.put("other", number)
        clock.wall_s += 1e6
    with open_store(tmp_path / "store", backend=kind, settings=settings) as store:  # of a program that knows of no run
        assert store.prune() == 9
        assert store.prune(older_than_s=10.0) == 0
        assert [entry.value for entry in store.history("other")] == [11]
        kept = Checkpoints(store).list("run")
        assert [entry.iteration_index for entry in kept] == list(range(12 - keep, 12))
        checkpoints = Checkpoints(store, keep=keep)
        assert checkpoints.clear("run") == keep
        checkpoints.save(Checkpoint(run_id="run", iteration_index=0))
        checkpoints.save(Checkpoint(run_id="run", iteration_index=1))
        store.prune(even_promised=True)
        assert [entry.iteration_index for entry in checkpoints.list("run")] == [1]
