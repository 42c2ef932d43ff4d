"""How programs end, and that nothing of them is left."""

import atexit
import ctypes
import errno
import logging
import logging.handlers
import os
import resource
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chaos.child.guardian import descendants
from chaos.child.launch import install_filter
from chaos.errors import HarnessFault, UsageError
from chaos.syscalls import kernel
from chaos.syscalls.filter import build_filter, encode
from chaos.syscalls.launch import architecture
from chaos.syscalls.listener import Listener
from chaos.trace.model import Kind
from chaos.trace.recorder import RecordOptions, record
from tests.trace.replaying import kinds, measured, proven, writes
from tests.trace.test_data_calls import libc

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before, files = set(descendants(os.getpid())), len(os.listdir("/proc/self/fd"))
    yield
    assert set(descendants(os.getpid())) <= before
    assert len(os.listdir("/proc/self/fd")) <= files  # fewer, where rubbish of another test was collected meanwhile


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def quick(folder: Path, **settings: float) -> RecordOptions:
    return RecordOptions(cwd=str(folder), sources=False, **settings)  # type: ignore[arg-type]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("line", "expected"),
    [("exit 3", 3), ("kill -TERM $$", -signal.SIGTERM), ("true", 0), ("exec no-such-program", 127)],
)
def test_exit_codes_of_commands(tmp_path: Path, line: str, expected: int) -> None:
    assert proven(["sh", "-c", line], tmp_path, options=quick(tmp_path)).exit_code == expected


def exits_with(code: object) -> Callable[[], object]:
    return lambda: sys.exit(code)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (lambda: None, 0),
        (exits_with(None), 0),
        (exits_with(4), 4),
        (exits_with("a message"), 1),
        (lambda: 1 / 0, 1),
        (lambda: os._exit(9), 9),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), -9),
    ],
    ids=["returns", "exit", "exit 4", "message", "raises", "_exit", "killed"],
)
def test_exit_codes_of_callables(tmp_path: Path, program: Callable[[], object], expected: int) -> None:
    assert proven(program, tmp_path).exit_code == expected


def test_a_callable_waits_for_its_threads(tmp_path: Path) -> None:
    def program() -> None:
        release = threading.Event()

        def late() -> None:
            release.wait()
            (tmp_path / "f").write_bytes(b"late")

        threading.Thread(target=late).start()
        release.set()

    assert kinds(measured(program, tmp_path)) == ["create", "write"]


def test_a_callable_does_at_its_end_what_it_registered_and_not_what_the_harness_did(tmp_path: Path) -> None:
    def program() -> None:
        atexit.register((tmp_path / "f").write_bytes, b"at the end")

    atexit.register((tmp_path / "ours").touch)
    try:
        trace = measured(program, tmp_path)
    finally:
        atexit.unregister((tmp_path / "ours").touch)
    assert [(op.path, op.kind) for op in trace.ops] == [("f", Kind.CREATE), ("f", Kind.WRITE)]


def test_a_callable_ends_though_its_executor_was_never_shut_down(tmp_path: Path) -> None:
    kept = []

    def program() -> None:
        kept.append(ThreadPoolExecutor(1))
        kept[0].submit((tmp_path / "f").write_bytes, b"x").result()

    assert kinds(measured(program, tmp_path, options=RecordOptions(deadline_s=20))) == ["create", "write"]


def test_a_callable_flushes_at_its_end_the_log_handlers_that_it_made(tmp_path: Path) -> None:
    kept = []

    def program() -> None:
        kept.append(logging.handlers.MemoryHandler(10, target=logging.FileHandler(tmp_path / "f")))
        kept[0].handle(logging.makeLogRecord({"msg": "kept back", "levelno": logging.INFO}))

    target = logging.FileHandler(tmp_path / "ours")
    ours = logging.handlers.MemoryHandler(10, target=target)
    ours.handle(logging.makeLogRecord({"msg": "the harness's own", "levelno": logging.INFO}))
    try:
        trace = measured(program, tmp_path)
    finally:
        ours.close()
        target.close()
    assert writes(trace, "f") == [(0, b"kept back\n")]
    assert {op.path for op in trace.ops} == {"f"}


def test_a_program_that_writes_nothing(tmp_path: Path) -> None:
    trace = measured(["true"], tmp_path, options=quick(tmp_path))
    assert trace.ops == ()
    assert trace.initial[0].node == 0


def test_a_deadline_may_be_far_away(tmp_path: Path) -> None:
    assert measured(["true"], tmp_path, options=quick(tmp_path, deadline_s=1e9)).exit_code == 0


def test_a_missing_program_or_folder_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no-such-program"):
        record(["no-such-program"], tmp_path)
    with pytest.raises(UsageError, match="missing"):
        record(["true"], tmp_path / "missing")
    with pytest.raises(UsageError):
        record([], tmp_path)
    with pytest.raises(UsageError):
        RecordOptions(deadline_s=0)
    with pytest.raises(UsageError):
        RecordOptions(grace_s=-1)
    with pytest.raises(HarnessFault, match="no/such"):
        record(["true"], tmp_path, options=RecordOptions(cwd="no/such"))


def test_a_stuck_program_is_killed_at_its_deadline(tmp_path: Path) -> None:
    trace = proven(
        ["sh", "-c", "echo x > f; sleep 1000 & sleep 1000"], tmp_path, options=quick(tmp_path, deadline_s=0.3)
    )
    assert trace.exit_code == -signal.SIGKILL
    assert trace.notes == ("killed at its deadline of 0.3 s",)
    assert kinds(trace) == ["create", "write"]


def test_a_program_stuck_in_trapped_calls_is_killed_at_its_deadline(tmp_path: Path) -> None:
    line = "while :; do echo x > f; done"
    trace = proven(["sh", "-c", line], tmp_path, options=quick(tmp_path, deadline_s=0.2))
    assert trace.exit_code == -signal.SIGKILL
    assert "deadline" in trace.notes[0]


def test_what_outlives_the_main_process_is_recorded_within_its_grace(tmp_path: Path) -> None:
    line = "(sleep 0.05; echo late > f) & exit 0"
    trace = measured(["sh", "-c", line], tmp_path, options=quick(tmp_path, grace_s=5))
    assert kinds(trace) == ["create", "write"]
    assert trace.notes == ()


def test_what_outlives_its_grace_is_killed_and_noted(tmp_path: Path) -> None:
    def program() -> None:
        if os.fork() == 0:  # as a daemon does: a session of its own, its parent gone
            os.setsid()
            if os.fork() == 0:
                (tmp_path / "f").write_bytes(b"daemon")
                os.closerange(0, 1000)
                time.sleep(1000)
            os._exit(0)
        while not (tmp_path / "f").exists():
            pass

    began = time.monotonic()
    trace = proven(program, tmp_path, options=RecordOptions(grace_s=0.05, deadline_s=10, sources=False))
    assert time.monotonic() - began < 10
    assert trace.exit_code == 0
    assert "create" in kinds(trace)
    assert "killed 0.05 s after the main process had ended" in trace.notes[0]


def test_a_program_that_closes_every_descriptor(tmp_path: Path) -> None:
    def program() -> None:
        os.closerange(0, 4096)
        (tmp_path / "f").write_bytes(b"x")
        os._exit(0)

    assert kinds(measured(program, tmp_path)) == ["create", "write"]


def test_a_program_that_kills_its_own_group(tmp_path: Path) -> None:
    trace = proven(["sh", "-c", "echo x > f; kill -KILL 0"], tmp_path, options=quick(tmp_path))
    assert trace.exit_code == -signal.SIGKILL
    assert kinds(trace) == ["create", "write"]


@pytest.mark.parametrize("error", [errno.ESRCH, errno.EBADF], ids=["now", "before Linux 6.9"])
def test_a_process_without_its_first_thread_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def duplicate(pidfd: int, descriptor: int) -> int:
        try:
            return kernel.duplicate_descriptor(pidfd, descriptor)
        except OSError:
            raise OSError(error, os.strerror(error)) from None

    def program() -> None:
        main, fd = threading.get_native_id(), os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)

        def late() -> None:
            while Path(f"/proc/self/task/{main}/stat").read_text().rpartition(") ")[2][0] != "Z":
                pass
            os.write(fd, b"x")
            os._exit(0)

        threading.Thread(target=late).start()
        libc.pthread_exit(None)

    monkeypatch.setattr("chaos.syscalls.processes.duplicate_descriptor", duplicate)
    trace = record(program, tmp_path, options=RecordOptions(deadline_s=5, sources=False))
    assert "first thread" in trace.unmeasured[0].reason
    assert (tmp_path / "f").read_bytes() == b"x"  # let through


def test_io_uring_is_refused(tmp_path: Path) -> None:
    def program() -> None:
        assert libc.syscall(425, 8, ctypes.create_string_buffer(120)) == -1
        assert ctypes.get_errno() == 38

    measured(program, tmp_path)


def test_asynchronous_io_is_not_measured(tmp_path: Path) -> None:
    def program() -> None:
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT)
        context, data = ctypes.c_ulong(0), ctypes.create_string_buffer(b"async", 5)
        setup, submit = (206, 209) if os.uname().machine == "x86_64" else (0, 2)
        if libc.syscall(setup, 1, ctypes.byref(context)) < 0:
            os._exit(99)
        block = struct.pack("=QIIHhIQQqQII", 0, 0, 0, 1, 0, fd, ctypes.addressof(data), 5, 0, 0, 0, 0)
        holder = ctypes.create_string_buffer(block, len(block))
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(holder))
        assert libc.syscall(submit, context, ctypes.c_long(1), pointers) == 1

    trace = proven(program, tmp_path)
    if trace.exit_code == 99:
        pytest.skip("no asynchronous I/O here")
    assert [entry.path for entry in trace.unmeasured] == ["f"]


def test_another_root_folder_is_not_measured(tmp_path: Path) -> None:
    def program() -> None:
        libc.chroot(b"/")

    assert "chroot" in proven(program, tmp_path).unmeasured[0].reason


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the x32 convention is x86-64's")
def test_calls_of_another_convention_are_not_measured(tmp_path: Path) -> None:
    def program() -> None:
        libc.syscall(0x40000000 | 39)

    assert "another architecture" in proven(program, tmp_path).unmeasured[0].reason


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="i386 programs run on x86-64 only")
def test_programs_of_another_architecture_are_not_measured(tmp_path: Path) -> None:
    code = bytes.fromhex("b801000000 bb07000000 cd80")  # mov eax, 1 (exit); mov ebx, 7; int 0x80
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    fields = (2, 3, 1, 0x08048054, 52, 0, 0, 52, 32, 1, 0, 0, 0)
    header += struct.pack("<HHIIIIIHHHHHH", *fields)
    header += struct.pack("<IIIIIIII", 1, 0, 0x08048000, 0x08048000, 84 + len(code), 84 + len(code), 5, 4096)
    binary = tmp_path / "small"
    binary.write_bytes(header + code)
    binary.chmod(0o755)
    try:
        runs = subprocess.run([binary], check=False).returncode == 7
    except OSError:
        runs = False
    if not runs:
        pytest.skip("this kernel runs no i386 programs")
    trace = proven([str(binary)], tmp_path)
    assert trace.exit_code == 7
    assert "another architecture" in trace.unmeasured[0].reason


def test_a_listener_of_the_programs_own_is_refused_and_noted(tmp_path: Path) -> None:
    def program() -> None:
        with pytest.raises(OSError, match="busy"):
            install_filter(encode(build_filter(architecture())), architecture().name)

    assert "listener of its own" in measured(program, tmp_path).notes[0]


def test_signals_do_not_repeat_a_performed_call(tmp_path: Path) -> None:
    """A call that the supervisor performs must not be undone for its caller by a signal's arrival."""

    def program() -> None:
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        fd = os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for number in range(300):
            os.write(fd, b"%03d" % number)

    measured(program, tmp_path)
    assert (tmp_path / "f").read_bytes() == b"".join(b"%03d" % number for number in range(300))


SUPERVISOR = """
import os, signal, sys, threading, time
from chaos.trace.recorder import RecordOptions, record
folder = sys.argv[1]
def program():
    for _ in range(2):
        if os.fork() == 0:
            os.setsid()
    with open(folder + "/pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
    fd = os.open(folder + "/f", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    while True:
        try:
            os.write(fd, b"x")
        except OSError as error:
            os.utime(folder + "/pids", (error.errno, error.errno))  # a call that is never trapped
def hold():
    while not os.path.exists(folder + "/f"):
        time.sleep(0.001)
    holder = os.fork()  # as a worker of the harness: it has all of its descriptors
    if holder == 0:
        signal.pause()
    open(folder + "/../holder", "w").write(str(holder))
if "hold" in sys.argv:
    threading.Thread(target=hold).start()
record(program, folder, options=RecordOptions(sources=False))
"""


def start_supervisor(folder: Path, *more: str) -> tuple["subprocess.Popen[bytes]", list[int]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder), *more], env=environment)
    pids = folder / "pids"
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 4, "the target did not start")
    return process, [int(text) for text in pids.read_text().split()]


def test_a_killed_supervisor_takes_the_target_with_it_and_no_call_fails_meanwhile(tmp_path: Path) -> None:
    process, pids = start_supervisor(tmp_path)
    guardians = [child for child in descendants(process.pid) if child not in pids]
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(is_running, [*pids, *guardians])), "something outlived the supervisor")
    assert (tmp_path / "pids").stat().st_mtime > 1000, "a call failed"


def test_a_killed_supervisor_is_noticed_though_a_fork_of_it_lives_on(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    process, pids = start_supervisor(tmp_path / "d", "hold")
    holder = tmp_path / "holder"
    wait_until(lambda: holder.exists() and holder.read_text() != "", "the fork did not start")
    process.kill()
    process.wait()
    try:
        wait_until(lambda: not any(map(is_running, pids)), "something outlived the supervisor")
    finally:
        os.kill(int(holder.read_text()), signal.SIGKILL)


def test_a_killed_guardian_is_a_fault_and_nothing_is_left(tmp_path: Path) -> None:
    process, pids = start_supervisor(tmp_path)
    (guardian,) = [child for child in descendants(process.pid) if child not in pids]
    os.kill(guardian, signal.SIGKILL)
    assert process.wait() == 1
    wait_until(lambda: not any(map(is_running, pids)), "something outlived the guardian")


def test_a_target_dies_with_its_guardian_though_nobody_kills_it(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from chaos.trace.recorder import RecordOptions, record\n"
        "record(['sleep', '1000'], sys.argv[1], options=RecordOptions(sources=False))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=environment) as process:
        wait_until(lambda: len(descendants(process.pid)) == 2, "the target did not start")
        guardian, main = descendants(process.pid)
        wait_until(lambda: Path(f"/proc/{main}/comm").read_text() == "sleep\n", "the target did not start")
        process.send_signal(signal.SIGSTOP)
        os.kill(guardian, signal.SIGKILL)
        process.kill()
        wait_until(lambda: not is_running(main), "the target outlived its guardian")


def test_a_chain_of_forks_is_caught_up_with(tmp_path: Path) -> None:
    def program() -> None:
        while True:
            if os.fork():
                time.sleep(0.01)
                os._exit(0)

    trace = proven(program, tmp_path, options=RecordOptions(deadline_s=5, grace_s=0.05, sources=False))
    assert "killed 0.05 s after" in trace.notes[0]


def test_a_harness_that_ignores_its_childrens_ends_does_not_pass_that_on(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        options = RecordOptions(output=writer, sources=False)
        proven(["grep", "SigIgn", "/proc/self/status"], tmp_path, options=options)
        trace = proven(["sh", "-c", "exit 3"], tmp_path, options=quick(tmp_path))
    finally:
        signal.signal(signal.SIGCHLD, before)
    os.close(writer)
    with os.fdopen(reader) as file:
        assert not int(file.read().split()[1], 16) & 1 << signal.SIGCHLD - 1
    assert trace.exit_code == 3


def test_commands_get_the_signals_that_python_ignores(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    options = RecordOptions(output=writer, sources=False)
    proven(["grep", "SigIgn", "/proc/self/status"], tmp_path, options=options)
    os.close(writer)
    with os.fdopen(reader) as file:
        ignored = int(file.read().split()[1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


def test_standard_input_is_empty(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    kept = os.dup(0)
    os.dup2(reader, 0)
    try:
        assert proven(["cat"], tmp_path, options=quick(tmp_path, deadline_s=5)).exit_code == 0
    finally:
        os.dup2(kept, 0)
        for descriptor in (reader, writer, kept):
            os.close(descriptor)


def test_descriptors_of_ended_processes_are_given_back(tmp_path: Path) -> None:
    line = "for i in 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9; do sh -c 'echo x >> f'; done"
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 15, limits[1]))
    try:
        trace = measured(["sh", "-c", line], tmp_path, options=quick(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (tmp_path / "f").read_bytes() == b"x\n" * 20
    assert len({op.process for op in trace.ops}) == 20


def test_a_thread_number_that_is_given_away_means_the_new_process(tmp_path: Path) -> None:
    last = Path("/proc/sys/kernel/ns_last_pid")
    if not os.access(last, os.W_OK):
        pytest.skip("only root may choose process numbers")

    def program() -> None:
        for attempt in range(50):
            seen: list[int] = []
            folder = tmp_path / str(attempt)

            def make(folder: Path = folder, seen: list[int] = seen) -> None:
                folder.mkdir()
                seen.append(threading.get_native_id())

            thread = threading.Thread(target=make)
            thread.start()
            thread.join()
            while Path(f"/proc/self/task/{seen[0]}").exists():
                pass
            last.write_text(str(seen[0] - 1))
            child = os.fork()
            if child == 0:
                if os.getpid() == seen[0]:
                    (tmp_path / "reused").mkdir()
                os._exit(0)
            os.waitpid(child, 0)
            if child == seen[0]:
                return
        os._exit(99)

    trace = proven(program, tmp_path)
    if trace.exit_code == 99:
        pytest.skip("somebody else was always faster")
    # Children that came in vain make no traced call, so they have no number of their own.
    assert {op.process for op in trace.ops if op.path.isdigit()} == {0}
    assert [op.process for op in trace.ops if op.path == "reused"] == [1]


def test_a_caller_that_no_longer_waits_is_not_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listener, "is_valid", lambda *_: False)
    trace = proven(["sh", "-c", "echo x > f"], tmp_path, options=quick(tmp_path, deadline_s=0.2))
    assert (trace.ops, trace.exit_code) == ((), -signal.SIGKILL)


def test_an_interrupt_kills_all_and_is_raised_again(tmp_path: Path) -> None:
    def interrupt() -> None:
        wait_until((tmp_path / "f").exists, "the target did not start")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        record(["sh", "-c", "echo x > f; sleep 1000"], tmp_path, options=quick(tmp_path))
    thread.join()


def test_a_fault_of_the_supervisor_kills_all(tmp_path: Path) -> None:
    class Broken:
        def decide(self, call: object) -> object:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        record(["sh", "-c", "sleep 1000 & echo x > f"], tmp_path, options=quick(tmp_path), policy=Broken())  # type: ignore[arg-type]


def test_recording_in_another_thread_than_the_first(tmp_path: Path) -> None:
    found = []
    thread = threading.Thread(
        target=lambda: found.append(measured(["sh", "-c", "echo x > f"], tmp_path, options=quick(tmp_path)))
    )
    thread.start()
    thread.join()
    assert kinds(found[0]) == ["create", "write"]


def test_output_goes_where_it_is_sent(tmp_path: Path) -> None:
    with open(tmp_path / "out", "w+b") as file:
        (tmp_path / "d").mkdir()
        options = RecordOptions(output=file.fileno(), sources=False)
        measured(["sh", "-c", "echo out; echo err >&2"], tmp_path / "d", options=options)
        file.seek(0)
        assert file.read() == b"out\nerr\n"


def test_the_initial_tree_is_read_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir(0o700)
    (tmp_path / "b" / "f").write_bytes(b"old")
    os.link(tmp_path / "b" / "f", tmp_path / "a")
    (tmp_path / "s").symlink_to("b/f")
    os.mkfifo(tmp_path / "fifo")

    def program() -> None:
        (tmp_path / "a").write_bytes(b"new")

    initial = measured(program, tmp_path).initial
    assert [(n.node, n.type.value, n.data, n.target, n.names) for n in initial] == [
        (0, "directory", b"", "", ()),
        (1, "file", b"old", "", ((0, "a"), (2, "f"))),
        (2, "directory", b"", "", ((0, "b"),)),
        (3, "symlink", b"", "b/f", ((0, "s"),)),
    ]
    assert initial[2].mode == stat.S_IMODE((tmp_path / "b").stat().st_mode)


def test_failed_syncs_are_operations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No disk fails on demand here, so the supervisor's own fsync is made to."""

    def failing(_: int) -> None:
        raise OSError(5, "Input/output error")

    def program() -> None:
        monkeypatch.undo()
        with pytest.raises(OSError, match="Input/output"):
            os.fsync(os.open(tmp_path / "f", os.O_WRONLY | os.O_CREAT))

    monkeypatch.setattr(os, "fsync", failing)
    trace = measured(program, tmp_path)
    assert [(op.kind, op.errno) for op in trace.ops][1:] == [(Kind.FSYNC, 5)]
