import gc
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.child.ack import ack
from chaos.errors import UsageError
from chaos.faults.process import KillAt, KillPolicy, Moment
from chaos.syscalls.calls import Call, Decision, Fail, Partial, Proceed, Reach
from chaos.trace.model import Kind, Trace
from chaos.trace.recorder import RecordOptions
from tests.trace.replaying import kinds, proven, writes

QUICK = RecordOptions(sources=False, deadline_s=10)


def killed(program: Callable[[], object], folder: Path, at: KillAt) -> tuple[Trace, KillPolicy]:
    policy = KillPolicy(at)
    return proven(program, folder, options=QUICK, policy=policy), policy


def saver(folder: Path) -> Callable[[], None]:
    def save() -> None:
        for number in range(3):
            (folder / "t").write_bytes(b"%d" % number * 10)
            os.replace(folder / "t", folder / "f")
            ack(number)

    return save


@pytest.mark.parametrize(("moment", "renames"), [(Moment.BEFORE, 1), (Moment.AFTER, 2)])
def test_the_nth_matching_call_is_killed_before_or_after(tmp_path: Path, moment: Moment, renames: int) -> None:
    trace, policy = killed(saver(tmp_path), tmp_path, KillAt(nth=2, calls=frozenset({"rename"}), moment=moment))
    assert trace.exit_code == -signal.SIGKILL
    assert kinds(trace).count("rename") == renames
    assert len(trace.acks) == 1
    assert policy.fired == Call("rename", "t", 0, 0, 0, "f")


def test_every_call_in_turn_is_killed_until_a_run_ends_untouched(tmp_path: Path) -> None:
    counts = []
    for nth in range(1, 100):
        folder = tmp_path / str(nth)
        folder.mkdir()
        trace, policy = killed(saver(folder), folder, KillAt(nth=nth))
        counts.append(len(trace.ops))
        if policy.fired is None:
            assert trace.exit_code == 0
            break
    assert counts == [*range(9), 9]


@pytest.mark.parametrize(("size", "left"), [(0, b""), (3, b"000"), (None, b"00000"), (99, b"0" * 10)])
def test_a_write_is_killed_inside(tmp_path: Path, size: int | None, left: bytes) -> None:
    at = KillAt(nth=1, calls=frozenset({"write"}), moment=Moment.INSIDE, size_bytes=size)
    trace, _ = killed(saver(tmp_path), tmp_path, at)
    assert (tmp_path / "t").read_bytes() == left
    assert b"".join(data for _, data in writes(trace)) == left
    assert trace.exit_code == -signal.SIGKILL


def test_a_call_is_chosen_by_path_and_process(tmp_path: Path) -> None:
    def program() -> None:
        (tmp_path / "a").write_bytes(b"")
        child = os.fork()
        if child == 0:
            (tmp_path / "b").write_bytes(b"")
            os._exit(0)
        os.waitpid(child, 0)
        (tmp_path / "b").write_bytes(b"parent")

    trace, _ = killed(program, tmp_path, KillAt(nth=1, path="b", process=0))
    assert [(op.path, op.process) for op in trace.ops] == [("a", 0), ("b", 1)]


def test_one_process_dies_alone(tmp_path: Path) -> None:
    def program() -> None:
        child = os.fork()
        if child == 0:
            (tmp_path / "a").write_bytes(b"never")
            time.sleep(1000)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        (tmp_path / "b").write_bytes(b"survivor")

    trace, _ = killed(program, tmp_path, KillAt(nth=1, path="a", reach=Reach.PROCESS))
    assert (trace.exit_code, kinds(trace)) == (0, ["create", "write"])


def test_the_whole_tree_dies(tmp_path: Path) -> None:
    def program() -> None:
        if os.fork() == 0:
            os.setsid()
            time.sleep(1000)
        (tmp_path / "a").write_bytes(b"x")

    trace, _ = killed(program, tmp_path, KillAt(nth=1, moment=Moment.AFTER))
    assert (trace.exit_code, kinds(trace)) == (-signal.SIGKILL, ["create"])


def test_an_acknowledgement_is_a_place_to_kill_only_by_name(tmp_path: Path) -> None:
    trace, _ = killed(saver(tmp_path), tmp_path, KillAt(nth=2, calls=frozenset({"ack"}), moment=Moment.AFTER))
    assert [entry.value for entry in trace.acks] == ["0", "1"]
    assert trace.exit_code == -signal.SIGKILL


class Scripted:
    """Answers one call by name."""

    def __init__(self, name: str, decision: Decision) -> None:
        self.name, self.decision = name, decision

    def decide(self, call: Call) -> Decision:
        return self.decision if call.name == self.name else Proceed()


def test_a_failed_call_has_no_effect(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space left"):
            os.write(fd, b"x")

    trace = proven(program, tmp_path, options=QUICK, policy=Scripted("write", Fail(28)))
    assert (trace.exit_code, kinds(trace)) == (0, ["create"])


def test_a_partial_write_is_told_to_the_caller(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        assert os.write(fd, b"0123456789") == 4
        assert os.writev(fd, [b"ab", b"cd"]) == 4

    trace = proven(program, tmp_path, options=QUICK, policy=Scripted("write", Partial(4)))
    assert (trace.exit_code, writes(trace)) == (0, [(0, b"0123"), (4, b"abcd")])


def test_killed_opens_leak_nothing(tmp_path: Path) -> None:
    gc.collect()  # rubbish of other tests must not go while this one counts
    before = len(os.listdir("/proc/self/fd"))
    trace, _ = killed(saver(tmp_path), tmp_path, KillAt(nth=1, moment=Moment.AFTER))
    assert [op.kind for op in trace.ops] == [Kind.CREATE]
    assert len(os.listdir("/proc/self/fd")) == before


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="nth"):
        KillAt(nth=0)
    with pytest.raises(UsageError, match="size_bytes"):
        KillAt(nth=1, size_bytes=-1)
