"""A fleet from its start to its recovery: kills, restarts, pauses, and what is told of them in the end."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from chaos.child.target import CommandTarget, PythonTarget
from chaos.child.values import decode
from chaos.child.witness import Witness
from chaos.errors import UsageError
from chaos.fleet import Fault, FaultKind, Plan, Restart, RestartPolicy, Strike
from chaos.observations import Ending
from tests.fleet.running import STEP_S, Ran, appender, kills, ran, read_log


def gone(pids: list[int]) -> bool:
    return not any(os.path.exists(f"/proc/{pid}") for pid in pids)


def acknowledged(done: Ran) -> list[str]:
    return [decode(text[1:]) for _, _, text in done.statements if text[:1] == "a"]


def test_who_is_killed_comes_back_and_nothing_that_was_acknowledged_is_missing() -> None:
    done = ran(appender, kills(6), recover=read_log, workers=3)
    assert done.course.fired == 6
    killed = sum(one.killed for one in done.course.crew)  # two strikes may hit one life
    assert 1 <= killed <= 6
    assert done.course.lives == 3 + killed
    assert done.course.stuck == ()
    assert done.course.recovery is not None
    assert set(acknowledged(done)) <= set(decode(done.course.recovery.value))


def test_nothing_is_left_when_it_is_over() -> None:
    done = ran(appender, kills(3))
    assert gone(done.pids)
    assert not os.path.exists(done.root)


def test_all_are_killed_at_once_where_the_group_is_struck() -> None:
    done = ran(appender, kills(1, workers=0), workers=4)
    assert [one.lives for one in done.course.crew] == [2, 2, 2, 2]


def test_who_is_never_restarted_stays_dead_and_is_not_waited_for() -> None:
    done = ran(appender, kills(1, workers=0), restart=Restart(policy=RestartPolicy.NEVER))
    assert [one.lives for one in done.course.crew] == [1, 1]
    assert done.course.stuck == ()


def test_who_may_come_back_once_comes_back_once() -> None:
    once = Restart(policy=RestartPolicy.AT_MOST, most=1)
    done = ran(appender, kills(3, workers=0), restart=once)
    assert [one.lives for one in done.course.crew] == [2, 2]


def test_who_returns_has_done_its_work_and_is_not_restarted() -> None:
    def worker(disk: Path, witness: Witness) -> str:
        witness(witness.life)
        return "done"

    done = ran(worker, finish_s=30.0)
    assert [one.lives for one in done.course.crew] == [1, 1]
    assert all(one.returned for one in done.course.crew)
    assert done.of(0, ".") == ['."done"']


def test_who_should_return_and_does_not_is_named() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while witness.number == 1:  # the other one says nothing: until it has returned, its progress is waited for
            witness("still here")
            time.sleep(STEP_S)

    done = ran(worker, finish_s=0.2)
    assert done.course.unfinished == (1,)
    assert gone(done.pids)


def test_who_says_nothing_once_the_faults_are_over_is_stuck() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        while witness.number == 0 or not witness.life:
            witness("going on")
            time.sleep(STEP_S)
        time.sleep(1000)

    strike = Strike(at_s=0.0, statements=15, kind=FaultKind.KILL, workers=(1,))
    done = ran(worker, plan=Plan(workers=2, strikes=(strike,)), progress_s=1.0)  # worker 0 goes on all the time
    assert done.course.stuck == (1,)


def test_who_dies_again_and_again_is_given_up_before_the_time_is() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        if witness.number == 1 and witness.life:
            raise ValueError("can't start")
        while True:
            witness("going on")  # without a pause: what is said just before a kill is no progress after it

    began = time.monotonic()
    done = ran(worker, kills(1, workers=0), progress_s=1000.0)
    assert time.monotonic() - began < 500
    assert done.course.stuck == (1,)
    assert done.course.crew[1].failed >= 8
    assert "ended with exit code 1" in done.course.crew[1].last_failure
    assert '"error": "can\'t start"' in done.of(1, "!")[0]


def test_a_paused_worker_stands_still_and_goes_on() -> None:
    fault = Fault(kind=FaultKind.PAUSE, statements=10, count=1, lasts_s=1.0)
    done = ran(appender, fault, seed=1)
    (paused,) = [strike.workers[0] for strike in done.course.plan.strikes]
    told = [(worker, text) for worker, _, text in done.statements]
    began = next(number for number, (_, text) in enumerate(told) if '"pause"' in text)
    over = next(number for number, (_, text) in enumerate(told) if "pause is over" in text)
    within = [worker for worker, _ in told[began:over]]
    assert within[-20:] == [1 - paused] * 20
    assert paused in [worker for worker, _ in told[over:]]
    assert [one.lives for one in done.course.crew] == [1, 1]


def test_a_pause_without_an_end_ends_with_the_healing() -> None:
    at_once = Strike(at_s=0.0, kind=FaultKind.PAUSE, workers=(0,))
    done = ran(appender, plan=Plan(workers=2, strikes=(at_once,)), duration_s=0.3)
    assert (done.course.fired, done.course.stuck) == (1, ())


def test_a_killed_worker_takes_what_it_started_with_it() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        child = os.fork()
        if child == 0:
            while True:
                time.sleep(1000)
        witness(child)
        while True:
            witness("going on")
            time.sleep(STEP_S)

    done = ran(worker, kills(3))
    assert done.course.strays == ()
    assert gone([int(text[1:]) for _, _, text in done.statements if text[1:].isdigit()])


def test_what_a_worker_leaves_running_is_named_and_killed() -> None:
    def worker(disk: Path, witness: Witness) -> None:
        child = os.fork()
        if child == 0:
            os.setsid()
            time.sleep(1000)
        witness(child)

    done = ran(worker, finish_s=30.0)
    assert len(done.course.strays) == 1
    assert gone([int(text[1:]) for _, _, text in done.statements if text[:1] == "a"])


def test_commands_acknowledge_by_the_chronicle_of_their_worker() -> None:
    program = "from chaos.child.ack import ack; import os; ack(os.environ['CHAOS_WORKER']); ack(os.getcwd())"
    done = ran(CommandTarget(commands=((sys.executable, "-c", program),)), finish_s=60.0)
    assert done.of(1, "a")[0] == 'a"1"'
    assert done.of(1, ":") == [":0"]
    assert done.of(0, "a")[1].endswith('/disk"')
    assert all(one.returned for one in done.course.crew)


def test_a_target_by_name_runs_in_processes_that_have_nothing_of_the_test(tmp_path: Path) -> None:
    (tmp_path / "fleet_target.py").write_text(
        "import sys\ndef worker(disk, witness):\n    witness('pytest' in sys.modules)\n"
    )
    done = ran(PythonTarget(ref="fleet_target:worker", search=(str(tmp_path),)), finish_s=60.0)
    assert done.of(0, "a") == ["afalse"]


def test_a_target_that_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(UsageError, match="can't be imported"):
        ran(PythonTarget(ref="no_such_module_here:worker"))


def test_setting_up_comes_first_and_its_failure_is_told() -> None:
    def setup(disk: Path) -> None:
        (disk / "log").write_text("first\n")

    done = ran(appender, kills(1), setup=setup, recover=read_log)
    assert done.course.recovery is not None
    assert decode(done.course.recovery.value)[0] == "first"

    def fails(disk: Path) -> None:
        raise ValueError("no room")

    with pytest.raises(UsageError, match="setting up failed: no room"):
        ran(appender, setup=fails)


def test_a_recovery_that_hangs_is_ended() -> None:
    def hang(disk: Path) -> None:
        time.sleep(1000)

    done = ran(appender, kills(1), recover=hang, deadline_s=0.3)
    assert done.course.recovery is not None
    assert done.course.recovery.ending is Ending.HUNG


def test_what_recovery_raises_is_kept_with_its_place() -> None:
    def fails(disk: Path) -> None:
        raise KeyError("lost")

    done = ran(appender, kills(1), recover=fails)
    assert done.course.recovery is not None
    assert done.course.recovery.error_type == "KeyError"
    assert done.course.recovery.frames[0].function == "fails"


def test_a_recovery_that_dies_is_told_from_one_that_returns() -> None:
    def dies(disk: Path) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    done = ran(appender, kills(1), recover=dies)
    assert done.course.recovery is not None
    assert (done.course.recovery.ending, done.course.recovery.detail) == (Ending.KILLED, 9)


def test_without_any_fault_a_fleet_lives_and_ends() -> None:
    done = ran(appender, plan=Plan(workers=2, strikes=()), recover=read_log)
    assert done.course.fired == 0
    assert done.course.stuck == ()


def test_what_a_worker_prints_does_not_reach_the_test(capfd: pytest.CaptureFixture[str]) -> None:
    def worker(disk: Path, witness: Witness) -> None:
        sys.stdout.write("to nobody")
        os.write(2, b"to nobody")

    ran(worker, finish_s=30.0)
    assert capfd.readouterr() == ("", "")


def test_a_strike_that_waits_for_statements_holds_up_none_that_waits_for_a_time() -> None:
    never = Strike(at_s=0.0, statements=10**9, kind=FaultKind.PAUSE, workers=(0,))
    soon = Strike(at_s=0.01, kind=FaultKind.KILL, workers=(1,))
    done = ran(appender, plan=Plan(workers=2, strikes=(never, soon)), duration_s=0.5)
    assert [one.lives for one in done.course.crew] == [1, 2]
