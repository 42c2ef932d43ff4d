"""The fixtures; each imports its part of the harness when it is first used. Read `crash.py` next."""

# ruff: noqa: PLC0415 - see above

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_guardrails.plugin.crash import Crash

__all__ = ["crash"]


@pytest.fixture
def crash(request: pytest.FixtureRequest) -> Iterator["Crash"]:
    """Kill a workload at every system call, recover from what is left, and fail the test if that is wrong.

    crash(workload=lambda disk, ack: ..., recover=lambda disk: ...)
    """
    from pytest_guardrails.plugin.crash import Crash

    crashing = Crash(request)
    yield crashing
    crashing.check_replayed()
