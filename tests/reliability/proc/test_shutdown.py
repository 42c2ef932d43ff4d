"""Graceful shutdown: asked for by signals or the end of standard input, in order, with deadlines."""

import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.processes import GracefulShutdown, Stage
from tests.reliability.processes import Child

PROGRAM = textwrap.dedent(
    """
    import sys, time
    from pytest_guardrails.reliability.processes import GracefulShutdown, Stage
    with GracefulShutdown(watch_stdin=True) as shutdown:
        shutdown.register("lease", lambda: print("lease", flush=True), stage=Stage.RELEASE)
        def drain():
            print("drain", flush=True)
            time.sleep(float(sys.argv[1]))
        shutdown.register("drain", drain, deadline_s=600.0)
        shutdown.register("intake", lambda: print("intake", flush=True), stage=Stage.STOP_INTAKE)
        print("ready", flush=True)
        shutdown.wait_requested()
    print(shutdown.reason, [step.outcome for step in shutdown.report], flush=True)
    """
)


def program(drain_s: float = 0.0) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(drain_s)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_starts_the_orderly_end(number: signal.Signals) -> None:
    with program() as process:
        process.send_signal(number)
        assert process.stdout is not None
        said = process.stdout.read()  # to its end: only then is standard input closed
    assert said.splitlines() == ["intake", "drain", "lease", f"{number.name} ['done', 'done', 'done']"]
    assert process.returncode == 0


def test_the_end_of_standard_input_does_as_well() -> None:
    with program() as process:
        said, _ = process.communicate(timeout=30.0)
    assert said.splitlines()[-1].startswith("standard input was closed")


def test_a_second_signal_forces_the_end() -> None:
    with program(drain_s=300.0) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == ["intake\n", "drain\n"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30.0) == 128 + signal.SIGTERM


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    with GracefulShutdown():
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] != before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_one_that_fails_or_hangs_keeps_none_of_the_others_from_running() -> None:
    hang, ran = threading.Event(), []

    def fail() -> None:
        raise OSError("no")

    with GracefulShutdown() as shutdown:
        shutdown.register("fails", fail, stage=Stage.STOP_INTAKE)
        shutdown.register("hangs", lambda: hang.wait(60.0), deadline_s=0.05)
        shutdown.register("works", lambda: ran.append(1), stage=Stage.RELEASE)
    hang.set()
    assert [(step.name, step.outcome) for step in shutdown.report] == [
        ("fails", "failed"),
        ("hangs", "timed out"),
        ("works", "done"),
    ]
    assert (shutdown.report[0].error, ran) == ("OSError: no", [1])


def test_an_exception_in_the_block_still_ends_it_in_order() -> None:
    ran: list[int] = []
    with pytest.raises(ZeroDivisionError), GracefulShutdown() as shutdown:
        shutdown.register("works", lambda: ran.append(1))
        ran.append(1 // 0)
    assert (ran, shutdown.reason.split(":")[0]) == ([1], "ZeroDivisionError")


def test_callbacks_run_once() -> None:
    ran: list[int] = []
    with GracefulShutdown() as shutdown:
        shutdown.register("works", lambda: ran.append(1))
        shutdown.run()
    assert ran == [1]


def test_any_thread_may_ask_for_the_end() -> None:
    with GracefulShutdown() as shutdown:
        assert not shutdown.wait_requested(0.0)
        threading.Thread(target=shutdown.request, args=("enough",)).start()
        assert shutdown.wait_requested(20.0)
        os.kill(os.getpid(), signal.SIGTERM)
        assert shutdown.wait_requested(20.0)
    assert shutdown.reason == "enough"


def test_a_deadline_must_be_a_number() -> None:
    with pytest.raises(ConfigurationError, match="deadline_s"):
        GracefulShutdown().register("x", int, deadline_s=float("nan"))


def test_a_forked_child_ends_by_its_signal_and_asks_its_parent_for_nothing() -> None:
    ended: list[str] = []

    def wait(say: Callable[[str], None]) -> None:
        say("here")
        signal.pause()

    with GracefulShutdown() as shutdown:
        shutdown.register("release", lambda: ended.append("released"))
        child = Child(wait)
        assert child.line() == "here"
        os.kill(child.pid, signal.SIGTERM)
        assert os.WTERMSIG(child.wait()) == signal.SIGTERM
        assert not shutdown.requested
        assert select.select([shutdown._reader], [], [], 0.0) == ([], [], [])  # else each wait would end at once
    assert ended == ["released"]


def test_a_forked_child_that_leaves_the_block_runs_none_of_its_parents_callbacks() -> None:
    def leave(_say: Callable[[str], None]) -> tuple[str, ...]:
        with GracefulShutdown() as own:
            own.register("own", lambda: None)
        outer.run()
        return tuple(step.name for step in (*own.report, *outer.report))

    with GracefulShutdown() as outer:
        outer.register("of the parent", lambda: None)
        assert Child(leave).result() == ("own",)
    assert [step.name for step in outer.report] == ["of the parent"]
