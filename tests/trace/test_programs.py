"""Whole programs that this project did not write, and ways of starting processes."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from chaos.child.ack import ack
from chaos.child.run import TARGET_MISSING, argument_vector
from chaos.child.target import PythonTarget
from chaos.trace.model import Kind
from chaos.trace.recorder import RecordOptions
from tests.trace.replaying import kinds, measured, proven, writes

IN_FOLDER = "import os, sys; os.chdir(sys.argv[1]); "


def here(folder: Path, exclude: tuple[str, ...] = ()) -> RecordOptions:
    return RecordOptions(cwd=str(folder), sources=False, exclude=exclude)


def test_shell_with_redirection_and_rename(tmp_path: Path) -> None:
    trace = measured(["sh", "-c", "echo x > f && mv f g"], tmp_path, options=here(tmp_path))
    assert kinds(trace) == ["create", "write", "rename"]
    assert trace.ops[0].process == 0
    assert trace.ops[2].process == 1
    assert trace.command == "sh -c 'echo x > f && mv f g'"


def test_sqlite_with_its_rollback_journal(tmp_path: Path) -> None:
    def program() -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
            connection.execute("create table t (x)")
            for number in range(3):
                connection.execute("insert into t values (?)", ("y" * 1000 * number,))
                connection.commit()
                ack(number)

    trace = measured(program, tmp_path)
    assert [entry.value for entry in trace.acks] == ["0", "1", "2"]
    assert {op.path for op in trace.ops} == {"db", "db-journal", "."}
    assert "fdatasync" in kinds(trace) or "fsync" in kinds(trace)


def test_sqlite_with_a_write_ahead_log(tmp_path: Path) -> None:
    def program() -> None:
        with contextlib.closing(sqlite3.connect(tmp_path / "db")) as connection:
            connection.execute("pragma journal_mode=wal")
            connection.execute("create table t (x)")
            connection.execute("insert into t values (1)")
            connection.commit()
            (tmp_path / "seen").write_text(str(sorted(os.listdir(tmp_path))))

    trace = measured(program, tmp_path, options=here(tmp_path, ("*-shm",)))
    assert {op.path for op in trace.ops} >= {"db", "db-wal"}
    assert "db-shm" in (tmp_path / "seen").read_text()
    (tmp_path / "seen").unlink()
    for path in tmp_path.iterdir():
        path.unlink()
    assert "db-shm" in {op.path for op in measured(program, tmp_path).ops}


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_git_commit(tmp_path: Path) -> None:
    environment = dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "a@example.org")
    environment |= dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "A")
    environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    options = RecordOptions(cwd=str(tmp_path), env=environment, sources=False)
    line = "git init -q --template= -b main . && echo one > f && git add f && git commit -q -m one"
    trace = measured(["sh", "-c", line], tmp_path, options=options)
    renamed = {(op.path, op.to_path) for op in trace.ops if op.kind is Kind.RENAME}
    assert (".git/index.lock", ".git/index") in renamed
    assert (".git/refs/heads/main.lock", ".git/refs/heads/main") in renamed


def test_library_functions(tmp_path: Path) -> None:
    def program() -> None:
        with tempfile.NamedTemporaryFile(dir=tmp_path, delete=False) as file:
            file.write(b"temporary")
        os.replace(file.name, tmp_path / "kept")
        (tmp_path / "touched").touch()
        with tempfile.TemporaryDirectory(dir=tmp_path) as name:
            shutil.copytree(tmp_path, Path(name) / "copy", ignore=lambda *_: [Path(name).name])
            os.replace(Path(name) / "copy", tmp_path / "copied")
        with tempfile.TemporaryFile(dir=tmp_path) as nameless:
            nameless.write(b"x")
        shutil.move(tmp_path / "touched", tmp_path / "copied" / "moved")

    measured(program, tmp_path)
    assert sorted(path.name for path in (tmp_path / "copied").iterdir()) == ["kept", "moved", "touched"]


def test_several_processes_append_to_one_file(tmp_path: Path) -> None:
    def program() -> None:
        children = []
        for process in range(3):
            child = os.fork()
            if child == 0:
                fd = os.open(tmp_path / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
                for number in range(20):
                    os.write(fd, b"%d:%d\n" % (process, number))
                os._exit(0)
            children.append(child)
        for child in children:
            assert os.waitpid(child, 0)[1] == 0

    trace = measured(program, tmp_path)
    assert len(writes(trace)) == 60
    offsets = [offset for offset, _ in writes(trace)]
    assert offsets == [sum(len(data) for _, data in writes(trace)[:index]) for index in range(60)]
    assert len({op.process for op in trace.ops if op.kind is Kind.WRITE}) == 3


@pytest.mark.parametrize("close_fds", [True, False], ids=["vfork", "posix_spawn"])
def test_subprocesses_as_python_starts_them(tmp_path: Path, close_fds: bool) -> None:
    command = [sys.executable, "-S", "-c", "open('f', 'w').write('x')"]

    def program() -> None:
        os.chdir(tmp_path)
        for _ in range(2):
            subprocess.run(command, check=True, close_fds=close_fds)
        with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as cat:
            assert cat.communicate(b"through a pipe")[0] == b"through a pipe"

    trace = measured(program, tmp_path)
    assert kinds(trace) == ["create", "write", "truncate", "write"]
    assert [op.process for op in trace.ops] == sorted(op.process for op in trace.ops)


def runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0


FOUND = [path for minor in range(10, 14) if (path := shutil.which(f"python3.{minor}"))]
PYTHONS = [*filter(runs, FOUND)] or [sys.executable]


@pytest.mark.parametrize("python", PYTHONS, ids=os.path.basename)
def test_other_pythons_subprocesses(tmp_path: Path, python: str) -> None:
    line = "import subprocess; subprocess.run(['sh', '-c', 'echo x > f'], check=True)"
    trace = measured([python, "-c", line], tmp_path, options=here(tmp_path))
    assert kinds(trace) == ["create", "write"]


def test_a_file_opened_for_a_spawned_program(tmp_path: Path) -> None:
    """The open is made in the parent's memory by a child that then gets memory of its own."""

    def program() -> None:
        opening = [(os.POSIX_SPAWN_OPEN, 1, str(tmp_path / "f"), os.O_WRONLY | os.O_CREAT, 0o600)]
        child = os.posix_spawn("/bin/sh", ["sh", "-c", "echo spawned"], os.environ, file_actions=opening)
        assert os.waitpid(child, 0)[1] == 0

    assert writes(measured(program, tmp_path)) == [(0, b"spawned\n")]


def test_an_exec_in_place_keeps_the_process(tmp_path: Path) -> None:
    code = "import os; os.write(os.open('f', os.O_WRONLY | os.O_APPEND), b'after')"

    def program() -> None:
        os.chdir(tmp_path)
        (tmp_path / "f").write_bytes(b"before ")
        os.execv(sys.executable, [sys.executable, "-S", "-c", code])

    trace = measured(program, tmp_path)
    assert [(op.process, op.data) for op in trace.ops if op.data] == [(0, b"before "), (0, b"after")]


def test_an_exec_from_a_thread_keeps_the_process(tmp_path: Path) -> None:
    code = (
        "import os, threading\n"
        "def other():\n"
        "    os.write(os.open('f', os.O_WRONLY | os.O_CREAT), b'thread ')\n"
        "    os.execv('/bin/sh', ['sh', '-c', 'echo shell >> f'])\n"
        "threading.Thread(target=other).start()\n"
        "threading.Event().wait()\n"
    )
    trace = measured([sys.executable, "-S", "-c", code], tmp_path, options=here(tmp_path))
    assert [(op.process, op.data) for op in trace.ops if op.data] == [(0, b"thread "), (0, b"shell\n")]


def test_acknowledgements_of_python_and_of_a_shell(tmp_path: Path) -> None:
    def program() -> None:
        os.closerange(0, 1000)
        ack({"b": 1, "a": [float("inf")]})
        (tmp_path / "f").touch()
        ack("done")

    trace = measured(program, tmp_path)
    assert [(entry.after, entry.value) for entry in trace.acks] == [
        (0, '{"a":[{"$float":"inf"}],"b":1}'),
        (1, '"done"'),
    ]

    line = f"echo x > g; {sys.executable} -m chaos.child.ack 7; {sys.executable} -m chaos.child.ack word"
    trace = measured(["sh", "-c", line], tmp_path, options=RecordOptions(cwd=str(tmp_path), env=importable()))
    assert [(entry.after, entry.process, entry.value) for entry in trace.acks] == [(2, 1, "7"), (2, 2, '"word"')]


def importable() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}


def test_a_python_target_by_name(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "d").mkdir()
    (tmp_path / "code" / "saver.py").write_text(
        "class Saver:\n"
        "    @staticmethod\n"
        "    def work(disk, ack):\n"
        "        (disk / 'f').write_text('x')\n"
        "        ack(1)\n"
        "def setup(disk):\n"
        "    (disk / 's').write_text('x')\n"
    )
    options = RecordOptions(env=importable(), sources=False)

    def vector(ref: str, setup: bool = False) -> tuple[str, ...]:
        target = PythonTarget(ref=ref, search=(str(tmp_path / "code"),))
        return argument_vector(target, str(tmp_path / "d"), setup=setup)

    trace = measured(vector("saver:Saver.work"), tmp_path / "d", options=options)
    assert kinds(trace) == ["create", "write"]
    assert trace.acks[0].value == "1"
    assert [op.path for op in measured(vector("saver:setup", True), tmp_path / "d", options=options).ops] == ["s", "s"]
    assert proven(vector("saver:missing"), tmp_path / "d", options=options).exit_code == TARGET_MISSING
    assert proven(vector("nowhere:work"), tmp_path / "d", options=options).exit_code == TARGET_MISSING
