"""The target's end alone: that a target can't tell, by ordinary means, that it is there."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from types import FrameType

import pytest

from chaos.child import frames
from chaos.trace.sources import INJECT_FOLDER, SourceLines
from tests.trace.conversation import running, wait_until


def run(code: str, *, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **(env or {})}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.strip()


def injected(tmp_path: Path | None = None) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([INJECT_FOLDER, *([str(tmp_path)] if tmp_path else [])])}


def test_without_an_address_nothing_is_started_and_nothing_loaded() -> None:
    code = "import sys, os; print('_chaos_frames' in sys.modules, len(os.listdir('/proc/self/task')))"
    assert run(code, env=injected()) == "False 1"


def test_without_a_supervisor_the_target_goes_on() -> None:
    code = "import os; print(len(os.listdir('/proc/self/task')))"
    assert run(code, env={**injected(), "CHAOS_FRAMES": "@nobody-listens-here"}) == "1"


def test_the_shadowed_sitecustomize_runs_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import builtins\nbuiltins.SEEN = __file__\nvalue = 7\n")
    code = "import sitecustomize; print(sitecustomize.value, SEEN)"
    assert run(code, env=injected(tmp_path)) == f"7 {tmp_path / 'sitecustomize.py'}"


def test_an_import_error_of_the_shadowed_sitecustomize_is_not_swallowed(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import no_such_module_at_all\n")
    done = subprocess.run(
        [sys.executable, "-c", "pass"],
        env={**os.environ, **injected(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "no_such_module_at_all" in done.stderr


def test_the_search_path_is_as_without_us(tmp_path: Path) -> None:
    code = "import sys; print(sys.path)"
    assert run(code, env=injected(tmp_path)) == run(code, env={"PYTHONPATH": str(tmp_path)})


def test_a_package_called_chaos_of_the_targets_own_is_the_one_it_gets(tmp_path: Path) -> None:
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos" / "__init__.py").write_text("mine = True\n")
    with running(
        "os.chdir('/'); import chaos; print(chaos.mine, flush=True)", env={"PYTHONPATH": str(tmp_path)}
    ) as target:
        assert target.read_line() == "True"


def test_threading_and_socket_are_not_loaded_by_us_and_see_no_thread() -> None:
    code = """
        import sys
        print({"threading", "socket", "signal", "chaos"} & set(sys.modules))
        import threading
        print(threading.active_count(), threading.current_thread() is threading.main_thread(), flush=True)
        os.read(gate, 1)
    """
    with running(code, "-S") as target:
        without_us = target.read_line()
    with running(code) as target:
        assert target.read_line() in {without_us, "set()"}
        assert target.read_line() == "1 True"
        assert target.ask()


def test_signals_reach_the_main_thread() -> None:
    with running("""
        import signal
        signal.signal(signal.SIGUSR1, lambda *_: print("seen", flush=True))
        print(flush=True)
        os.read(gate, 1)
    """) as target:
        target.read_line()
        assert target.ask()
        helper = next(int(t) for t in os.listdir(f"/proc/{target.pid}/task") if int(t) != target.pid)
        status = Path(f"/proc/{target.pid}/task/{helper}/status").read_text()
        blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
        assert blocked & (1 << 9)  # SIGUSR1 is number 10
        os.kill(target.pid, 10)
        assert target.read_line() == "seen"


def test_the_main_threads_signal_mask_is_as_before() -> None:
    with running("import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []), flush=True)") as target:
        assert target.read_line() == "set()"


def test_the_process_ends_at_once_and_without_noise_while_being_asked() -> None:
    with running("""
        import atexit, sys
        class Late:
            def __del__(self, read=os.read, gate=gate):
                read(gate, 1)
        kept = Late()
        atexit.register(lambda: os.read(gate, 1))
        sys.kept = kept
        print(flush=True)
    """) as target:
        target.read_line()
        assert target.ask()
        target.let_go()
        wait_until(lambda: target.ask() == (), "it is past the point where threads run")
        assert target.end() == (0, "")


def test_a_call_without_any_python_frame_has_no_lines_and_spoils_nothing() -> None:
    with running("""
        import atexit
        atexit.register(lambda: os.read(gate, 1))
        atexit.register(os.read, gate, 1)
        print(flush=True)
    """) as target:
        target.read_line()
        wait_until(lambda: target.ask() == (), "the interpreter is at its end")
        target.let_go()
        wait_until(lambda: [frame.function for frame in target.ask()] == ["<lambda>"], "a frame again")


def test_start_is_idempotent_also_beside_the_injected_copy() -> None:
    root = str(Path(INJECT_FOLDER).parents[2])
    with running(
        """
        from chaos.child import frames
        print(frames.start(), frames.start(), len(os.listdir("/proc/self/task")), flush=True)
    """,
        env={"PYTHONPATH": root},
    ) as target:
        assert target.read_line() == "True True 2"


def test_start_with_another_address_changes_over() -> None:
    root = str(Path(INJECT_FOLDER).parents[2])
    other = SourceLines()
    try:
        with running(
            f"""
            from chaos.child import frames
            print(frames.start({other.address!r}), len(os.listdir("/proc/self/task")), flush=True)
            os.read(gate, 1)
        """,
            env={"PYTHONPATH": root},
        ) as target:
            assert target.read_line() == "True 2"
            assert target.ask() == ()
            assert other.start(target.pid, target.pid)
            assert [frame.function for frame in other.finish()] == ["<module>"]
    finally:
        other.close()


def test_the_collector_does_not_run_while_frames_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def note() -> dict[int, FrameType]:
        seen.append(gc.isenabled())
        return {}

    monkeypatch.setattr(sys, "_current_frames", note)
    frames._frames_of_threads()
    assert (seen, gc.isenabled()) == ([False], True)
