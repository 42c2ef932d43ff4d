"""The fixtures; each imports its part of the harness when it is first used. Read `crash.py` next."""

# ruff: noqa: PLC0415 - see above

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_guardrails.plugin.crash import Crash
    from pytest_guardrails.plugin.race import Race

__all__ = ["crash", "race"]


@pytest.fixture
def crash(request: pytest.FixtureRequest) -> Iterator["Crash"]:
    """Kill a workload at every system call, recover from what is left, and fail the test if that is wrong.

    crash(workload=lambda disk, ack: ..., recover=lambda disk: ...)
    """
    from pytest_guardrails.plugin.crash import Crash

    crashing = Crash(request)
    yield crashing
    crashing.check_replayed()


@pytest.fixture
def race(request: pytest.FixtureRequest) -> Iterator["Race"]:
    """Let two or more workers run side by side in every order of their system calls that can be tried.

    race(save, save, check=lambda disk, results: ...)
    """
    from pytest_guardrails.plugin.race import Race

    racing = Race(request)
    yield racing
    racing.check_replayed()
