"""Which engine records, and what is said about the choice."""

import json
import os
import sys
from pathlib import Path

import pytest

from chaos.errors import ChaosError, NotMeasured
from chaos.faults.process import KillAt, KillPolicy
from chaos.scenario import model
from chaos.syscalls.probe import probe
from chaos.trace import engines, recorder
from chaos.trace.engines import ENGINES, Engine, engine_reports, record_by
from chaos.trace.model import Trace
from chaos.trace.options import RecordOptions

supervised = pytest.mark.skipif(not probe().works, reason=probe().why)
TOUCH = [sys.executable, "-c", "open('f', 'w').close()"]
BY_C = [sys.executable, "-c", "import sqlite3; sqlite3.connect('f').execute('create table t (a)').connection.commit()"]


def recorded(engine: Engine, folder: Path, command: list[str] = TOUCH) -> Trace:
    return record_by(engine, command, folder, options=RecordOptions(cwd=os.fspath(folder)))


def below_another_supervisor(engine: Engine, folder: Path) -> dict[str, object]:
    """What becomes of a recording where the kernel refuses: it allows one supervisor a process."""
    told, disk = folder / "told", folder / "disk"
    disk.mkdir()

    def work() -> None:
        engines._supervisor.cache_clear()  # a fork of this process, which may have tried before
        try:
            trace = recorded(engine, disk)
            told.write_text(json.dumps({"engine": trace.engine, "notes": trace.notes, "ops": len(trace.ops)}))
        except ChaosError as error:
            told.write_text(json.dumps({"error": error.message}))

    recorder.record(work, disk)
    found: dict[str, object] = json.loads(told.read_text())
    return found


def test_scenarios_know_the_same_engines() -> None:
    assert model.ENGINES == ENGINES


@supervised
def test_auto_is_the_supervisor_where_it_works(tmp_path: Path) -> None:
    trace = recorded("auto", tmp_path)
    assert (trace.engine, trace.notes) == ("syscalls", ())


def test_the_portable_engine_is_used_when_it_is_named(tmp_path: Path) -> None:
    trace = recorded("portable", tmp_path)
    assert (trace.engine, trace.notes, [op.path for op in trace.ops]) == ("portable", (), ["f"])


@supervised
def test_auto_falls_back_to_the_portable_engine_and_says_so(tmp_path: Path) -> None:
    found = below_another_supervisor("auto", tmp_path)
    assert (found["engine"], found["ops"]) == ("portable", 1)
    assert "engine syscalls does not work: the syscall engine can't be used here" in str(found["notes"])


def test_the_portable_engine_refuses_faults(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match="injects no faults"):
        record_by("portable", TOUCH, tmp_path, policy=KillPolicy(KillAt(nth=1)))
    assert not list(tmp_path.iterdir())


@supervised
def test_an_engine_that_was_named_is_never_replaced(tmp_path: Path) -> None:
    found = below_another_supervisor("syscalls", tmp_path)
    assert "another supervisor listens" in str(found["error"])


def test_what_the_portable_engine_can_not_follow_is_unmeasured_and_the_way_out_is_told(tmp_path: Path) -> None:
    trace = recorded("portable", tmp_path, BY_C)
    assert [one.path for one in trace.unmeasured] == ["f"]
    assert any("need the engine syscalls" in note for note in trace.notes)


def test_both_engines_are_tried_for_the_doctor() -> None:
    reports = dict(engine_reports())
    assert list(reports) == ["syscalls", "portable"]
    assert reports["portable"].works
    assert any("Python code only" in detail for detail in reports["portable"].details)
