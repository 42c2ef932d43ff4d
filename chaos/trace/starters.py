"""The source line that started a program which is no Python: where the Python process above it waits for it.

`tar` knows no lines, but the thread that called `subprocess.run` stands in that call while `tar` works. So the nearest
ancestor that can say where it is gets asked, for the thread that has the program as its child. The answer counts only
when that thread is inside the module `subprocess`: one that has gone on says nothing of what it started. One answer is
kept for all calls of a process. Read `recorder.py` for who asks.
"""

import os
from typing import final

from chaos.syscalls.calls import Trap
from chaos.trace.lines import is_harness, is_own
from chaos.trace.model import Frame
from chaos.trace.sources import SourceLines

__all__ = ["Starters"]

_DEPTH = 16  # processes between: a shell in a script of a make is four


@final
class Starters:
    """Lines for every call: its own, else of who started its process. As `SourceLines`, to be asked and then told."""

    def __init__(self, sources: SourceLines) -> None:
        self._sources = sources
        self._known: dict[int, tuple[Frame, ...]] = {}
        self._own = self._asked = False

    def start(self, trap: Trap) -> None:
        """Ask for a held call."""
        process = trap.process
        self._asked = False
        self._own = self._sources.start(trap.thread, process.id)
        if self._own or process.number in self._known:
            return
        thread = _starting_thread(process.id, self._sources)
        if thread is not None:
            self._asked = self._sources.start(thread[1], thread[0])

    def finish(self, trap: Trap) -> tuple[Frame, ...]:
        """The frames of a call that was asked for last, innermost first; empty when they can't be had."""
        if self._own:
            return self._sources.finish()
        process = trap.process
        if self._asked:
            self._asked = False
            frames = _of_the_target(self._sources.finish())
            if any(map(_in_subprocess, frames)):
                self._known[process.number] = frames
        return self._known.get(process.number, ())


def _starting_thread(id_: int, sources: SourceLines) -> tuple[int, int] | None:
    """(process, thread) that started `id_` or the program that started it, and can say where it is."""
    for _ in range(_DEPTH):
        parent = _parent(id_)
        if parent <= 1:
            return None
        if sources.knows(parent):
            thread = _thread_with_child(parent, id_)
            return None if thread is None else (parent, thread)
        id_ = parent
    return None


def _parent(id_: int) -> int:
    try:
        with open(f"/proc/{id_}/stat", "rb") as file:
            return int(file.read().rpartition(b") ")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def _thread_with_child(id_: int, child: int) -> int | None:
    try:
        for thread in os.listdir(f"/proc/{id_}/task"):
            with open(f"/proc/{id_}/task/{thread}/children", encoding="ascii") as file:
                if str(child) in file.read().split():
                    return int(thread)
    except (OSError, ValueError):
        pass  # it is gone, or a kernel that tells no children
    return None


def _in_subprocess(frame: Frame) -> bool:
    return os.path.basename(frame.file) == "subprocess.py" and not is_own(frame)


def _of_the_target(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """The frames inside those of the harness, if the user's own are among them: it runs commands itself as well."""
    inside = []
    for frame in frames:
        if is_harness(frame):
            break
        inside.append(frame)
    return frames if any(map(is_own, inside)) else ()
