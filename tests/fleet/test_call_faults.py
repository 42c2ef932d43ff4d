"""Faults at system calls of a fleet: exact kills, slow and full disks, over when the faults are, and told in order."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chaos.child.values import decode
from chaos.child.witness import Witness
from chaos.errors import UsageError
from chaos.faults.fault import parse_fault
from chaos.fleet import FleetSettings, Plan, draw, parse_plan
from chaos.fleet.shrinking import shrunk
from chaos.fleet.supervised import Supervised
from chaos.syscalls.probe import probe
from tests.fleet.running import STEP_S, Ran, ran, read_log

pytestmark = pytest.mark.skipif(not probe().works, reason=probe().why)


def hurt(worker: Any, *tables: dict[str, Any], **settings: Any) -> Ran:
    """It ends as soon as each fault, meant for one call, has struck."""
    calls = [parse_fault(table) for table in tables]
    workers = settings.setdefault("workers", 2)
    plan = draw(0, workers, (), 30.0, calls=calls)
    return ran(worker, plan=plan, **settings)


def appender(disk: Path, witness: Witness) -> None:
    log = os.open(disk / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while True:
        name = f"{witness.number}.{witness.life}.{number}"
        with suppress(OSError):
            os.write(log, f"{name}\n".encode())
            witness(name)
        number += 1
        time.sleep(STEP_S)


def test_a_kill_inside_a_write_cuts_it_and_the_others_live_on() -> None:
    done = hurt(appender, {"call": "write", "path": "log", "nth": 9, "kill": "inside", "bytes": 3}, recover=read_log)
    assert done.course.fired == 1
    assert sorted(one.lives for one in done.course.crew) == [1, 2]
    assert sum(one.killed for one in done.course.crew) == 1
    assert done.course.recovery is not None
    # Three bytes without a line feed, with what somebody else appended next behind them.
    assert sum(line.count(".") == 3 for line in decode(done.course.recovery.value)) == 1
    assert any("write of log was killed inside" in text for _, _, text in done.statements)


def test_where_in_the_program_a_call_was_struck_is_known() -> None:
    done = hurt(appender, {"call": "write", "path": "log", "nth": 5, "kill": "before"})
    (frame,) = done.course.sources
    assert (Path(frame.file).name, frame.function) == ("test_call_faults.py", "appender")
    assert any("test_call_faults.py:" in text and "in appender" in text for _, _, text in done.statements)


def test_a_call_fails_with_the_error_that_was_asked_for() -> None:
    done = hurt(appender, {"call": "write", "path": "log", "nth": 4, "errno": "ENOSPC"}, workers=1)
    acknowledged = done.of(0, "a")
    assert acknowledged[:4] == ['a"0.0.0"', 'a"0.0.1"', 'a"0.0.2"', 'a"0.0.4"']
    assert any("write of log failed with ENOSPC" in text for text in done.of(-1))


def test_when_the_faults_are_over_no_call_is_struck() -> None:
    fault = {"call": "write", "path": "log", "nth": 3, "onwards": True, "errno": "ENOSPC"}
    done = hurt(appender, fault, workers=1, duration_s=0.3)
    texts = [text for _, _, text in done.statements]
    over = next(number for number, text in enumerate(texts) if "the faults are over" in text)
    assert not any("ENOSPC" in text for text in texts[over + 3 :])  # one may have been under way
    assert done.course.stuck == ()
    assert len([text for text in texts[:over] if text[:1] == "a"]) <= 2


def test_a_slow_disk_makes_its_callers_wait() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while True:
            began = time.monotonic()
            (disk / "f").write_text("x")
            witness(time.monotonic() - began > 0.05)
            time.sleep(STEP_S)

    done = hurt(worker, {"call": "write", "path": "f", "nth": 3, "delay": 0.05}, workers=1)
    assert "atrue" in done.of(0, "a")


def test_setting_up_and_recovery_are_not_struck() -> None:
    def setup(disk: Path) -> None:
        (disk / "first").write_text("x")

    def recover(disk: Path) -> str:
        (disk / "last").write_text("y")
        return (disk / "first").read_text()

    fault = {"call": "write", "nth": 1, "errno": "EIO"}
    done = hurt(appender, fault, setup=setup, recover=recover)
    assert done.course.recovery is not None
    assert done.course.recovery.value == '"x"'


def test_what_a_supervised_worker_leaves_running_is_named_and_killed() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        child = os.fork()
        if child == 0:
            os.setsid()
            time.sleep(1000)
        (disk / str(witness.number)).write_text("x")
        witness(child)

    done = hurt(worker, {"call": "write", "nth": 100, "errno": "EIO"}, finish_s=60.0)
    assert done.course.strays
    assert not any(os.path.exists(f"/proc/{text[1:]}") for _, _, text in done.statements if text[:1] == "a")


def test_what_a_worker_started_dies_with_it_also_when_a_call_is_killed() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        child = os.fork()
        if child == 0:
            while True:
                time.sleep(1000)
        witness(child)
        while True:
            (disk / str(witness.number)).write_text("x")
            witness("going on")
            time.sleep(STEP_S)

    done = hurt(worker, {"call": "write", "nth": 5, "kill": "before"})
    assert sorted(one.lives for one in done.course.crew) == [1, 2]
    assert done.course.strays == ()


def test_a_kill_is_of_the_one_process_whatever_is_asked_for() -> None:
    (call,) = draw(0, 2, (), 1.0, calls=[parse_fault({"call": "write", "nth": 1, "kill": "before"})]).calls
    assert call.reach == "process"


def test_a_plan_with_call_faults_is_read_as_it_was_written() -> None:
    tables = [{"call": "write", "probability": 0.25, "errno": "EIO"}, {"call": "sync", "nth": 3, "delay": 0.5}]
    plan = draw(7, 3, (), 1.0, calls=[parse_fault(table) for table in tables])
    assert parse_plan(plan.text) == plan
    assert plan.digest != draw(8, 3, (), 1.0, calls=plan.calls).digest


def test_call_faults_that_are_not_needed_are_left_out() -> None:
    needed, other = (parse_fault({"call": "write", "nth": nth, "kill": "inside"}) for nth in (3, 4))
    plan = draw(0, 2, (), 1.0, calls=[other, needed, other])

    def fails(attempt: Plan) -> bool:
        return any(call.nth == 3 for call in attempt.calls)

    assert [call.nth for call in shrunk(plan, fails).calls] == [3]


def test_each_call_in_turn_takes_many_runs_and_is_refused() -> None:
    with pytest.raises(UsageError, match="takes many runs"):
        draw(0, 2, (), 1.0, calls=[parse_fault({"call": "write", "errno": "EIO"})])


def test_a_disk_of_their_own_can_not_be_supervised() -> None:
    calls = (parse_fault({"call": "write", "nth": 1, "errno": "EIO"}),)
    with pytest.raises(UsageError, match="can't see into a disk of the fleet's own"):
        FleetSettings(call_faults=calls, disk_bytes=1 << 20)


def test_what_a_fleet_writes_under_the_supervisor_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that was kept would make the harness's memory grow with the run."""
    seen: list[Any] = []
    first = Supervised.join

    def join(self: Supervised, timeout_s: float) -> bool:
        seen.append(self)
        return first(self, timeout_s)

    monkeypatch.setattr(Supervised, "join", join)
    done = hurt(appender, {"call": "write", "path": "log", "nth": 200, "kill": "before"}, recover=read_log)
    assert done.course.recovery is not None
    assert len(decode(done.course.recovery.value)) >= 190
    assert len(seen[-1].trace.ops) < 10
