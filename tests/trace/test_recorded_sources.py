"""Source lines in a recording: operations name the line of the program that made them."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.syscalls.probe import probe
from chaos.trace.model import Op, Trace
from chaos.trace.recorder import RecordOptions, record

pytestmark = pytest.mark.skipif(not probe().works, reason=probe().why)


def innermost(op: Op) -> tuple[str, str]:
    return op.kind.value, op.source[0].function if op.source else ""


def save(path: Path) -> None:
    path.write_bytes(b"x")


def test_operations_of_a_callable_name_its_functions_and_end_at_the_harness(tmp_path: Path) -> None:
    trace = record(lambda: save(tmp_path / "f"), tmp_path)
    assert {op.kind.value for op in trace.ops} == {"create", "write"}
    for op in trace.ops:
        assert [frame.function for frame in op.source if frame.file == __file__] == ["save", "<lambda>"]
        assert op.source[-1].function == "<lambda>"  # nothing of pytest, which called the harness


def test_operations_of_a_command_and_of_its_python_subprocess_name_theirs(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    (tmp_path / "child.py").write_text("def below():\n    open('b', 'w').close()\nbelow()\n")
    (tmp_path / "main.py").write_text(
        "import subprocess, sys\ndef above():\n    open('a', 'w').close()\nabove()\n"
        f"subprocess.run([sys.executable, {str(tmp_path / 'child.py')!r}], check=True)\n"
    )
    options = RecordOptions(cwd=str(folder))
    trace = record([sys.executable, str(tmp_path / "main.py")], folder, options=options)
    found = {op.path: (op.source[0].file, op.source[0].line, op.source[0].function) for op in trace.ops}
    assert found == {"a": (str(tmp_path / "main.py"), 3, "above"), "b": (str(tmp_path / "child.py"), 2, "below")}


def test_operations_of_another_program_have_none(tmp_path: Path) -> None:
    trace = record(["sh", "-c", f"echo > {tmp_path}/f"], tmp_path)
    assert trace.ops
    assert all(op.source == () for op in trace.ops)


def test_a_forked_child_and_a_thread_name_theirs(tmp_path: Path) -> None:
    def in_thread() -> None:
        os.mkdir(tmp_path / "thread")

    def in_child() -> None:
        os.mkdir(tmp_path / "child")

    def work() -> None:
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()
        pid = os.fork()
        if pid == 0:
            in_child()
            os._exit(0)
        os.waitpid(pid, 0)

    trace = record(work, tmp_path)
    assert [innermost(op) for op in trace.ops] == [("mkdir", "in_thread"), ("mkdir", "in_child")]


def test_switched_off_there_are_none_and_the_environment_is_untouched(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "f").write_text(os.environ.get("PYTHONPATH", "") + os.environ.get("CHAOS_FRAMES", ""))

    expected = os.environ.get("PYTHONPATH", "")
    trace = record(work, tmp_path, options=RecordOptions(sources=False))
    assert all(op.source == () for op in trace.ops)
    assert (tmp_path / "f").read_text() == expected


def test_the_recording_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    record(lambda: save(tmp_path / "f"), tmp_path)
    gc.collect()  # rubbish of other tests must not go while this one counts
    before = len(os.listdir("/proc/self/fd"))
    record(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True), tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before


def lines_by_path(trace: Trace) -> dict[str, set[str]]:
    """Path -> the functions of this file that are at work, innermost first, joined by a space."""
    found: dict[str, set[str]] = {}
    for op in trace.ops:
        own = " ".join(frame.function for frame in op.source if frame.file == __file__)
        found.setdefault(op.path, set()).add(own)
    return found


def by_run(folder: Path) -> None:
    subprocess.run(["sh", "-c", "echo a > run; cp run copied"], cwd=folder, check=True)


def by_output(folder: Path) -> None:
    subprocess.check_output(["sh", "-c", "echo a > output"], cwd=folder)


@pytest.mark.parametrize(("start", "paths"), [(by_run, {"run", "copied"}), (by_output, {"output"})])
def test_programs_without_lines_have_the_line_that_waits_for_them(
    tmp_path: Path, start: Callable[[Path], None], paths: set[str]
) -> None:
    assert lines_by_path(record(lambda: start(tmp_path), tmp_path)) == {
        path: {f"{start.__name__} <lambda>"} for path in paths
    }


def test_a_program_has_the_line_of_the_thread_that_started_it(tmp_path: Path) -> None:
    def work() -> None:
        thread = threading.Thread(target=by_run, args=(tmp_path,))
        thread.start()
        thread.join()

    assert lines_by_path(record(work, tmp_path)) == {"run": {"by_run"}, "copied": {"by_run"}}


def test_a_program_whose_starter_has_gone_on_has_no_line(tmp_path: Path) -> None:
    def work() -> None:
        go, gone = tmp_path / "go", tmp_path / "gone"
        os.mkfifo(go)
        left = subprocess.Popen(["sh", "-c", f"read line < {go}; echo a > {gone}"])
        with open(go, "w") as pipe:
            pipe.write("on\n")
        while not gone.exists() or not gone.stat().st_size:
            os.sched_yield()
        os.waitpid(left.pid, 0)

    trace = record(work, tmp_path, options=RecordOptions(exclude=("go",)))
    assert [(op.path, op.source) for op in trace.ops] == [("gone", ()), ("gone", ())]
