"""A stand-in for the supervisor: starts Python programs with a `SourceLines` and asks where their threads are."""

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos.trace.model import Frame
from chaos.trace.sources import SourceLines

DEADLINE_S = 20.0
FUTEX = {"x86_64": "202", "aarch64": "98"}.get(os.uname().machine, "")


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Poll until the condition holds."""
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"never happened: {what}"
        time.sleep(0.002)


class Target:
    """A running program that prints the native ids of the threads to ask for, then blocks in system calls.

    It is told to go on by a byte on `gate`, whose reading end it finds in `GATE`.
    """

    def __init__(self, sources: SourceLines, program: list[str], env: dict[str, str]) -> None:
        self.sources = sources
        gate, self.gate = os.pipe()
        self.process = subprocess.Popen(
            program,
            env={**env, "GATE": str(gate)},
            pass_fds=[gate],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(gate)
        self.pid = self.process.pid

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self, tid: int = 0, tgid: int = 0) -> tuple[Frame, ...]:
        """The frames of a thread that is blocked in the kernel (waited for), as the supervisor would get them."""
        tgid = tgid or self.pid
        tid = tid or tgid
        wait_until(lambda: blocked(tgid, tid), "the thread sleeps in a system call")
        return self.sources.finish() if self.sources.start(tid, tgid) else ()

    def let_go(self) -> None:
        os.write(self.gate, b"x")

    def end(self) -> tuple[int, str]:
        """Let it run to its end; exit code and standard error."""
        if self.gate >= 0:
            os.close(self.gate)
            self.gate = -1
        try:
            _, errors = self.process.communicate(timeout=DEADLINE_S)
        finally:
            self.process.kill()
            self.process.wait()
        return self.process.returncode, errors


def blocked(tgid: int, tid: int) -> bool:
    """Whether the thread sleeps in a system call other than a wait for the interpreter's lock."""
    try:
        state = Path(f"/proc/{tgid}/task/{tid}/stat").read_text().rpartition(") ")[2][0]
        call = Path(f"/proc/{tgid}/task/{tid}/syscall").read_text().split()[0]
    except OSError:
        return False
    return state == "S" and call not in {"running", FUTEX}


@contextmanager
def running(
    code: str, *options: str, env: dict[str, str] | None = None, python: str = sys.executable
) -> Iterator[Target]:
    """Run `code`, indented as the caller likes, with source lines."""
    sources = SourceLines()
    base = {**os.environ, **(env or {})}
    prelude = "import os\ngate = int(os.environ['GATE'])\n"
    program = [python, *options, "-c", prelude + textwrap.dedent(code)]
    target = Target(sources, program, {**base, **sources.environment(base)})
    try:
        yield target
    finally:
        target.process.kill()
        target.end()
        sources.close()


def functions(frames: tuple[Frame, ...]) -> list[str]:
    return [frame.function for frame in frames]
