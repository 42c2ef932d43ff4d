"""The process that recoveries are forked from stays lean, and what makes it lean stays its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from chaos.child.values import decode
from chaos.explore.settings import Isolation
from tests.explore import traces
from tests.explore.exploring import explore, roles, start

ROOT = Path(__file__).parents[2]
# Each of these was measured to make a fork dearer, by what it maps or by what it loads.
DEAR = {"contextlib", "ctypes", "dataclasses", "math", "resource", "select", "socket", "struct", "subprocess", "typing"}
SLOW = {"argparse", "dataclasses", "inspect", "subprocess", "typing"}  # of a start, half of what it takes


def test_a_forker_loads_no_module_that_makes_forks_dear() -> None:
    program = f"import sys; sys.path.append({str(ROOT)!r}); import chaos.child.forker; print(*sys.modules)"
    plain = "import sys, json, pathlib; print(*sys.modules)"  # what Python itself loads is not for us to choose
    assert DEAR & (_printed(program) - _printed(plain)) == set()


@pytest.mark.parametrize("program", ["racers", "run", "solo", "tender"])
def test_what_is_started_for_each_run_loads_no_module_that_takes_long(program: str) -> None:
    loaded = _printed(f"import sys; sys.path.append({str(ROOT)!r}); import chaos.child.{program}; print(*sys.modules)")
    assert SLOW & loaded == set()


def _printed(program: str) -> set[str]:
    command = [sys.executable, "-I", "-S", "-c", program]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize("own", [None, "1"])
def test_the_target_sees_the_environment_as_it_was(own: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if own is None:
        monkeypatch.delenv("LD_BIND_NOW", raising=False)
    else:
        monkeypatch.setenv("LD_BIND_NOW", own)
    assert decode(start("tell_the_environment").value) == own


@pytest.mark.parametrize("isolation", [Isolation.FORK, Isolation.BATCH])
def test_the_target_s_garbage_is_collected(isolation: Isolation) -> None:
    for observation in explore(roles("tell_of_the_collector"), traces.replace(1), isolation=isolation):
        assert decode(observation.outcome.value) is True
