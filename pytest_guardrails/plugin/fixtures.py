"""The fixtures that lead into the harness; its parts are imported when one is first used. Read `crash_call.py` next."""

# ruff: noqa: PLC0415 - see above

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from pytest_guardrails.plugin.stash import CHECKS

if TYPE_CHECKING:
    from pytest_guardrails.plugin.crash_call import Crash
    from pytest_guardrails.plugin.door import Door
    from pytest_guardrails.plugin.faults_call import Faults
    from pytest_guardrails.plugin.fleet_call import Fleet
    from pytest_guardrails.plugin.race_call import Race

__all__ = ["crash", "door_of_the_test", "faults", "fleet", "race"]


@pytest.fixture(name="_chaos_door")
def door_of_the_test(request: pytest.FixtureRequest) -> Iterator["Door"]:
    """What the fixtures below go through."""
    from pytest_guardrails.plugin.door import Door

    door = Door(request)
    request.node.stash.setdefault(CHECKS, []).append(door.check_used)
    yield door
    door.check_replayed()


@pytest.fixture
def crash(_chaos_door: "Door") -> "Crash":
    """Kill a workload at every system call, recover from what is left, and fail the test if that is wrong.

    crash(workload=lambda disk, ack: ..., recover=lambda disk: ...)
    """
    from pytest_guardrails.plugin.crash_call import Crash

    _chaos_door.made.add("crash")
    return Crash(_chaos_door)


@pytest.fixture
def fleet(_chaos_door: "Door") -> "Fleet":
    """Run several processes side by side, hurt them, and fail the test if what they acknowledged is not there.

    fleet(lambda disk, witness: ..., recover=lambda disk: ..., faults=[{"kind": "kill", "every": "20ms"}])
    """
    from pytest_guardrails.plugin.fleet_call import Fleet

    _chaos_door.made.add("fleet")
    return Fleet(_chaos_door)


@pytest.fixture
def faults(_chaos_door: "Door") -> "Faults":
    """Run a workload with a fault in each run, and fail the test if what it leaves is wrong.

    faults(workload=..., recover=..., fault={"call": "write", "errno": "ENOSPC"}), or, for a single call:
    with faults.child(tmp_path, call="fsync", nth=1, errno="EIO") as child: child(save, tmp_path / "state.json")
    """
    from pytest_guardrails.plugin.faults_call import Faults

    _chaos_door.made.add("faults")
    return Faults(_chaos_door)


@pytest.fixture
def race(_chaos_door: "Door") -> "Race":
    """Let two or more workers run side by side in every order of their system calls that can be tried.

    race(save, save, check=lambda disk, results: ...)
    """
    from pytest_guardrails.plugin.race_call import Race

    _chaos_door.made.add("race")
    return Race(_chaos_door)
