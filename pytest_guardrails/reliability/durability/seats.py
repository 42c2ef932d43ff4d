"""The inside of `FileLock`: descriptors, helper threads that wait in the kernel, and what a fork must forget.

A *pair* is one way to the lock: a descriptor of the lock file and one of its turnstile, opened for one holder. A
*seat* is a lock file as one process knows it: idle pairs, and which threads hold it. The kernel has no lock call with a
deadline, so a caller that must wait hands its pair to a helper thread, which sleeps in the kernel; the caller sleeps
until the helper or the deadline comes. Nothing calls a helper back, so one whose wait was given up sleeps on, and the
next caller takes that wait over: there are never more than two helpers for each thread that ever waited at once.

Why the turnstile: whoever wants the lock passes it first, and the one who stands in it is next. A holder that lets go
and asks again at once finds others in the turnstile, and so can't keep the lock to itself. Who gives up leaves the
turnstile, else a writer that is long gone would keep readers from joining readers.

A signal handler, or a `__del__`, may come here in the middle of anything that its own thread does here. So the mutex is
re-entrant, and what it guards is whole between any two steps: things are claimed by one call that can't be divided
(`pop`, `remove`, `setdefault`), never looked at first and taken then. Read `locks.py` next.
"""

import errno
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from pytest_guardrails.errors import StorageError
from pytest_guardrails.hints import Literal, final
from pytest_guardrails.reliability.durability.kernel import Mode, try_lock, unlock, wait_lock
from pytest_guardrails.reliability.durability.open_files import close_own, link_of, open_identity, read_link

__all__ = ["Claim", "Holding", "Pair", "Seat", "Wait", "give_up", "seat_for", "start_wait", "try_again"]

_IDLE_PAIRS = 4  # a process rarely has more threads at one lock; each pair is two descriptors
_mutex = threading.RLock()  # guards the tables below and the fate of every `Wait`; never held during a system wait
_pairs: "weakref.WeakSet[Pair]" = weakref.WeakSet()
_seats: "weakref.WeakValueDictionary[str, Seat]" = weakref.WeakValueDictionary()
_seats_made: "dict[str, Seat]" = {}  # those on their way into the table
_idle_helpers: "list[_Helper]" = []


@final
class Pair:
    """Descriptors of a lock file and its turnstile, for one holder at a time.

    Attributes:
        lock: of the lock file.
        turnstile: of the other one.
        identity: which file the lock file is, whatever name it has by now.
        turned: which file the turnstile is.
        link: where the kernel tells the open lock file's path of now; "" where it doesn't.
    """

    __slots__ = ("__weakref__", "identity", "link", "lock", "turned", "turnstile")

    def __init__(self, path: str) -> None:
        self.lock = self.turnstile = -1
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with _mutex:  # a fork waits, so that the child knows of every descriptor that it must close
            _pairs.add(self)
            self.lock = os.open(path, flags, 0o666)
            self.identity = open_identity(self.lock)
            self.turnstile = os.open(path + ".turn", flags, 0o666)
            self.turned = open_identity(self.turnstile)
        self.link = link_of(self.lock, path)

    def try_take(self, mode: Mode) -> bool:
        """Pass the turnstile and take the lock, if neither needs waiting."""
        if not try_lock(self.turnstile, "exclusive"):
            return False
        try:
            return try_lock(self.lock, mode)
        finally:
            unlock(self.turnstile)

    def give_back(self) -> None:
        """Let go of the lock; explicitly, since a child process may have inherited a copy of the descriptor."""
        unlock(self.lock)

    def close(self) -> None:
        """Close both descriptors, which lets go of what they hold."""
        lock, turnstile = self.lock, self.turnstile
        self.lock = self.turnstile = -1  # first: closed twice, the number may be another file's by then
        if lock >= 0:
            close_own(lock, self.identity)
        if turnstile >= 0:
            close_own(turnstile, self.turned)

    def is_lost(self) -> bool:
        """Whether somebody else closed the lock file's descriptor."""
        return open_identity(self.lock) != self.identity

    def __del__(self) -> None:
        if hasattr(self, "turnstile"):  # else it was interrupted before it began
            self.close()


@final
class Holding:
    """What one thread holds of a seat; any thread of its process may give it back, as at the end of a block.

    Attributes:
        pair: what it is held with.
        mode: how.
        count: of acquisitions; at 0 it is over.
    """

    __slots__ = ("count", "mode", "pair")

    def __init__(self, pair: Pair, mode: Mode) -> None:
        self.pair = pair
        self.mode = mode
        self.count = 1

    def take_again(self) -> bool:
        """One acquisition more; False when it is over."""
        with _mutex:
            self.count += self.count > 0
            return self.count > 0

    def give_one(self) -> bool:
        """One acquisition less; whether it was the last."""
        with _mutex:
            self.count -= self.count > 0
            return self.count == 0


class _OfThread(threading.local):
    holding: Holding | None = None
    turning = False  # between not holding and holding, either way


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
        try:
            return self._idle.pop()
        except IndexError:
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

    def abandoned(self) -> "list[Wait]":
        """The waits in the kernel that nobody wants, for those who hold the mutex."""
        return [wait for wait in self.given_up if wait.stage != "over"]

    def is_current(self, pair: Pair) -> bool:
        """Whether the pair still is the file that has the path; someone may have removed, replaced or moved it.

        Asked by the path, since whoever comes next goes by it: a folder that was swapped for its backup brings another
        lock file along, and two processes would each hold one. The open file's own path is asked first: who asks by
        `stat` asks for times, too, and then Linux (since 6.13) gives the next write a new one, so that the holder's
        record, else written without a trace, makes the file's inode dirty every time. On file systems without a
        journal each sync of a neighbour then writes that as well (a sixth of a commit's time on ext4).
        """
        if pair.link:
            if read_link(pair.link) == self.path:
                return True
            if pair.is_lost():
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
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
class Claim:
    """What a caller has of a `Wait`, until it gives that up.

    Attributes:
        wait: which may get another claim later.
        wake: released when the wait is over, or when the caller is to look up.
        cancelled: the caller is told to give up.
    """

    __slots__ = ("cancelled", "wait", "wake")

    def __init__(self, wait: "Wait") -> None:
        self.wait = wait
        self.wake = _closed_door()
        self.cancelled = False

    def rouse(self) -> None:
        """Let the caller look up; it may be doing so already."""
        with suppress(RuntimeError):
            self.wake.release()


@final
class Wait:
    """A wait in the kernel on behalf of a caller; its fields are guarded by `_mutex`.

    A helper sleeps at the turnstile, then at the lock. If the wait is given up meanwhile, a helper at the turnstile
    goes home as soon as it has passed; one at the lock stays there, but leaves the turnstile. For who takes that over,
    a second helper lines up at the turnstile again, so that readers can't starve it.

    Attributes:
        seat: of the lock; kept, so that whoever comes next finds the wait.
        pair: what is waited with for the lock.
        mode: what for.
        stage: where the helper is; "over" when it is back from the kernel.
        error: with this, if it failed.
        claim: of the caller who wants it; None when it was given up.
        queue: at whose turnstile a helper sleeps; None while none does.
        turn: whose turnstile is held for this wait; None while it is not.
    """

    __slots__ = ("claim", "error", "mode", "pair", "queue", "seat", "stage", "turn")

    def __init__(self, seat: Seat, pair: Pair, mode: Mode) -> None:
        self.seat = seat
        self.pair = pair
        self.mode = mode
        self.stage: Literal["new", "turnstile", "lock", "over"] = "new"
        self.error: Exception | None = None
        self.claim: Claim | None = None
        self.queue: Pair | None = None
        self.turn: Pair | None = None

    def run(self) -> None:
        """In a helper thread: pass the turnstile, then take the lock."""
        error: Exception | None = None
        try:
            if self._reaches("turnstile"):
                wait_lock(self.pair.turnstile, "exclusive")
                if self._reaches("lock"):
                    wait_lock(self.pair.lock, self.mode)
        except Exception as caught:  # noqa: BLE001 - handed to the caller, whose error it is
            error = caught
        with _mutex:
            self.stage, self.error = "over", error
            self.step_out()
            with suppress(ValueError):
                self.seat.given_up.remove(self)
            if self.claim is not None:
                self.claim.rouse()
            else:
                self.pair.close()

    def line_up(self, pair: Pair) -> None:
        """In a second helper thread, while the first sleeps at the lock: pass the turnstile of `pair`."""
        with suppress(OSError, StorageError):  # only the place in the queue is lost
            wait_lock(pair.turnstile, "exclusive")
        with _mutex:
            self.queue, self.turn = None, pair
            if self.stage == "over" or self.claim is None:
                self.step_out()

    def step_out(self) -> None:
        """Leave the turnstile; the caller holds the mutex."""
        turn, self.turn = self.turn, None
        if turn is not None:
            unlock(turn.turnstile)
            if turn is not self.pair:
                self.seat.spare(turn)

    def claimed(self, claims: list[Claim]) -> None:
        """By the caller who holds the mutex, and from now on has the claim."""
        self.claim = Claim(self)
        claims.append(self.claim)

    def claimed_again(self, claims: list[Claim]) -> bool:
        """As `claimed`, if it is still one of those that were given up."""
        try:
            self.seat.given_up.remove(self)
        except ValueError:
            return False
        self.claimed(claims)
        return True

    def _reaches(self, stage: Literal["turnstile", "lock"]) -> bool:
        """Go on to that stage, unless nobody wants it."""
        with _mutex:
            self.stage = stage
            self.queue, self.turn = (self.pair, None) if stage == "turnstile" else (None, self.pair)
            return self.claim is not None


def start_wait(seat: Seat, pair: Pair, mode: Mode, claims: list[Claim]) -> bool:
    """Wait for the lock in a helper thread, or go on with a wait that was given up.

    Args:
        seat: of the lock.
        pair: of the caller; this takes care of it from now on.
        mode: what for.
        claims: gets the caller's, before anything begins: whoever is interrupted gives up what is there.

    Returns:
        False when no thread can be started, as at the interpreter's end; then nothing was begun.
    """
    helper = _helper()
    if helper is None:
        return False
    job = None
    try:
        with _mutex:
            job = _job(seat, pair, mode, claims)
    finally:
        if job is None:  # or interrupted
            _idle_helpers.append(helper)
    if job is not None:
        helper.work(job)
    return True


def _job(seat: Seat, pair: Pair, mode: Mode, claims: list[Claim]) -> Callable[[], None] | None:
    """What a helper is to do now; None where one is at it already."""
    for wait in seat.abandoned():
        if wait.mode == mode and wait.claimed_again(claims):
            if wait.queue is None:
                wait.queue = pair
                return partial(wait.line_up, pair)
            seat.spare(pair)
            return None
    wait = Wait(seat, pair, mode)
    wait.claimed(claims)
    return wait.run


def try_again(seat: Seat, pair: Pair, mode: Mode, claims: list[Claim]) -> bool:
    """Try to take a lock with `pair` where nothing but waits that were given up may be in the way.

    The kernel grants what a helper sleeps for before the helper can say that nobody wants it. Asked through the very
    descriptor that it sleeps with, the kernel tells: what is granted to that one is granted to the helper.

    Args:
        seat: of the lock.
        pair: of the caller.
        mode: what for.
        claims: gets one to a wait that holds the lock, if there is such; its helper is on its way back.

    Returns:
        Whether `pair` has the lock.
    """
    with _mutex:
        for wait in seat.abandoned():
            if wait.stage == "lock" and try_lock(wait.pair.lock, wait.mode) and wait.claimed_again(claims):
                return False
            if wait.queue is not None and try_lock(wait.queue.turnstile, "exclusive"):
                try:
                    return try_lock(pair.lock, mode)
                finally:
                    unlock(wait.queue.turnstile)
        return pair.try_take(mode)


def give_up(claim: Claim) -> bool:
    """The caller waits no longer.

    Returns:
        False when the wait is over already: then the caller has the lock, or the error.
    """
    with _mutex:
        wait = claim.wait
        if wait.claim is not claim:  # given up before, and perhaps another's by now
            return True
        wait.claim = None  # so that nothing but the caller keeps the wait, whose pair is let go with it
        if wait.stage == "over":
            return False
        wait.step_out()
        if wait.stage != "new":
            wait.seat.given_up.append(wait)
        return True


def seat_for(path: str) -> Seat:
    """The one seat of this process for the lock file at the resolved `path`."""
    with _mutex:
        if seat := _seats.get(path):
            return seat
        made = _seats_made.setdefault(path, Seat(path))
        try:
            seat = _seats[path] = _seats.get(path) or made  # whoever interrupts this gets the same one
            return seat
        finally:
            _seats_made.pop(path, None)


@final
class _Helper:
    def __init__(self) -> None:
        self._wake = _closed_door()
        self._job: Callable[[], None] | None = None
        # A daemon: one that sleeps in the kernel must not keep the program from ending.
        threading.Thread(target=self._serve, name="file-lock-wait", daemon=True).start()

    def work(self, job: Callable[[], None]) -> None:
        self._job = job
        self._wake.release()

    def _serve(self) -> None:
        while True:
            self._wake.acquire()
            if self._job is not None:
                self._job()
            self._job = None
            with _mutex:
                _idle_helpers.append(self)


def _helper() -> _Helper | None:
    try:
        return _idle_helpers.pop()
    except IndexError:
        pass
    try:
        return _Helper()
    except RuntimeError:
        return None


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
