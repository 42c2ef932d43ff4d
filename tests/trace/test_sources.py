"""Source lines: the supervisor's end and the target's end together, without a supervisor."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.trace.sources import SourceLines
from tests.trace.conversation import functions, running, wait_until


def test_a_blocked_main_thread_tells_its_frames_innermost_first() -> None:
    with running("""
        def save():
            write_out()
        def write_out():
            os.read(gate, 1)
        print(flush=True)
        save()
    """) as target:
        target.read_line()
        frames = target.ask()
    assert functions(frames) == ["write_out", "save", "<module>"]
    assert [frame.line for frame in frames] == [7, 5, 9]
    assert {frame.file for frame in frames} == {"<string>"}


def test_asking_twice_gives_the_identical_objects() -> None:
    with running("print(flush=True)\nos.read(gate, 1)") as target:
        target.read_line()
        first, second = target.ask(), target.ask()
    assert first is second
    assert first


def test_no_more_frames_than_the_depth_are_told() -> None:
    with running("""
        def down(n):
            return down(n - 1) if n else os.read(gate, 1)
        print(flush=True)
        down(100)
    """) as target:
        target.read_line()
        assert functions(target.ask()) == ["down"] * 24


@pytest.mark.parametrize("starter", ["threading", "_thread"])
def test_the_asked_thread_is_told_not_another(starter: str) -> None:
    start = (
        "threading.Thread(target=f, daemon=True).start()"
        if starter == "threading"
        else "_thread.start_new_thread(f, ())"
    )
    with running(f"""
        import _thread, threading
        def first():
            os.write(1, b"%d\\n" % threading.get_native_id())
            os.read(gate, 1)
        def second():
            os.write(1, b"%d\\n" % threading.get_native_id())
            os.read(gate, 1)
        for f in (first, second):
            {start}
        os.read(gate, 1)
    """) as target:
        tids = [int(target.read_line()), int(target.read_line())]
        told = [functions(target.ask(tid))[0] for tid in tids]
        assert functions(target.ask()) == ["<module>"]
    assert sorted(told) == ["first", "second"]


def test_each_of_many_threads_without_a_threading_object_is_told_again_and_again() -> None:
    with running("""
        import _thread
        def wait(name):
            body = f"os.write(1, b'%d {name}\\\\n' % _thread.get_native_id()); os.read(gate, 1)"
            exec(f"def {name}():\\n    {body}\\n{name}()")
        for number in range(4):
            _thread.start_new_thread(wait, (f"worker{number}",))
        os.read(gate, 1)
    """) as target:
        words = " ".join(target.read_line() for _ in range(4)).split()
        named = {int(tid): name for tid, name in zip(words[::2], words[1::2], strict=True)}
        for _ in range(2):
            assert {tid: target.ask(tid)[0].function for tid in named} == named


def test_a_thread_that_runs_no_python_has_no_lines() -> None:
    with running("""
        import ctypes
        libc = ctypes.CDLL(None)
        thread = ctypes.c_ulong()
        # pause() as a thread's function: a thread that the interpreter never hears of
        libc.pthread_create(ctypes.byref(thread), None, libc.pause, None)
        print(*(tid for tid in os.listdir("/proc/self/task")), flush=True)
        os.read(gate, 1)
    """) as target:
        tids = {int(word) for word in target.read_line().split()} - {target.pid}
        assert len(tids) == 2  # ours and the one in C
        assert [target.ask(tid) for tid in tids] == [(), ()]
        assert functions(target.ask()) == ["<module>"]


def test_a_forked_child_and_its_parent_both_tell() -> None:
    with running("""
        def in_child():
            os.read(gate, 1)
        pid = os.fork()
        if pid == 0:
            in_child()
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
    """) as target:
        child = int(target.read_line())
        wait_until(lambda: functions(target.ask(child, child))[:1] == ["in_child"], "the child tells")
        assert functions(target.ask()) == ["<module>"]


def test_forking_does_not_make_python_warn_of_threads() -> None:
    with running(
        """
        for _ in range(5):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
    """,
        "-W",
        "error",
    ) as target:
        assert target.end() == (0, "")


def test_a_thread_tells_also_while_another_thread_forks() -> None:
    with running("""
        import threading
        def work():
            print(threading.get_native_id(), flush=True)
            os.read(gate, 1)
        threading.Thread(target=work, daemon=True).start()
        import warnings
        warnings.simplefilter("ignore")
        while True:
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
    """) as target:
        tid = int(target.read_line())
        # On a busy machine an answer may be given up for want of a processor; it is never wrong, and not all are lost.
        answers = [functions(target.ask(tid))[:1] for _ in range(50)]
        assert ["work"] in answers
        assert all(answer in ([], ["work"]) for answer in answers)


def test_a_forked_child_does_not_keep_its_parents_connection() -> None:
    with running("""
        if os.fork() == 0:
            high = [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 100]
            print(*(os.readlink(f"/proc/self/fd/{fd}") for fd in high), flush=True)
            os._exit(0)
        os.wait()
    """) as target:
        links = [word for word in target.read_line().split() if word.startswith("socket")]
        assert len(links) == 1


def test_a_python_subprocess_tells_by_injection() -> None:
    with running("""
        import subprocess, sys
        code = "import os\\ndef deep():\\n    os.read(int(os.environ['GATE']), 1)\\ndeep()"
        child = subprocess.Popen([sys.executable, "-c", code], pass_fds=[gate])
        print(child.pid, flush=True)
        child.wait()
    """) as target:
        child = int(target.read_line())
        wait_until(lambda: functions(target.ask(child, child)) == ["deep", "<module>"], "the subprocess tells")


def test_a_program_that_replaces_itself_by_python_tells_anew() -> None:
    with running("""
        import sys
        print(flush=True)
        os.read(gate, 1)
        code = "import os\\ndef after():\\n    os.read(int(os.environ['GATE']), 1)\\nprint(flush=True)\\nafter()"
        os.execv(sys.executable, [sys.executable, "-c", code])
    """) as target:
        target.read_line()
        assert functions(target.ask()) == ["<module>"]
        target.let_go()
        target.read_line()
        assert functions(target.ask()) == ["after", "<module>"]


def test_a_program_that_replaces_itself_by_another_gives_no_lines_and_inherits_nothing() -> None:
    shell = shutil.which("sh")
    assert shell
    with running(f"""
        print(flush=True)
        os.read(gate, 1)
        os.dup2(gate, 0)
        os.execv({shell!r}, ["sh", "-c", "ls -l /proc/$$/fd | grep -c socket; read line"])
    """) as target:
        target.read_line()
        assert target.ask()
        target.let_go()
        assert target.read_line() == "0"
        assert target.ask() == ()


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_an_isolated_interpreter_runs_without_lines(option: str) -> None:
    with running("print(flush=True)\nos.read(gate, 1)", option) as target:
        target.read_line()
        assert target.ask() == ()
        assert target.end() == (0, "")


def test_a_target_that_closes_all_descriptors_goes_on_without_lines() -> None:
    with running("""
        os.dup2(gate, 0); os.closerange(3, 4096)
        print(flush=True)
        os.read(0, 1)
        os.read(0, 1)
    """) as target:
        target.read_line()
        assert target.ask() == ()
        assert target.ask() == ()
        assert target.end() == (0, "")


def test_nothing_is_sent_to_or_taken_from_a_socket_that_took_our_number() -> None:
    with running("""
        import socket
        number = max(int(fd) for fd in os.listdir("/proc/self/fd") if int(fd) < 1024 and int(fd) > 100)
        a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.dup2(a.fileno(), number)
        print(flush=True)
        os.read(gate, 1)
        b.setblocking(False)
        b.send(b"for the target")
        try:
            print("stolen", b.recv(100))
        except BlockingIOError:
            print(os.read(number, 100))
    """) as target:
        target.read_line()
        assert target.ask() == ()
        target.let_go()
        assert target.read_line() == "b'for the target'"


def test_descriptor_numbers_are_as_without_us() -> None:
    with running("print(os.open('/', os.O_RDONLY), flush=True)") as target:
        with_us = target.read_line()
        gate = int(
            subprocess.run(
                [sys.executable, "-c", "import os; print(os.open('/', os.O_RDONLY))"],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout
        )
        # The gate's descriptor is passed to ours only; it has a number above the first free one or takes it.
        assert int(with_us) in {gate, gate + 1}


def test_c_code_that_keeps_the_lock_costs_little_and_gives_no_lines() -> None:
    with running("""
        import ctypes
        held = ctypes.PyDLL(None)
        buffer = ctypes.create_string_buffer(1)
        print(flush=True)
        while held.read(gate, buffer, 1) == 1:
            pass
    """) as target:
        target.read_line()
        assert target.ask() == ()
        began = time.process_time(), time.monotonic()
        for _ in range(500):
            assert target.ask() == ()
        assert time.monotonic() - began[1] < 10  # not the time itself: that no call waits for a deadline
        target.let_go()
        assert target.ask() == ()


def test_lines_come_back_once_the_lock_is_free_again() -> None:
    with running("""
        import ctypes
        held = ctypes.PyDLL(None)
        buffer = ctypes.create_string_buffer(1)
        print(flush=True)
        held.read(gate, buffer, 1)
        print(flush=True)
        os.read(gate, 1)
    """) as target:
        target.read_line()
        for _ in range(400):
            assert target.ask() == ()
        target.let_go()
        target.read_line()
        assert functions(target.ask()) == ["<module>"]


def test_another_thread_that_computes_only_delays_the_answer() -> None:
    with running("""
        import threading
        def spin():
            while True:
                pass
        threading.Thread(target=spin, daemon=True).start()
        print(flush=True)
        os.read(gate, 1)
    """) as target:
        target.read_line()
        for _ in range(5):
            assert functions(target.ask()) == ["<module>"]


def test_a_stopped_process_is_not_waited_for() -> None:
    with running("print(flush=True)\nos.read(gate, 1)") as target:
        target.read_line()
        assert target.ask()
        os.kill(target.pid, 19)
        wait_until(lambda: ") T" in Path(f"/proc/{target.pid}/stat").read_text(), "it is stopped")
        target.sources.start(target.pid, target.pid)
        assert target.sources.finish() == ()
        os.kill(target.pid, 18)


def test_file_names_that_are_not_text_are_told_as_python_has_them() -> None:
    with running("""
        code = compile("import os; os.read(gate, 1)", "caf\\udce9.py", "exec")
        print(flush=True)
        exec(code)
    """) as target:
        target.read_line()
        assert target.ask()[0].file == "caf\udce9.py"


def test_frames_of_the_harness_around_the_workload_are_left_out() -> None:
    folder = Path(__file__).resolve().parents[2] / "chaos" / "child"
    with running(f"""
        inner = {{"os": os, "gate": gate}}
        exec(compile("def work():\\n    os.read(gate, 1)", "work.py", "exec"), inner)
        code = compile("def call(work):\\n    work()", {str(folder / "run.py")!r}, "exec")
        exec(code)
        print(flush=True)
        call(inner["work"])
    """) as target:
        target.read_line()
        assert functions(target.ask()) == ["work"]


def test_connections_of_ended_processes_are_dropped() -> None:
    sources = SourceLines()
    try:
        env = {**os.environ, **sources.environment(os.environ)}
        loop = (
            "import os\nfor _ in range(150):\n    pid = os.fork()\n    if not pid: os._exit(0)\n    os.waitpid(pid, 0)"
        )
        before = len(os.listdir("/proc/self/fd"))
        subprocess.run([sys.executable, "-c", loop], env=env, check=True)
        sources.accept()
        assert len(os.listdir("/proc/self/fd")) <= before + 65
    finally:
        sources.close()


def test_a_process_that_is_not_ours_to_ask_gives_nothing() -> None:
    sources = SourceLines()
    try:
        assert not sources.start(os.getpid(), os.getpid())
        assert sources.finish() == ()
    finally:
        sources.close()


def test_the_targets_own_python_path_is_kept_behind_ours() -> None:
    sources = SourceLines()
    try:
        path = sources.environment({"PYTHONPATH": "/a:/b"})["PYTHONPATH"]
        assert path.split(":")[1:] == ["/a", "/b"]
    finally:
        sources.close()
