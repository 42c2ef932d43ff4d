"""Every call of a commit is refused in turn: the commit raises and the old state stands, or it holds; nothing else.

The calls are refused by the harness's supervisor at the system-call boundary, so what runs is what ships. After the
refusal the process ends without another word, and a fresh one looks, because what was refused must not turn up later.
"""

import json
import os
from collections.abc import Callable
from errno import EIO, ENOSPC
from pathlib import Path

import pytest

from chaos.child.ack import ack
from chaos.faults.disk import FailAt, FailPolicy
from chaos.syscalls.calls import PROCEED, Call, Decision
from chaos.trace.recorder import RecordOptions, record
from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.durability import DurabilityUnknownError
from pytest_guardrails.reliability.state import BackendKind, open_store

OPEN_OUTCOMES = (("middle", "middle"), ("middle", "new"), ("new", "new"))
QUICK = RecordOptions(sources=False, deadline_s=20)


class BetweenAcks:
    """Lets a policy see only what comes after the first acknowledgement and before the second."""

    def __init__(self, policy: FailPolicy) -> None:
        self.policy = policy
        self._acks = 0

    def decide(self, call: Call) -> Decision:
        if call.name == "ack":
            self._acks += 1
        return self.policy.decide(call) if self._acks == 1 else PROCEED


def commit(path: Path, kind: BackendKind) -> Callable[[], None]:
    def run() -> None:
        store = open_store(path, backend=kind)
        store.put("key", "middle")
        ack("the disk goes")
        try:
            store.put("key", "new")
            said = "holds"
        except DurabilityUnknownError:
            said = "unknown"
        except StorageError:
            said = "refused"
        ack(said)
        ack(store.get("key"))
        os._exit(0)  # no close: what a kill would leave

    return run


def trial(folder: Path, kind: BackendKind, at: FailAt) -> tuple[bool, str, str, str]:
    """Whether a call was refused; what the commit said; what the process then saw; what a fresh one sees."""
    path = folder / "state"
    with open_store(path, backend=kind) as store:
        store.put("key", "old")
    policy = FailPolicy(at)
    trace = record(commit(path, kind), folder, options=QUICK, policy=BetweenAcks(policy))
    assert trace.exit_code == 0, trace
    said, seen = (json.loads(ack_.value) for ack_ in trace.acks[1:])
    with open_store(path, backend=kind) as store:
        assert store.incidents() == []
        after = store.get("key")
        store.put("key", "again")
        assert store.get("key") == "again"
    return bool(policy.refused), said, seen, after


@pytest.mark.slow
@pytest.mark.parametrize("for_good", [False, True])
@pytest.mark.parametrize("errno", [ENOSPC, EIO])
@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_commit_holds_or_raises_whatever_call_is_refused(
    tmp_path: Path, kind: BackendKind, errno: int, for_good: bool
) -> None:
    outcomes = set()
    for nth in range(1, 100):
        folder = tmp_path / str(nth)
        folder.mkdir()
        refused, said, seen, after = trial(folder, kind, FailAt(nth=nth, errno=errno, for_good=for_good))
        assert (said, seen, after) in {
            ("holds", "new", "new"),
            ("refused", "middle", "middle"),
            # Only where the disk refuses everything after, so that what was written can't be taken back either.
            *([("unknown", *pair) for pair in OPEN_OUTCOMES] if for_good else []),
        }, f"call {nth}"
        outcomes.add(said)
        if not refused:
            assert said == "holds"
            break
    assert outcomes > {"holds"}
