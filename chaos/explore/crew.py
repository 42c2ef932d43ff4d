"""Gives work to several workers and hands back the answers in the order of the work.

The one place that waits. Whatever the number of workers and their speed, the sequence of answers is that of the
chunks. A worker that dies is replaced, and its chunk is done again state by state; the state that takes down a
worker that had nothing else to do is reported as such. Any other executor can take this class's place: all it needs
is `answered` and `close`. Read `exploration.py` next.
"""

import contextlib
import os
import select
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, final

from chaos.errors import HarnessFault, UsageError, refused_target
from chaos.explore.hiring import EXPLORER, Hired, Trade, hire
from chaos.explore.messages import Inbox, packed
from chaos.explore.places import remove
from chaos.explore.roots import make_root, remove_root
from chaos.explore.server import Answer, Job

__all__ = ["Chunk", "Crew"]

_QUEUED = 2  # chunks a worker: one being done and one waiting, so that it never idles
_AHEAD = 64  # chunks a worker that may be finished before an older one
_IMPORT_DEADLINE_S = 60.0
_FAREWELL_S = 1.0  # workers end themselves within milliseconds; then force
_RECEIVE_BYTES = 1 << 18


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A handful of states of one model, or of undamaged trees (model None: numbers of operations).

    With `second`, each is a state from which a second run starts, see `second_worker.py`; with `left`, each is a folder
    that a run left, and what that run acknowledged.
    """

    model: int | None
    wanted: tuple[tuple[Any, ...], ...]
    second: bool = False
    left: bool = False
    seconds: float = 0.0
    reused: int = 0


@final
@dataclass(slots=True)
class _Task:
    """A chunk on its way: `alone` when it is the rest of one that took down its worker."""

    flow: "_Flow"
    position: int
    chunk: Chunk
    alone: bool = False


@final
class Crew:
    """Local workers.

    On crash: workers notice, kill what they run and remove their folders, and the folder around them has a heir, see
    `roots.py`. Threads: one thread only.
    """

    def __init__(self, job: Job, trade: Trade = EXPLORER) -> None:
        """Prepare; workers, of the given trade, start with the first work."""
        self._job, self._trade = job, trade
        self._root = ""
        self._hired: dict[int, Hired] = {}
        self._inboxes: dict[int, Inbox] = {}
        self._tasks: dict[int, deque[_Task]] = {}
        self._number = 0
        self.replaced = 0

    def answered(
        self, chunks: Iterator[Chunk], idle: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[Chunk, list[list[Answer | None]]]]:
        """Each chunk with its answers, in order.

        In the chunk, `seconds` is the worker's time for it, `reused` how many answers it knew without running recovery.

        Args:
            chunks: taken from as workers become free.
            idle: called when there is nothing to receive; says whether it did something and may be called again.

        Raises:
            UsageError: the target can't be imported.
            HarnessFault: a worker failed.

        Several may be under way at once, one inside the other; one that is given up leaves the others in peace.
        """
        self.start()
        flow = _Flow(chunks)
        while not flow.finished():
            self._hand_out(flow)
            given = 0
            for done in flow.ready():
                given += 1
                yield done
            if not given and not flow.finished():  # else look again first: the caller may have been here meanwhile
                self._receive(idle)

    def close(self) -> None:
        """End all workers and remove what they had; at most about a second."""
        try:
            for hired in self._hired.values():
                hired.dismiss()
            give_up = monotonic() + _FAREWELL_S
            for hired in self._hired.values():
                hired.wait(give_up - monotonic())
        finally:
            for hired in self._hired.values():
                hired.kill()
            self._hired.clear()
            if self._root:
                try:
                    _remove_all(self._root)
                finally:
                    remove_root(self._root)
                    self._root = ""

    def start(self) -> None:
        """Start the workers, unless they run already, and wait until all have imported the target.

        Raises:
            UsageError: the target can't be imported.
            HarnessFault: no folder can be made for crash states.
        """
        if self._hired:
            return
        self._root = make_root()
        for _ in range(self._job.settings.jobs):
            self._hire()
        for hired in list(self._hired.values()):
            self._wait_ready(hired)

    def _hire(self) -> Hired:
        folder = os.path.join(self._root, f"w{self._number}")
        hired = hire(self._job, folder, self._number, list(self._hired.values()), self._trade)
        self._hired[self._number] = hired
        self._inboxes[self._number] = Inbox()
        self._tasks[self._number] = deque()
        self._number += 1
        return hired

    def _wait_ready(self, hired: Hired) -> None:
        give_up = monotonic() + _IMPORT_DEADLINE_S
        while True:
            readable, writable, _ = select.select(
                [hired.link], [hired.link] if hired.outgoing else [], [], give_up - monotonic()
            )
            if writable:
                hired.flush()
            if not readable:
                if monotonic() > give_up:
                    raise UsageError(f"importing the target takes more than {_IMPORT_DEADLINE_S:g} s", _IMPORT_HINT)
                continue
            messages = self._messages(hired)
            if messages is None:
                raise UsageError("importing the target ends its process", _IMPORT_HINT)
            for message in messages:
                if "wrong" in message:
                    raise refused_target(message["wrong"], _NAME_HINT)
                return

    def _hand_out(self, flow: "_Flow") -> None:
        for depth in range(_QUEUED):
            for number, tasks in list(self._tasks.items()):
                if len(tasks) == depth and not any(task.alone for task in tasks):
                    task = flow.next_task(_AHEAD * len(self._tasks), fresh=not tasks)
                    if task is None:
                        return
                    tasks.append(task)
                    self._hired[number].send(_message(task))

    def _receive(self, idle: Callable[[], bool]) -> None:
        links = {hired.link: hired for hired in self._hired.values()}
        sending = [hired.link for hired in self._hired.values() if hired.outgoing]
        readable, writable, _ = select.select(list(links), sending, [], 0)
        if not readable and not writable:
            if idle():
                return
            readable, writable, _ = select.select(list(links), sending, [])
        for link in writable:
            links[link].flush()
        for link in readable:
            hired = links[link]
            messages = self._messages(hired)
            if messages is None:
                self._replace(hired)
            for message in messages or ():
                self._take(hired, message)

    def _messages(self, hired: Hired) -> list[Any] | None:
        try:
            piece = hired.link.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            return None
        return self._inboxes[hired.number].feed(piece) if piece else None

    def _take(self, hired: Hired, message: dict[str, Any]) -> None:
        task = self._tasks[hired.number].popleft()
        if "fault" in message:
            raise HarnessFault(f"a worker failed:\n{message['fault']}", "report this with the trace file")
        task.flow.done(task, message["answers"], message["seconds"], message["reused"])

    def _replace(self, lost: Hired) -> None:
        """Put another worker in the place of one that is gone, and see to the work it had."""
        lost.dismiss()
        lost.kill()
        tasks = self._tasks.pop(lost.number)
        del self._hired[lost.number], self._inboxes[lost.number]
        _remove_all(os.path.join(self._root, f"w{lost.number}"))
        self.replaced += 1
        for place, task in enumerate(tasks):
            task.flow.again(task, suspect=place == 0)
        self._wait_ready(self._hire())


@final
class _Flow:
    """Work in order: what is handed out, what came back, and what has to be done again."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._position = 0  # of the next new chunk
        self._emitted = 0
        self._exhausted = False
        self._repeat: deque[_Task] = deque()
        self._parts: dict[int, tuple[Chunk, list[list[Answer | None]]]] = {}  # chunks done state by state
        self._done: dict[int, tuple[Chunk, list[list[Answer | None]]]] = {}

    def next_task(self, ahead: int, *, fresh: bool) -> _Task | None:
        """More work, or None for now. What must run alone goes only to a worker that is `fresh`."""
        if self._repeat:
            if fresh or not self._repeat[0].alone:
                return self._repeat.popleft()
            return None
        if self._exhausted or self._position - self._emitted >= ahead:
            return None
        chunk = next(self._chunks, None)
        if chunk is None:
            self._exhausted = True
            return None
        self._position += 1
        return _Task(self, self._position - 1, chunk)

    def done(self, task: _Task, answers: list[list[Answer | None]], seconds: float, reused: int) -> None:
        """Take a chunk's answers, or those of the next state of one that is done state by state."""
        if not task.alone:
            self._done[task.position] = (replace(task.chunk, seconds=seconds, reused=reused), answers)
            return
        whole, collected = self._parts[task.position]
        collected += answers
        if len(collected) == len(whole.wanted):
            self._done[task.position] = self._parts.pop(task.position)
        else:
            self._repeat.appendleft(self._single(task.position))

    def again(self, task: _Task, *, suspect: bool) -> None:
        """A worker was lost with this work: do it again, state by state when it may be what lost the worker."""
        if not suspect:
            self._repeat.append(task)
        elif task.alone:
            self.done(task, [[_LOST_WORKER, None, None]], 0.0, 0)
        else:
            self._parts[task.position] = (task.chunk, [])
            self._repeat.appendleft(self._single(task.position))

    def ready(self) -> Iterator[tuple[Chunk, list[list[Answer | None]]]]:
        """What can be given out in order."""
        while self._emitted in self._done:
            yield self._done.pop(self._emitted)
            self._emitted += 1

    def finished(self) -> bool:
        """Whether everything was given out."""
        return self._exhausted and self._emitted == self._position and not self._repeat

    def _single(self, position: int) -> _Task:
        whole, collected = self._parts[position]
        number = len(collected)
        return _Task(self, position, replace(whole, wanted=whole.wanted[number : number + 1]), alone=True)


_IMPORT_HINT = "run the import by itself: python -c 'import MODULE'"
_NAME_HINT = "mend the name, or the PATH or PYTHONPATH on which it is looked for"
_LOST_WORKER: Answer = {
    "ending": "killed",
    "error_type": "signal",
    "error": "recovery took the process that watches over it down with it",
    "detail": 9,
}


def _message(task: _Task) -> bytes:
    chunk = task.chunk
    if chunk.second:
        return packed({"second": chunk.wanted})
    if chunk.left:
        return packed({"left": chunk.wanted})
    if chunk.model is None:
        return packed({"steps": chunk.wanted})
    return packed({"model": chunk.model, "states": chunk.wanted})


def _remove_all(path: str) -> None:
    """Remove a folder, though a dying process may still write into it for a moment."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            remove(path)
            return
    remove(path)
