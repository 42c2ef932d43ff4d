"""A commit that was refused does not turn up after a power cut either, and one that holds is there.

Every sync of a commit is refused in turn, alone or with all that come after it; then the power fails with what the
program was told still in its ears, and the store is opened on every disk that there may be.
"""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from errno import EIO
from pathlib import Path

import pytest

from chaos.child.ack import ack
from chaos.disk import MODELS, Slot, StateSpace
from chaos.faults.disk import FailAt, FailPolicy
from chaos.trace.model import Trace
from chaos.trace.recorder import record
from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.state import BackendKind, open_store
from tests.reliability.state.test_refused_disk import QUICK, BetweenAcks, commit

SYNCS = frozenset({"fsync", "fdatasync"})
MAY_BE_FOUND = {"refused": {"middle"}, "holds": {"new"}, "unknown": {"middle", "new"}}


def after_power_cut(
    folder: Path, slot: Path, kind: BackendKind, policy: FailPolicy, model: str
) -> tuple[str, set[str]]:
    """What the commit said, and what a fresh process finds on the disks that there may be."""
    with open_store(folder / "state", backend=kind) as store:
        store.put("key", "old")
    trace = record(commit(folder / "state", kind), folder, options=QUICK, policy=BetweenAcks(policy))
    return json.loads(trace.acks[1].value), found_after(trace, slot, kind, model)


def found_after(trace: Trace, slot: Path, kind: BackendKind, model: str) -> set[str]:
    """What a fresh process finds when the power fails after all that was recorded."""
    space, found = StateSpace(trace, MODELS[model], bound=6), set()
    for state in space.states_at(len(trace.ops)):
        if state.acked == len(trace.acks):
            Slot(str(slot)).lay(space.tree(state.recipe))
            with open_store(slot / "state", backend=kind) as store:
                found.add(store.get("key"))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("model", ["ext4", "posix"])
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_what_was_refused_is_not_found_after_a_power_cut(
    tmp_path: Path, memory_path: Path, kind: BackendKind, model: str, for_good: bool
) -> None:
    outcomes = set()
    for nth in range(1, 20):
        folder = tmp_path / str(nth)
        folder.mkdir()
        policy = FailPolicy(FailAt(nth=nth, errno=EIO, for_good=for_good, calls=SYNCS))
        said, found = after_power_cut(folder, memory_path, kind, policy, model)
        assert found, "there is at least the disk on which all is there"
        assert found <= MAY_BE_FOUND[said], f"sync {nth}: the commit said {said}"
        outcomes.add(said)
        if not policy.refused:
            break
    assert "holds" in outcomes
    assert len(outcomes) > 1


def made_at_last(path: Path, kind: BackendKind) -> Callable[[], None]:
    """Makes a store, trying again when the disk refuses, and puts a key."""

    def run() -> None:
        for _ in range(3):
            with suppress(StorageError):
                open_store(path, backend=kind).put("key", "new")
                ack("holds")
                os._exit(0)
        ack("refused")
        os._exit(0)

    return run


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_store_that_was_made_on_a_failing_disk_keeps_what_it_said_to_hold(
    tmp_path: Path, memory_path: Path, kind: BackendKind
) -> None:
    for nth in range(1, 30):
        folder = tmp_path / str(nth)
        folder.mkdir()
        policy = FailPolicy(FailAt(nth=nth, errno=EIO, calls=SYNCS))
        trace = record(made_at_last(folder / "state", kind), folder, options=QUICK, policy=policy)
        assert [json.loads(one.value) for one in trace.acks] == ["holds"]
        assert found_after(trace, memory_path, kind, "ext4") == {"new"}, f"sync {nth}"
        if not policy.refused:
            break
    assert nth > 2
