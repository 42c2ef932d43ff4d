"""The portable engine beyond what both engines do: its limits, said; and other systems, stood in for."""

import os
import shutil
import subprocess
import sys
import textwrap
from errno import EBADF
from pathlib import Path

import pytest

import chaos.child
from chaos.disk import prove
from chaos.errors import NotMeasured, UsageError
from chaos.trace.model import Kind
from chaos.trace.options import RecordOptions
from chaos.trace.portable import probe, record
from tests.trace.engine_conformance import steps


def test_the_probe_tries_it() -> None:
    report = probe()
    assert report.works
    assert report.why == ""
    assert report.details


def test_the_probe_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.trace.portable._INJECT_FOLDER", "/nowhere")
    report = probe()
    assert not report.works
    assert "was not seen" in report.why


def test_without_fork_a_callable_is_refused_with_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(NotMeasured, match="can't fork") as caught:
        record(lambda: None, tmp_path)
    assert "package.module" in caught.value.hint


def test_a_missing_folder_or_program_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        record(lambda: None, tmp_path / "none")
    with pytest.raises(UsageError, match="not found"):
        record(["no-such-program-at-all"], tmp_path)


def test_files_of_other_programs_are_not_measured_each_by_name(tmp_path: Path) -> None:
    (tmp_path / "changed").write_text("a")
    (tmp_path / "removed").write_text("a")
    (tmp_path / "mode").write_text("a")

    def work() -> None:
        (tmp_path / "mine").write_text("x")
        line = "echo b > changed; rm removed; chmod 600 mode; mkdir d; > d/made"
        subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)

    trace = record(work, tmp_path)
    assert steps(trace) == [("create", "mine"), ("write", "mine")]
    reasons = {entry.path: entry.reason for entry in trace.unmeasured}
    assert {path: reason.split(" by ")[0] for path, reason in reasons.items()} == {
        "changed": "written",
        "removed": "removed",
        "mode": "its mode was changed",
        "d": "made",
        "d/made": "made",
    }
    prove(trace, str(tmp_path))


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_an_isolated_python_is_not_measured_rather_than_missed(tmp_path: Path, option: str) -> None:
    trace = record([sys.executable, option, "-c", f"open({str(tmp_path / 'f')!r}, 'w')"], tmp_path)
    assert trace.ops == ()
    assert [entry.path for entry in trace.unmeasured] == ["f"]


def test_an_operation_on_a_file_that_was_never_seen_to_be_made_is_not_passed_over(tmp_path: Path) -> None:
    def work() -> None:
        subprocess.run(["sh", "-c", "echo > f"], cwd=tmp_path, check=True)
        with open(tmp_path / "f", "a") as file:
            file.write("x")
        os.unlink(tmp_path / "f")

    trace = record(work, tmp_path)
    assert trace.ops == ()
    assert trace.unmeasured


def test_names_bound_before_the_recording_are_reached(tmp_path: Path) -> None:
    (tmp_path / "target.py").write_text(
        "from io import open as io_open\nfrom os import replace, mkdir\ndef work(disk):\n"
        "    io_open(disk / 'a', 'w').close(); replace(disk / 'a', disk / 'b'); mkdir(disk / 'd')\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        import target  # type: ignore[import-not-found]  # noqa: PLC0415 - before the recording, which is the point

        disk = tmp_path / "disk"
        disk.mkdir()
        trace = record(lambda: target.work(disk), disk)
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("target", None)
    assert steps(trace) == [("create", "a"), ("rename", "b"), ("mkdir", "d")]


def test_several_processes_writing_one_file_are_in_the_order_of_their_effects(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "log").touch()
        code = f"""
            import os
            fd = os.open({str(tmp_path / "log")!r}, os.O_WRONLY | os.O_APPEND)
            for number in range(50):
                os.write(fd, b"%d %d;" % (os.getpid(), number))
        """
        children = [subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)]) for _ in range(3)]
        assert [child.wait() for child in children] == [0, 0, 0]

    trace = record(work, tmp_path)
    assert trace.unmeasured == ()
    assert trace.exit_code == 0
    prove(trace, str(tmp_path))
    assert b"".join(op.data for op in trace.ops) == (tmp_path / "log").read_bytes()


def test_a_kill_at_any_moment_loses_nothing_that_was_done(tmp_path: Path) -> None:
    def work() -> None:
        with open(tmp_path / "f", "wb", buffering=0) as file:
            for number in range(10_000):
                file.write(b"%d" % number)
                if number == 37:
                    os.kill(os.getpid(), 9)

    trace = record(work, tmp_path)
    assert trace.exit_code == -9
    assert [op.data for op in trace.ops[1:]] == [b"%d" % number for number in range(38)]
    assert trace.unmeasured == ()


def test_an_entry_cut_short_is_noted_and_spoils_no_other(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "a").touch()
        with open(os.environ["CHAOS_JOURNAL"], "ab") as journal:
            journal.write(b'\n{"kind": "wri')
        (tmp_path / "b").touch()

    trace = record(work, tmp_path)
    assert steps(trace) == [("create", "a"), ("create", "b")]
    assert ["killed while it wrote" in note for note in trace.notes] == [True]


def test_a_process_left_over_is_killed_and_said_so(tmp_path: Path) -> None:
    def work() -> None:
        if os.fork() == 0:
            (tmp_path / "pid").write_text(str(os.getpid()))
            while True:
                os.read(os.pipe()[0], 1)
        while not (tmp_path / "pid").exists():
            pass

    trace = record(work, tmp_path, options=RecordOptions(grace_s=0.1))
    assert any("left over" in note for note in trace.notes)
    state = Path("/proc", (tmp_path / "pid").read_text(), "stat")
    assert not state.exists() or ") Z" in state.read_text()


# As on Windows and other systems: none of these.
POOR = """
import os, sys
sys.modules["fcntl"] = None
for name in ("fork", "killpg", "setsid", "O_TMPFILE", "O_DSYNC", "pwrite", "sendfile", "copy_file_range"):
    delattr(os, name)
"""
RECORDING = """
import chaos.trace.portable as portable
from chaos.disk import prove
portable._INJECT_FOLDER, disk = sys.argv[1:]
code = "import os, shutil; open('a', 'w').write('x'); os.replace('a', 'b'); os.mkdir('d'); shutil.copy('b', 'd/c')"
trace = portable.record([sys.executable, "-c", code], disk, options=portable.RecordOptions(cwd=disk))
prove(trace, disk)
print(*(f"{op.kind.value} {op.path}" for op in trace.ops), trace.unmeasured, trace.exit_code, sep=", ")
"""


def test_it_works_without_what_only_some_systems_have(tmp_path: Path) -> None:
    disk, child = tmp_path / "disk", tmp_path / "child"
    disk.mkdir()
    shutil.copytree(Path(chaos.child.__file__).parent, child)
    start = child / "inject" / "sitecustomize.py"
    start.write_text(POOR + start.read_text())
    done = subprocess.run(
        [sys.executable, "-c", POOR + RECORDING, str(child / "inject"), str(disk)],
        cwd=Path(chaos.child.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    expected = "create a, write a, rename a, mkdir d, create d/c, write d/c, chmod d/c, (), 0"
    assert done.stdout.strip() == expected


def test_a_sync_that_fails_is_recorded_with_its_error(tmp_path: Path) -> None:
    (tmp_path / "f").touch()

    def work() -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fsync(os.open(tmp_path / "f", os.O_PATH))

    trace = record(work, tmp_path)
    assert [(op.kind, op.path, op.errno) for op in trace.ops] == [(Kind.FSYNC, "f", EBADF)]
