"""What is no token, no lease record, no duration is refused, never taken for "nobody"."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, CorruptionError
from pytest_guardrails.reliability.durability import Fence, FileLock, Lease, lock_all


@pytest.mark.parametrize("token", [math.nan, math.inf, "7", True, 6.5, 0, -1])
def test_what_is_no_token_passes_no_fence(tmp_path: Path, token: Any) -> None:
    fence = Fence(tmp_path / "fence")
    with fence.guard(5):
        pass
    with pytest.raises(ConfigurationError, match="fencing token"), fence.guard(token):
        pytest.fail("it was let in")


@pytest.mark.parametrize(
    "change",
    [
        {"expires_s": "soon"},
        {"expires_s": None},
        {"expires_s": 10**400},
        {"holder": "process 7"},
        {"holder": {"pid": "7"}},
        {"owner": 5},
        {"token": -4},
    ],
    ids=str,
)
def test_a_held_lease_whose_record_makes_no_sense_is_not_granted_again(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "lease"
    Lease(path, ttl_s=60).acquire()
    content = json.dumps({**json.loads(path.read_text()), **change})
    path.write_text(content)
    with pytest.raises(CorruptionError, match="look at it"):
        Lease(path, ttl_s=60).acquire()
    assert path.read_text() == content


@pytest.mark.parametrize("deadline_s", [math.nan, -1.0, math.inf])
def test_locks_are_not_waited_for_by_what_is_no_duration(tmp_path: Path, deadline_s: float) -> None:
    for locks in ([], [FileLock(tmp_path / "lock")]):
        with pytest.raises(ConfigurationError, match="deadline_s"), lock_all(locks, deadline_s=deadline_s):
            pytest.fail("it was let in")
