"""What every recording engine must do with Python workloads: the same suite for all of them.

A test module subclasses `Conformance` and names its engine (`test_engines.py`). The expected sequences are written
out here, so an engine is held against the words, not against another engine.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from chaos.child.ack import ack
from chaos.disk import prove
from chaos.trace.model import Kind, Op, Sync, Trace
from chaos.trace.options import Program, RecordOptions

__all__ = ["Conformance", "steps"]

Steps = list[tuple[str, str]]


def steps(trace: Trace, *, leave_out: Sequence[Kind] = ()) -> Steps:
    """(kind, path), with the writes of one buffered stretch as one."""
    found: list[Op] = []
    for op in trace.ops:
        if op.kind in leave_out:
            continue
        last = found[-1] if found else None
        follows = last is not None and last.kind is op.kind is Kind.WRITE and last.node == op.node
        if not (follows and last is not None and last.sync is op.sync):
            found.append(op)
    return [(op.kind.value, op.to_path or op.path) for op in found]


class Conformance(ABC):
    """The suite."""

    @abstractmethod
    def record(self, program: Program, folder: Path, options: RecordOptions) -> Trace:
        """Record by the engine that is tested."""

    def run(self, work: Callable[[Path], object], folder: Path, **settings: object) -> Trace:
        """Record a callable, and hold the trace against the folder."""
        trace = self.record(lambda: work(folder), folder, RecordOptions(**settings))  # type: ignore[arg-type]
        prove(trace, str(folder))
        assert trace.exit_code == 0
        assert trace.unmeasured == ()
        return trace

    def test_plain_write(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            with open(disk / "f", "w") as file:
                file.write("hello")

        trace = self.run(work, tmp_path)
        assert steps(trace) == [("create", "f"), ("write", "f")]
        assert (trace.ops[1].offset, trace.ops[1].data) == (0, b"hello")

    def test_buffered_writes_reach_the_system_when_python_sends_them(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            with open(disk / "f", "wb") as file:
                for _ in range(100):
                    file.write(b"x" * 1000)

        trace = self.run(work, tmp_path)
        writes = [op for op in trace.ops if op.kind is Kind.WRITE]
        assert 1 < len(writes) < 100
        assert [op.offset for op in writes] == [sum(len(o.data) for o in writes[:i]) for i in range(len(writes))]

    def test_append(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"abc")

        def work(disk: Path) -> None:
            with open(disk / "f", "ab") as file:
                file.seek(0)
                file.write(b"d")

        trace = self.run(work, tmp_path)
        assert steps(trace) == [("write", "f")]
        assert (trace.ops[0].offset, trace.ops[0].data) == (3, b"d")

    def test_seek_and_overwrite_after_reading(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"0123456789")

        def work(disk: Path) -> None:
            with open(disk / "f", "r+b", buffering=0) as file:
                assert file.read(4) == b"0123"
                file.write(b"x")
                file.seek(8)
                file.write(b"y")

        trace = self.run(work, tmp_path)
        assert [(op.offset, op.data) for op in trace.ops] == [(4, b"x"), (8, b"y")]

    def test_truncation_by_opening_by_file_and_by_path(self, tmp_path: Path) -> None:
        for name in ("a", "b", "c", "d"):
            (tmp_path / name).write_bytes(b"0123456789" if name != "d" else b"")

        def work(disk: Path) -> None:
            open(disk / "a", "w").close()
            with open(disk / "b", "r+") as file:
                file.truncate(3)
            os.truncate(disk / "c", 20)
            open(disk / "d", "w").close()  # was empty: nothing happens

        trace = self.run(work, tmp_path)
        assert [(op.kind.value, op.path, op.size) for op in trace.ops] == [
            ("truncate", "a", 0),
            ("truncate", "b", 3),
            ("truncate", "c", 20),
        ]

    def test_safe_save(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"old")

        def work(disk: Path) -> None:
            with open(disk / "f.tmp", "wb") as file:
                file.write(b"new")
                file.flush()
                os.fsync(file.fileno())
            os.replace(disk / "f.tmp", disk / "f")
            folder = os.open(disk, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

        trace = self.run(work, tmp_path)
        assert steps(trace) == [
            ("create", "f.tmp"),
            ("write", "f.tmp"),
            ("fsync", "f.tmp"),
            ("rename", "f"),
            ("fsync", "."),
        ]
        renamed = trace.ops[3]
        assert (renamed.path, renamed.name, renamed.to_name) == ("f.tmp", "f.tmp", "f")
        assert renamed.victim == trace.initial[1].node

    def test_a_replace_of_a_name_by_another_of_the_same_file_is_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a").touch()
        os.link(tmp_path / "a", tmp_path / "b")
        assert steps(self.run(lambda disk: os.rename(disk / "a", disk / "b"), tmp_path)) == []

    def test_unlink_while_open(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            with open(disk / "f", "wb", buffering=0) as file:
                os.unlink(disk / "f")
                file.write(b"x")
                os.fsync(file)

        trace = self.run(work, tmp_path)
        assert steps(trace) == [("create", "f"), ("unlink", "f"), ("write", ""), ("fsync", "")]
        assert len({op.node for op in trace.ops}) == 1

    def test_a_name_used_again_is_another_node(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            for text in ("one", "two"):
                (disk / "f").write_text(text)
                (disk / "f").unlink()

        trace = self.run(work, tmp_path)
        assert steps(trace) == [("create", "f"), ("write", "f"), ("unlink", "f")] * 2
        assert len({op.node for op in trace.ops}) == 2

    def test_directories(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            os.makedirs(disk / "a" / "b" / "c", exist_ok=True)
            (disk / "a" / "b" / "f").touch()
            os.rename(disk / "a", disk / "z")
            (disk / "z" / "b" / "f").write_text("x")
            os.rmdir(disk / "z" / "b" / "c")
            shutil.rmtree(disk / "z")

        trace = self.run(work, tmp_path)
        assert steps(trace) == [
            ("mkdir", "a"),
            ("mkdir", "a/b"),
            ("mkdir", "a/b/c"),
            ("create", "a/b/f"),
            ("rename", "z"),
            ("write", "z/b/f"),
            ("rmdir", "z/b/c"),
            ("unlink", "z/b/f"),
            ("rmdir", "z/b"),
            ("rmdir", "z"),
        ]

    def test_links(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_text("x")

        def work(disk: Path) -> None:
            os.link(disk / "f", disk / "g")
            os.symlink("g", disk / "s")
            with open(disk / "s", "a") as file:
                file.write("y")
            os.unlink(disk / "f")

        trace = self.run(work, tmp_path)
        assert [op.kind.value for op in trace.ops] == ["link", "symlink", "write", "unlink"]
        assert trace.ops[0].node == trace.ops[2].node == trace.ops[3].node
        assert trace.ops[1].target == "g"

    def test_a_file_made_through_a_dangling_symbolic_link(self, tmp_path: Path) -> None:
        (tmp_path / "s").symlink_to("real")
        trace = self.run(lambda disk: (disk / "s").write_text("x"), tmp_path)
        assert steps(trace) == [("create", "real"), ("write", "real")]

    def test_modes(self, tmp_path: Path) -> None:
        (tmp_path / "f").touch()

        def work(disk: Path) -> None:
            os.umask(0o027)
            os.chmod(disk / "f", 0o600)
            os.close(os.open(disk / "g", os.O_CREAT | os.O_WRONLY, 0o666))
            os.mkdir(disk / "d")

        trace = self.run(work, tmp_path)
        assert [(op.kind.value, op.path, op.mode) for op in trace.ops] == [
            ("chmod", "f", 0o600),
            ("create", "g", 0o640),
            ("mkdir", "d", 0o750),
        ]

    def test_descriptor_calls(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            fd = os.open(disk / "f", os.O_RDWR | os.O_CREAT, 0o600)
            os.write(fd, b"0123")
            os.lseek(fd, 1, os.SEEK_SET)
            copy = os.dup(fd)
            os.writev(copy, [b"a", b"b"])
            os.pwrite(fd, b"z", 10)
            os.ftruncate(fd, 12)
            os.fdatasync(copy)
            os.fchmod(fd, 0o644)

        trace = self.run(work, tmp_path)
        writes = [(op.offset, op.data) for op in trace.ops if op.kind is Kind.WRITE]
        assert writes == [(0, b"0123"), (1, b"ab"), (10, b"z")]
        assert [op.kind.value for op in trace.ops[4:]] == ["truncate", "fdatasync", "chmod"]

    def test_a_positioned_write_to_a_file_opened_for_appending(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"0123456789")

        def work(disk: Path) -> None:
            fd = os.open(disk / "f", os.O_RDWR | os.O_APPEND)
            os.pwrite(fd, b"abc", 2)

        self.run(work, tmp_path)  # systems differ in where the bytes go; the trace must agree with the file

    def test_paths_relative_to_a_directory_descriptor(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            os.mkdir(disk / "d")
            folder = os.open(disk / "d", os.O_RDONLY)
            os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
            os.rename("f", "g", src_dir_fd=folder, dst_dir_fd=folder)
            os.unlink("g", dir_fd=folder)

        assert steps(self.run(work, tmp_path)) == [
            ("mkdir", "d"),
            ("create", "d/f"),
            ("rename", "d/g"),
            ("unlink", "d/g"),
        ]

    @pytest.mark.parametrize(("flags", "sync"), [(os.O_DSYNC, Sync.DATA), (os.O_SYNC, Sync.ALL), (0, Sync.NONE)])
    def test_synchronous_writes(self, tmp_path: Path, flags: int, sync: Sync) -> None:
        def work(disk: Path) -> None:
            fd = os.open(disk / "f", os.O_WRONLY | os.O_CREAT | flags)
            os.write(fd, b"x")

        trace = self.run(work, tmp_path)
        assert trace.ops[1].sync is sync

    def test_a_call_that_fails_is_no_operation(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            calls: list[Callable[[], object]] = [
                lambda: os.unlink(disk / "none"),
                lambda: os.rename(disk / "none", disk / "other"),
                lambda: os.mkdir(disk / "none" / "below"),
                lambda: os.rmdir(disk / "none"),
                (disk / "none" / "f").touch,
            ]
            for call in calls:
                with pytest.raises(FileNotFoundError):
                    call()

        assert self.run(work, tmp_path).ops == ()

    def test_copies(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(b"0123456789" * 10_000)

        def work(disk: Path) -> None:
            shutil.copy(disk / "f", disk / "g")
            shutil.copytree(disk, disk.parent / (disk.name + "-copy"))
            shutil.move(disk / "g", disk / "h")

        trace = self.run(work, tmp_path)
        assert steps(trace) == [("create", "g"), ("write", "g"), ("chmod", "g"), ("rename", "h")]

    def test_temporary_files(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            with tempfile.NamedTemporaryFile("w", dir=disk, prefix="t", delete=False) as file:
                file.write("x")
            os.replace(file.name, disk / "f")
            with tempfile.TemporaryDirectory(dir=disk) as folder:
                Path(folder, "inner").write_text("y")
            with tempfile.SpooledTemporaryFile() as spooled:
                spooled.write(b"z")

        trace = self.run(work, tmp_path)
        kinds = [op.kind.value for op in trace.ops]
        assert kinds == ["create", "write", "rename", "mkdir", "create", "write", "unlink", "rmdir"]

    def test_a_file_moved_in_from_outside_brings_its_content(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        (disk / "f").write_text("old")
        (tmp_path / "new").write_text("new")
        trace = self.run(lambda folder: os.replace(tmp_path / "new", folder / "f"), disk)
        assert [op.kind for op in trace.ops if op.kind is not Kind.FSYNC] == [Kind.CREATE, Kind.WRITE, Kind.LINK]
        assert trace.ops[-1].victim == trace.initial[1].node

    def test_a_file_moved_out_is_gone(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        (disk / "f").write_text("x")
        assert steps(self.run(lambda folder: os.rename(folder / "f", tmp_path / "f"), disk)) == [("unlink", "f")]

    def test_pathlib(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            (disk / "d").mkdir()
            (disk / "d" / "f").write_bytes(b"x")
            (disk / "d" / "f").rename(disk / "g")
            (disk / "g").replace(disk / "h")
            (disk / "h").chmod(0o600)
            (disk / "s").symlink_to("h")
            (disk / "t").touch()
            (disk / "t").unlink()
            (disk / "d").rmdir()

        assert steps(self.run(work, tmp_path)) == [
            ("mkdir", "d"),
            ("create", "d/f"),
            ("write", "d/f"),
            ("rename", "g"),
            ("rename", "h"),
            ("chmod", "h"),
            ("symlink", "s"),
            ("create", "t"),
            ("unlink", "t"),
            ("rmdir", "d"),
        ]

    def test_threads_are_told_apart_and_nothing_is_lost(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            def write(number: int) -> None:
                with open(disk / f"f{number}", "wb", buffering=0) as file:
                    for count in range(20):
                        file.write(b"%d" % count)

            threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        trace = self.run(work, tmp_path)
        for number in range(3):
            mine = [op for op in trace.ops if op.path == f"f{number}"]
            assert [op.data for op in mine[1:]] == [b"%d" % count for count in range(20)]
            assert len({op.thread for op in mine}) == 1
        assert {op.process for op in trace.ops} == {0}

    def test_a_forked_child_shares_the_offset_and_is_a_process_of_its_own(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            with open(disk / "f", "wb", buffering=0) as file:
                file.write(b"parent")
                pid = os.fork()
                if pid == 0:
                    file.write(b"child")
                    os._exit(0)
                os.waitpid(pid, 0)
                file.write(b"again")

        trace = self.run(work, tmp_path)
        assert [(op.process, op.offset) for op in trace.ops[1:]] == [(0, 0), (1, 6), (0, 11)]

    def test_a_python_subprocess_is_followed(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            (disk / "parent").touch()
            code = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text('x')"
            subprocess.run([sys.executable, "-c", code, str(disk / "f")], check=True)

        trace = self.run(work, tmp_path)
        assert steps(trace) == [("create", "parent"), ("create", "f"), ("write", "f")]
        assert [op.process for op in trace.ops] == [0, 1, 1]

    def test_a_command_is_followed(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", "import os; os.mkdir('d'); open('d/f', 'w').write('x')"]
        trace = self.record(command, tmp_path, RecordOptions(cwd=str(tmp_path)))
        prove(trace, str(tmp_path))
        assert steps(trace) == [("mkdir", "d"), ("create", "d/f"), ("write", "d/f")]
        assert sys.executable in trace.command

    def test_acknowledgements_stand_between_the_operations(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            for number in range(3):
                (disk / f"f{number}").touch()
                ack(number)

        trace = self.run(work, tmp_path)
        assert [(each.after, each.value) for each in trace.acks] == [(1, "0"), (2, "1"), (3, "2")]

    def test_acknowledgements_work_after_all_descriptors_were_closed(self, tmp_path: Path) -> None:
        def work(disk: Path) -> None:
            os.closerange(3, 4096)
            (disk / "f").write_text("x")
            ack({"a": 1})

        trace = self.run(work, tmp_path)
        assert steps(trace) == [("create", "f"), ("write", "f")]
        assert [each.after for each in trace.acks] == [2]

    def test_operations_name_their_source_lines(self, tmp_path: Path) -> None:
        def save(disk: Path) -> None:
            (disk / "f").write_text("x")

        trace = self.run(save, tmp_path)
        for op in trace.ops:
            mine = [frame for frame in op.source if frame.file == __file__]
            assert [frame.function for frame in mine][:2] == ["save", "<lambda>"]
            assert mine[0].line == save.__code__.co_firstlineno + 1

    def test_source_lines_can_be_left_out(self, tmp_path: Path) -> None:
        trace = self.run(lambda disk: (disk / "f").touch(), tmp_path, sources=False)
        assert [op.source for op in trace.ops] == [()]

    def test_excluded_files_are_not_there(self, tmp_path: Path) -> None:
        (tmp_path / "old.log").write_text("x")

        def work(disk: Path) -> None:
            (disk / "a.log").write_text("x")
            (disk / "f").write_text("x")
            (disk / "old.log").unlink()

        trace = self.run(work, tmp_path, exclude=("*.log",))
        assert [node.names for node in trace.initial] == [()]
        assert steps(trace) == [("create", "f"), ("write", "f")]

    def test_writes_outside_are_counted_and_not_recorded(self, tmp_path: Path) -> None:
        disk = tmp_path / "disk"
        disk.mkdir()
        trace = self.run(lambda _: (tmp_path / "other").write_text("x"), disk)
        assert trace.ops == ()
        assert trace.outside == 1

    def test_a_failing_program_and_a_killed_one_say_so(self, tmp_path: Path) -> None:
        def exits() -> None:
            (tmp_path / "f").write_text("x")
            sys.exit(3)

        def killed() -> None:
            (tmp_path / "g").write_text("x")
            os.kill(os.getpid(), 9)

        assert self.record(exits, tmp_path, RecordOptions()).exit_code == 3
        trace = self.record(killed, tmp_path, RecordOptions())
        assert trace.exit_code == -9
        assert steps(trace) == [("create", "g"), ("write", "g")]

    def test_a_program_that_does_not_end_is_killed_at_its_deadline(self, tmp_path: Path) -> None:
        def hangs() -> None:
            (tmp_path / "f").touch()
            threading.Event().wait()

        trace = self.record(hangs, tmp_path, RecordOptions(deadline_s=0.5))
        assert trace.exit_code == -9
        assert steps(trace) == [("create", "f")]
        assert any("deadline" in note for note in trace.notes)

    def test_names_that_are_not_utf8(self, tmp_path: Path) -> None:
        name = os.fsdecode(b"caf\xe9")
        trace = self.run(lambda disk: (disk / name).write_text("x"), tmp_path)
        assert steps(trace) == [("create", name), ("write", name)]

    def test_what_a_c_extension_writes_is_recorded_or_not_measured(self, tmp_path: Path) -> None:
        def work() -> None:
            import sqlite3  # noqa: PLC0415 - as a target would

            connection = sqlite3.connect(tmp_path / "db")
            with connection:
                connection.execute("create table t (x)")
            connection.close()

        trace = self.record(work, tmp_path, RecordOptions())
        prove(trace, str(tmp_path))
        recorded = {op.path for op in trace.ops if op.kind is Kind.WRITE}
        assert "db" in recorded | {entry.path for entry in trace.unmeasured}

    def test_stores_through_a_mapping_are_recorded_or_not_measured(self, tmp_path: Path) -> None:
        (tmp_path / "f").write_bytes(bytes(4096))

        def work() -> None:
            import mmap  # noqa: PLC0415 - as a target would

            with open(tmp_path / "f", "r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
                mapped[0] = 1
            os.truncate(tmp_path / "f", 0)

        trace = self.record(work, tmp_path, RecordOptions())
        prove(trace, str(tmp_path))
        assert any(op.kind is Kind.WRITE for op in trace.ops) or [entry.path for entry in trace.unmeasured] == ["f"]
