"""The inside of `FileLock`: descriptors, helper threads that wait in the kernel, and what a fork must forget.

A *pair* is one way to the lock: a descriptor of the lock file and one of its turnstile, opened for one holder. A
*seat* is a lock file as one process knows it: idle pairs, and which threads hold it. The kernel has no lock call with a
deadline, so a caller that must wait hands its pair to a helper thread, which sleeps in the kernel; the caller sleeps
until the helper or the deadline comes. A wait that was given up keeps its place in the queue, and the next
caller takes it over, so there is never more than one helper for each thread that ever waited at once.

Why the turnstile: whoever wants the lock passes it first, and the one who stands in it is next. A holder that lets go
and asks again at once finds others in the turnstile, and so can't keep the lock to itself. Read `locks.py` next.
"""

import os
import threading
import weakref
from contextlib import suppress

from pytest_guardrails.hints import final
from pytest_guardrails.reliability.durability.kernel import Mode, try_lock, unlock, wait_lock

__all__ = ["Holding", "Pair", "Seat", "Wait", "give_up", "seat_for", "start_wait"]

_IDLE_PAIRS = 4  # a process rarely has more threads at one lock; each pair is two descriptors
_GONE = " (deleted)"  # what Linux adds to the name of an open file that has none any more
_mutex = threading.Lock()  # guards the tables below and the fate of every `Wait`; never held during a system wait
_pairs: "weakref.WeakSet[Pair]" = weakref.WeakSet()
_seats: "weakref.WeakValueDictionary[str, Seat]" = weakref.WeakValueDictionary()
_idle_helpers: "list[_Helper]" = []


@final
class Pair:
    """Descriptors of a lock file and its turnstile, for one holder at a time.

    Attributes:
        lock: of the lock file.
        turnstile: of the other one.
        identity: which file the lock file is, whatever name it has by now.
        link: where the kernel tells the open lock file's path of now; "" where it doesn't.
    """

    __slots__ = ("__weakref__", "identity", "link", "lock", "turnstile")

    def __init__(self, path: str) -> None:
        self.lock = self.turnstile = -1
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with _mutex:  # a fork waits, so that the child knows of every descriptor that it must close
            self.lock = os.open(path, flags, 0o666)
            self.turnstile = os.open(path + ".turn", flags, 0o666)
            _pairs.add(self)
        status = os.fstat(self.lock)
        self.identity = (status.st_dev, status.st_ino)
        link = f"/proc/self/fd/{self.lock}"
        self.link = link if _read_link(link) == path and not path.endswith(_GONE) else ""

    def try_take(self, mode: Mode) -> bool:
        """Pass the turnstile and take the lock, if neither needs waiting."""
        if not try_lock(self.turnstile, "exclusive"):
            return False
        try:
            return try_lock(self.lock, mode)
        finally:
            unlock(self.turnstile)

    def wait_take(self, mode: Mode) -> None:
        """Pass the turnstile and take the lock, sleeping in the kernel."""
        wait_lock(self.turnstile, "exclusive")
        try:
            wait_lock(self.lock, mode)
        finally:
            unlock(self.turnstile)

    def give_back(self) -> None:
        """Let go of the lock; explicitly, since a child process may have inherited a copy of the descriptor."""
        unlock(self.lock)

    def close(self) -> None:
        """Close both descriptors, which lets go of what they hold."""
        for descriptor in (self.lock, self.turnstile):
            if descriptor >= 0:
                with suppress(OSError):  # somebody else closed it
                    os.close(descriptor)
        self.lock = self.turnstile = -1

    def __del__(self) -> None:
        self.close()


@final
class Holding:
    """What one thread holds of a seat."""

    __slots__ = ("count", "mode", "pair")

    def __init__(self, pair: Pair, mode: Mode) -> None:
        self.pair = pair
        self.mode = mode
        self.count = 1


class _OfThread(threading.local):
    holding: Holding | None = None


@final
class Seat:
    """A lock file as this process knows it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.mine = _OfThread()
        self._idle: list[Pair] = []
        self.given_up: list[Wait] = []

    def pair(self) -> Pair:
        """A pair that nobody uses."""
        with _mutex:
            if self._idle:
                return self._idle.pop()
        return Pair(self.path)

    def keep(self, pair: Pair) -> None:
        """Put a pair that holds nothing aside for the next one."""
        with _mutex:
            self.spare(pair)

    def spare(self, pair: Pair) -> None:
        """As `keep`, for those who hold the mutex."""
        if len(self._idle) < _IDLE_PAIRS:
            self._idle.append(pair)
        else:
            pair.close()

    def is_current(self, pair: Pair) -> bool:
        """Whether the pair still is the file that has the path; someone may have removed, replaced or moved it.

        Asked by the path, since whoever comes next goes by it: a folder that was swapped for its backup brings another
        lock file along, and two processes would each hold one. The open file's own path is asked first: who asks by
        `stat` asks for times, too, and then Linux (since 6.13) gives the next write a new one, so that the holder's
        record, else written without a trace, makes the file's inode dirty every time. On file systems without a
        journal each sync of a neighbour then writes that as well (a sixth of a commit's time on ext4).
        """
        if pair.link and _read_link(pair.link) == self.path:
            return True
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == pair.identity

    def forget(self) -> None:
        """After a fork, in the child: nothing here is ours."""
        self.mine = _OfThread()
        self._idle = []
        self.given_up = []


@final
class Wait:
    """A wait in the kernel on behalf of a caller; its fields are guarded by `_mutex`.

    Attributes:
        pair: what is waited with.
        mode: what for.
        wake: released when the wait is over, or when the caller is to look up.
        over: the helper is back from the kernel.
        error: with this, if it failed.
        wanted: a caller still wants it.
        cancelled: the caller is told to give up.
    """

    __slots__ = ("cancelled", "error", "mode", "over", "pair", "wake", "wanted")

    def __init__(self, pair: Pair, mode: Mode) -> None:
        self.pair = pair
        self.mode = mode
        self.wake = _closed_door()
        self.over = False
        self.error: Exception | None = None
        self.wanted = True
        self.cancelled = False

    def run(self) -> None:
        """In a helper thread."""
        error: Exception | None = None
        try:
            self.pair.wait_take(self.mode)
        except Exception as caught:  # noqa: BLE001 - handed to the caller, whose error it is
            error = caught
        with _mutex:
            self.over, self.error = True, error
            if self.wanted:
                self.rouse()
                return
        self.pair.close()

    def rouse(self) -> None:
        """Let the caller look up; it may be doing so already."""
        with suppress(RuntimeError):
            self.wake.release()


def start_wait(seat: Seat, pair: Pair, mode: Mode) -> Wait:
    """Wait for the lock in a helper thread, or take over a wait that was given up.

    Raises:
        RuntimeError: no thread can be started, as at the interpreter's end; nothing was begun.
    """
    with _mutex:
        seat.given_up = [wait for wait in seat.given_up if not wait.over]
        for wait in seat.given_up:
            if wait.mode == mode:
                seat.given_up.remove(wait)
                wait.wanted, wait.cancelled = True, False
                wait.wake = _closed_door()
                seat.spare(pair)
                return wait
        helper = _idle_helpers.pop() if _idle_helpers else None
    wait = Wait(pair, mode)
    (helper or _Helper()).work(wait)
    return wait


def give_up(seat: Seat, wait: Wait) -> bool:
    """The caller waits no longer.

    Returns:
        False when the wait is over already: then the caller has the lock, or the error.
    """
    with _mutex:
        if wait.over:
            return False
        wait.wanted = False
        seat.given_up.append(wait)
        return True


def seat_for(path: str) -> Seat:
    """The one seat of this process for the lock file at the resolved `path`."""
    with _mutex:
        seat = _seats.get(path)
        if seat is None:
            seat = _seats[path] = Seat(path)
        return seat


@final
class _Helper:
    def __init__(self) -> None:
        self._wake = _closed_door()
        self._wait: Wait | None = None
        # A daemon: one that sleeps in the kernel must not keep the program from ending.
        threading.Thread(target=self._serve, name="file-lock-wait", daemon=True).start()

    def work(self, wait: Wait) -> None:
        self._wait = wait
        self._wake.release()

    def _serve(self) -> None:
        while True:
            self._wake.acquire()
            if self._wait is not None:
                self._wait.run()
            self._wait = None
            with _mutex:
                _idle_helpers.append(self)


def _read_link(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:  # not Linux, or no /proc here
        return ""


def _closed_door() -> threading.Lock:
    door = threading.Lock()
    door.acquire()
    return door


def _in_child() -> None:
    _idle_helpers.clear()
    for pair in list(_pairs):
        pair.close()  # the parent's lock stays: the kernel counts its own copies
    for seat in list(_seats.values()):
        seat.forget()
    _mutex.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_mutex.acquire, after_in_parent=_mutex.release, after_in_child=_in_child)
