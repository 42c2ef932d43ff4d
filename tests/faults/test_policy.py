"""Faults at work: real programs, struck at real calls."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

import pytest

from chaos.child.ack import ack
from chaos.errors import UsageError
from chaos.faults.fault import parse_fault
from chaos.faults.policy import FaultPolicy, Struck
from chaos.syscalls.launch import architecture
from chaos.trace.model import Trace
from chaos.trace.recorder import Program, RecordOptions, record
from tests.trace.replaying import kinds, proven, writes

QUICK = RecordOptions(sources=False, deadline_s=20)


def struck(program: Program, folder: Path, *tables: dict[str, Any], seed: int = 0) -> tuple[Trace, list[Struck]]:
    policy = FaultPolicy([parse_fault(table) for table in tables], seed=seed)
    trace = proven(program, folder, options=QUICK, policy=policy)
    return trace, policy.struck


def writer(folder: Path, *names: str, told: list[Any] | None = None) -> Callable[[], None]:
    """Write ten bytes to each name in turn, acknowledge each, and write what failed into the file `told`."""

    def write() -> None:
        found: list[Any] = []
        for number, name in enumerate(names):
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT)
            try:
                found.append(os.write(descriptor, b"0123456789"))
            except OSError as error:
                found.append(os.strerror(error.errno or 0))
            os.close(descriptor)
            ack(number)
        (folder / "told").write_text(repr(found))

    return write


def told(folder: Path) -> list[Any]:
    return list(eval((folder / "told").read_text()))


FULL = os.strerror(ENOSPC)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"nth": 2}, [10, FULL, 10, 10]),
        ({"nth": 2, "onwards": True}, [10, FULL, FULL, FULL]),
        ({"every": 2}, [10, FULL, 10, FULL]),
        ({"every": 1, "path": "c"}, [10, 10, FULL, 10]),
        ({"every": 1, "after_ack": 3}, [10, 10, 10, FULL]),
        ({"nth": 1, "after_ack": 2}, [10, 10, FULL, 10]),
        ({"every": 1, "process": 1}, [10, 10, 10, 10]),
    ],
    ids=str,
)
def test_a_fault_chooses_its_calls(tmp_path: Path, choice: dict[str, Any], expected: list[Any]) -> None:
    struck(writer(tmp_path, *"abcd"), tmp_path, {"path": "?", **choice, "call": "write", "errno": "ENOSPC"})
    assert told(tmp_path) == expected


def test_chance_is_drawn_from_the_seed(tmp_path: Path) -> None:
    def run(seed: int) -> list[int]:
        policy = FaultPolicy([parse_fault({"call": "open", "probability": 0.5, "delay": 0.001})], seed=seed)
        record(writer(tmp_path, *"abcdefghijkl"), tmp_path, options=QUICK, policy=policy)
        return [one.nth for one in policy.struck]

    first = run(1)
    assert first == run(1)
    assert 0 < len(first) < 13
    assert first != run(2)


def test_faults_do_not_change_each_others_counts(tmp_path: Path) -> None:
    _, found = struck(
        writer(tmp_path, *"abcd"),
        tmp_path,
        {"call": "write", "path": "?", "nth": 2, "errno": "EIO"},
        {"call": "write", "path": "?", "nth": 2, "errno": "ENOSPC"},
        {"call": "write", "path": "?", "nth": 3, "errno": "ENOSPC"},
    )
    assert [(one.fault, one.nth, one.call.path) for one in found] == [(0, 2, "b"), (2, 3, "c")]


def test_a_short_write_is_told_and_one_that_is_that_short_already_does_not_count(tmp_path: Path) -> None:
    def program() -> None:
        descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        sizes = [os.write(descriptor, data) for data in (b"abc", b"0123456789", b"xyz")]
        assert sizes == [3, 4, 3]

    trace, found = struck(program, tmp_path, {"short": 4, "nth": 1})
    assert (trace.exit_code, writes(trace)) == (0, [(0, b"abc"), (3, b"0123"), (7, b"xyz")])
    assert [one.nth for one in found] == [1]


def test_half_of_a_write_is_the_smaller_half(tmp_path: Path) -> None:
    trace, _ = struck(writer(tmp_path, "a"), tmp_path, {"short": "half", "path": "a", "nth": 1})
    assert writes(trace, "a") == [(0, b"01234")]


def test_a_disk_is_full_at_the_byte(tmp_path: Path) -> None:
    trace, _ = struck(writer(tmp_path, *"abc"), tmp_path, {"full": 14, "path": "?"})
    assert told(tmp_path) == [10, 4, FULL]
    assert [data for _, data in writes(trace)][:2] == [b"0123456789", b"0123"]


@pytest.mark.slow
def test_others_go_on_meanwhile_and_what_a_delayed_call_names_is_looked_up_when_it_takes_effect(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")

    def program() -> None:
        child = os.fork()
        if child == 0:
            (tmp_path / "f").unlink()
            os._exit(0)
        (tmp_path / "g").write_bytes(b"new")
        (tmp_path / "g").replace(tmp_path / "f")
        assert os.waitpid(child, 0)[1] == 0

    trace, _ = struck(program, tmp_path, {"call": "unlink", "nth": 1, "delay": 1.5})
    assert kinds(trace)[-2:] == ["rename", "unlink"]
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_hanging_call_hangs_until_the_deadline_and_leaves_no_process(tmp_path: Path) -> None:
    policy = FaultPolicy([parse_fault({"call": "fsync", "nth": 1, "hang": True})])

    def program() -> None:
        descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        os.fsync(descriptor)

    trace = record(program, tmp_path, options=RecordOptions(sources=False, deadline_s=2), policy=policy)
    assert trace.exit_code == -signal.SIGKILL
    assert any("deadline" in note for note in trace.notes)
    assert kinds(trace) == ["create"]


def test_a_hanging_call_hangs_its_thread_alone(tmp_path: Path) -> None:
    program = (
        "import os, threading\n"
        "f = os.open('f', os.O_WRONLY | os.O_CREAT)\n"
        "thread = threading.Thread(target=os.fsync, args=(f,), daemon=True)\n"
        "thread.start()\n"
        "thread.join(0.05)\n"
        "open('told', 'w').write(str(thread.is_alive()))\n"
    )
    policy = FaultPolicy([parse_fault({"call": "fsync", "nth": 1, "hang": True})])
    options = RecordOptions(sources=False, deadline_s=30, cwd=str(tmp_path))
    trace = record([sys.executable, "-c", program], tmp_path, options=options, policy=policy)
    assert (trace.exit_code, (tmp_path / "told").read_text()) == (0, "True")


@pytest.mark.slow
def test_a_paused_process_stands_still_with_all_its_threads(tmp_path: Path) -> None:
    program = (
        "import pathlib, threading, time\n"
        "def tick():\n"
        "    while True: ticks.append(time.monotonic())\n"
        "ticks = []\n"
        "threading.Thread(target=tick, daemon=True).start()\n"
        "pathlib.Path('f').write_text('')\n"
        "seen = [*ticks, time.monotonic()]\n"
        "pathlib.Path('told').write_text(str(max(b - a for a, b in zip(seen, seen[1:]))))\n"
    )
    policy = FaultPolicy([parse_fault({"path": "f", "nth": 1, "pause": 0.7})])
    options = RecordOptions(sources=False, deadline_s=30, cwd=str(tmp_path))
    trace = record([sys.executable, "-c", program], tmp_path, options=options, policy=policy)
    assert trace.exit_code == 0
    assert float((tmp_path / "told").read_text()) >= 0.7


def test_a_lying_sync_returns_and_is_no_operation(tmp_path: Path) -> None:
    def program() -> None:
        descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"x")
        os.fsync(descriptor)
        os.fdatasync(descriptor)

    trace, found = struck(program, tmp_path, {"lie": True, "nth": 1})
    assert (trace.exit_code, kinds(trace)) == (0, ["create", "write", "fdatasync"])
    assert [one.call.name for one in found] == ["fsync"]


@pytest.mark.parametrize(
    ("moment", "left"), [({"kill": "before"}, 1), ({"kill": "after"}, 2), ({"kill": "inside", "bytes": 3}, 2)], ids=str
)
def test_a_kill_comes_before_inside_or_after(tmp_path: Path, moment: dict[str, Any], left: int) -> None:
    trace, _ = struck(writer(tmp_path, *"abc"), tmp_path, {"call": "write", "nth": 2, **moment})
    assert trace.exit_code == -signal.SIGKILL
    assert len(writes(trace)) == left
    assert (tmp_path / "b").read_bytes() == {"before": b"", "after": b"0123456789", "inside": b"012"}[moment["kill"]]


def test_one_process_is_killed_alone(tmp_path: Path) -> None:
    def program() -> None:
        child = os.fork()
        if child == 0:
            (tmp_path / "a").write_bytes(b"")
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        (tmp_path / "b").write_bytes(b"")

    trace, _ = struck(program, tmp_path, {"path": "a", "nth": 1, "kill": "before", "reach": "process"})
    assert (trace.exit_code, [op.path for op in trace.ops]) == (0, ["b"])


def test_a_command_line_is_struck_as_well(tmp_path: Path) -> None:
    policy = FaultPolicy([parse_fault({"call": "open", "path": "f", "errno": "EMFILE", "nth": 1})])
    options = RecordOptions(sources=False, cwd=str(tmp_path), output=subprocess.DEVNULL)
    with open(os.devnull, "wb") as nowhere:
        options = RecordOptions(sources=False, cwd=str(tmp_path), output=nowhere.fileno())
        trace = record(["sh", "-c", "echo x > f || echo failed > g"], tmp_path, options=options, policy=policy)
    assert trace.exit_code == 0
    assert (tmp_path / "g").read_text() == "failed\n"
    assert not (tmp_path / "f").exists()


def test_what_was_struck_is_known_with_its_source_line(tmp_path: Path) -> None:
    policy = FaultPolicy([parse_fault({"call": "write", "nth": 2, "path": "?", "errno": "EIO"})])
    record(writer(tmp_path, *"ab"), tmp_path, options=RecordOptions(), policy=policy)
    (one,) = policy.struck
    assert (one.after, one.call.path) == (3, "b")
    assert one.source[0].file == __file__
    assert one.source[0].function == "write"


def test_a_refused_sync_is_in_the_trace_with_its_source_line(tmp_path: Path) -> None:
    def program() -> None:
        descriptor = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(descriptor)

    policy = FaultPolicy([parse_fault({"call": "sync", "nth": 1, "errno": "EIO"})])
    trace = record(program, tmp_path, options=RecordOptions(), policy=policy)
    assert [(op.kind.value, op.errno) for op in trace.ops] == [("create", 0), ("fsync", 5)]
    assert trace.ops[1].source[0].function == "program"


def test_a_fault_for_many_runs_is_refused_in_one() -> None:
    with pytest.raises(UsageError, match="takes many runs"):
        FaultPolicy([parse_fault({"errno": "EIO"})])


@pytest.mark.slow
def test_a_held_call_of_a_process_that_was_killed_meanwhile_has_no_effect(tmp_path: Path) -> None:
    def program() -> None:
        child = os.fork()
        if child == 0:
            os.sync()
            os._exit(0)
        (tmp_path / "kill").write_bytes(b"")
        while Path(f"/proc/{child}/syscall").read_text().split()[0] != str(architecture().numbers["sync"]):
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        time.sleep(1.7)  # the run goes on until it is due

    trace, _ = struck(program, tmp_path, {"call": "sync", "nth": 1, "pause": 1.5})
    assert (trace.exit_code, kinds(trace)) == (0, ["create"])


def test_a_held_call_is_decided_about_once(tmp_path: Path) -> None:
    trace, found = struck(writer(tmp_path, "a"), tmp_path, {"path": "a", "every": 1, "delay": 0.001})
    assert (trace.exit_code, [one.call.name for one in found]) == (0, ["openat", "write"])


READING = RecordOptions(sources=False, deadline_s=20, reads=True)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"call": "read", "nth": 1, "errno": "EIO"}, ["open: Input/output error", "b", "c"]),
        ({"call": "read", "nth": 2, "errno": "EIO"}, ["read: Input/output error", "b", "c"]),
        ({"call": "open_read", "path": "c", "every": 1, "errno": "EMFILE"}, ["a", "b", "open: Too many open files"]),
        ({"call": "read", "path": "b", "nth": 1, "onwards": True, "delay": 0.001}, ["a", "b", "c"]),
    ],
    ids=str,
)
def test_reads_and_opens_to_read_are_struck_by_name(tmp_path: Path, fault: dict[str, Any], told: list[str]) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name)

    def read(name: str) -> str:
        try:
            descriptor = os.open(tmp_path / name, os.O_RDONLY)
        except OSError as error:
            return f"open: {error.strerror}"
        try:
            return os.read(descriptor, 10).decode()
        except OSError as error:
            return f"read: {error.strerror}"
        finally:
            os.close(descriptor)

    def program() -> None:
        found = [read(name) for name in "abc"]
        (tmp_path / "told").write_text(repr(found))

    policy = FaultPolicy([parse_fault(fault)])
    trace = proven(program, tmp_path, options=READING, policy=policy)
    assert (trace.exit_code, (tmp_path / "told").read_text()) == (0, repr(told))
    assert policy.struck


def test_a_fault_that_names_no_call_strikes_no_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("text")

    def program() -> None:
        (tmp_path / "b").write_text((tmp_path / "a").read_text())

    policy = FaultPolicy([parse_fault({"every": 1, "delay": 0.001})])
    assert proven(program, tmp_path, options=READING, policy=policy).exit_code == 0
    assert [one.call.path for one in policy.struck] == ["b", "b"]
