"""`FileLock`: one holder (or many readers) among the threads and processes of a host, in turn, with a deadline.

**Guarantees.** While a thread holds the lock exclusively nobody else holds it in any mode; the kernel says so, and lets
go by itself when the holder dies. Waiting costs no polling. Waiters get it nearly in the order in which they came, a
writer is not starved by readers, and a live holder is never robbed, however old its lock. A wait that ends at its
deadline, by `cancel` or by an exception out of a signal handler leaves nothing in anybody's way.
**Does not** reach across hosts on every network file system, and keeps out nobody who does not ask.
**On crash** nothing is to be cleaned up: the lock file stays for good, is never removed, replaced or truncated, and
what stands in it is for people only.
**Threads and processes.** Re-entrant per thread, also over two `FileLock` objects of one path. A forked child holds
nothing, and can neither release nor prolong its parent's lock. A signal handler (or a `__del__`) may use it, too; where
its thread is just about to take or to release the very lock it is refused at once, as it would wait for itself. All
tasks of an event loop are one thread: who awaits inside a block lets the others in. A block of `exclusive` or `shared`
may be left in another thread than it was entered in, as by a generator that a thread pool closes; `with lock:` and
`release` are for the thread that took it. Keep the `FileLock`: the lock is let go when nobody has one for its path.

Never lock the file that gets replaced: use `FileLock.beside`. Read `seats.py` for how the waiting is done.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import lru_cache
from types import TracebackType

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, ConflictError, DeadlineError, StorageError
from pytest_guardrails.hints import final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability.identity import ProcessIdentity, own_identity
from pytest_guardrails.reliability.durability.kernel import Mode
from pytest_guardrails.reliability.durability.seats import (
    Claim,
    Holding,
    Pair,
    give_up,
    seat_for,
    start_wait,
    try_again,
)
from pytest_guardrails.reliability.durability.times import steady_time, wall_time

__all__ = [
    "DEADLINE_S",
    "FileLock",
    "HolderRecord",
    "LockCancelledError",
    "LockDeadlineError",
    "LockInterruptedError",
    "LockNotHeldError",
    "lock_all",
    "resolved",
]

DEADLINE_S = 30.0  # longer than any honest critical section here, short enough for a person to wait
_RECORD_BYTES = 512  # written whole, in place, padded: so it needs no truncation
_NOTE_BYTES = 240  # beside a long host name it still fits into the record
_NOTE = b'"note":"'
_LOOK_AGAIN_S = 0.005
_OWN = -1.0  # stands for the deadline that the object was made with


@final
class LockDeadlineError(DeadlineError):
    """The lock was held by others until the deadline.

    Attributes:
        path: the lock file.
        holder: who wrote itself down as its holder; for people, it may be out of date.
    """

    def __init__(self, path: str, waited_s: float, holder: "HolderRecord | None") -> None:
        super().__init__(path, waited_s, holder)
        self.path, self.waited_s, self.holder = path, waited_s, holder

    def __str__(self) -> str:
        who = f"last taken by {self.holder.describe()}" if self.holder else "its holder left no name"
        return f"the lock {self.path} was not free within {self.waited_s:g} s; {who}"


@final
class LockCancelledError(DeadlineError):
    """`FileLock.cancel` ended the wait."""


@final
class LockNotHeldError(ConflictError):
    """This thread of this process does not hold the lock that it wanted to release."""


@final
class LockInterruptedError(ConflictError):
    """A thread was interrupted in the middle of taking or releasing a lock, and the interruption wants it as well."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path

    def __str__(self) -> str:
        return (
            f"this very thread is in the middle of a step with the lock {self.path} (is this a signal handler, or a "
            "__del__?), and would wait for itself: set a flag there, and do the work after that step"
        )


@final
class HolderRecord(Record):
    """Who took the lock exclusively the last time, as it wrote itself down. For diagnosis only.

    Attributes:
        process: who.
        since: when, in seconds since 1970-01-01 UTC by the holder's wall clock.
        note: what for, in the holder's words.
    """

    process: ProcessIdentity
    since: float
    note: str

    def describe(self) -> str:
        """One line for people."""
        what = f" for {self.note}" if self.note else ""
        return f"process {self.process.pid} on {self.process.host}{what}"


@final
class FileLock:
    """A lock that lives in a file of its own. See the module for what it guarantees.

    Args:
        path: the lock file; it and its directory are made when missing.
        deadline_s: how long an acquisition waits when it does not say so itself, in seconds; None waits for good.
        clock: for the record of who holds it, and for durations.

    Raises:
        StorageError: the lock file can't be made.
        ConfigurationError: `path` is no name that a file can have.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, deadline_s: float | None = DEADLINE_S, clock: Clock | None = None
    ) -> None:
        self.path = resolved(path)
        self._deadline_s = _checked(deadline_s)
        self._clock = clock or SystemClock()
        self._seat = seat_for(self.path)
        self._claims: list[Claim] = []
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            self._seat.keep(self._seat.pair())
        except OSError as error:
            raise StorageError(f"the lock file {self.path} can't be opened: {error}") from error

    @classmethod
    def beside(
        cls, path: str | os.PathLike[str], *, deadline_s: float | None = DEADLINE_S, clock: Clock | None = None
    ) -> "FileLock":
        """The lock that guards the file at `path`, which itself may be replaced: `<path>.lock`."""
        return cls(resolved(path) + ".lock", deadline_s=deadline_s, clock=clock)

    @property
    def held(self) -> Mode | None:
        """How this thread holds the lock; None if it does not."""
        holding = self._seat.mine.holding
        return holding.mode if holding and holding.count else None

    def acquire(self, mode: Mode = "exclusive", *, deadline_s: float | None = _OWN, note: str | None = "") -> None:
        """Take the lock; each acquisition needs its own `release`.

        Args:
            mode: alone, or together with other readers.
            deadline_s: how long to wait, in seconds; 0 only tries, None waits for good; the object's own if not given.
            note: what it is for, in a few words; written into the lock file for people. None leaves that to `sign`.

        Raises:
            LockDeadlineError: it was not free in time.
            LockCancelledError: `cancel` was called meanwhile.
            ConfigurationError: this thread holds it shared and wants it exclusively, which could wait for itself.
            LockInterruptedError: this thread is in the middle of taking or releasing it already.
            LockUnsupportedError: the kernel offers no lock here.
            StorageError: the lock file can't be used.
        """
        wait_s = self._deadline_s if deadline_s is _OWN else _checked(deadline_s)
        mine = self._seat.mine
        if mine.turning:
            raise LockInterruptedError(self.path)
        holding = mine.holding
        if holding is not None and holding.count:
            if mode == "exclusive" and holding.mode == "shared":
                raise ConfigurationError(f"{self.path} is held shared by this thread: release it, then take it alone")
            if holding.take_again():
                return
        try:
            mine.turning = True
            mine.holding = Holding(self._take(mode, wait_s), mode)
        except DeadlineError:  # a TimeoutError, hence an OSError
            raise
        except OSError as error:
            raise StorageError(f"the lock {self.path} can't be taken: {error}") from error
        finally:
            mine.turning = False
        if mode == "exclusive" and note is not None:
            try:
                self.sign(note)
            except BaseException:  # an interruption: who is not told that it has the lock will not release it
                self.release()
                raise

    def release(self) -> None:
        """Undo one acquisition of this thread.

        Raises:
            LockNotHeldError: this thread of this process holds nothing.
        """
        holding = self._seat.mine.holding
        if holding is None or not holding.count:
            raise LockNotHeldError(f"{self.path} is not held by this thread of process {os.getpid()}")
        self.give_back(holding)

    def taken(self) -> Holding | None:
        """What this thread has of the lock, for `give_back`; None if it does not hold it."""
        holding = self._seat.mine.holding
        return holding if holding and holding.count else None

    def give_back(self, holding: Holding) -> None:
        """Undo one acquisition of the thread that has `holding`, in whatever thread; nothing if there is none left."""
        if not holding.count or holding.pair.lock < 0:  # or it is the parent's, of which this process was forked
            return
        mine = self._seat.mine
        try:
            mine.turning = True
            if not holding.give_one():
                return
            if mine.holding is holding:
                mine.holding = None
            holding.pair.give_back()
        except BaseException:  # an interruption
            if not holding.count:
                holding.pair.close()
            raise
        finally:
            mine.turning = False
        self._seat.keep(holding.pair)

    def cancel(self) -> None:
        """End all waits that go on through this object; each raises `LockCancelledError`."""
        for claim in self._claims.copy():
            claim.cancelled = True
            claim.rouse()

    def sign(self, note: str) -> bool:
        """Write this thread down as the holder, if the disk takes it; it holds the lock exclusively."""
        holding = self._seat.mine.holding
        if holding is None or holding.mode != "exclusive" or not holding.count:
            raise LockNotHeldError(f"{self.path} is not held exclusively by this thread of process {os.getpid()}")
        is_plain = len(note) <= _NOTE_BYTES and note.isascii() and note.replace(" ", "").isalnum()
        text = b'"%b"' % note.encode() if is_plain else _quoted(note)
        at = wall_time(self._clock)
        try:
            record = b'{%b,"since":%.6f,"note":%b}' % (_signature(os.getpid()), at, text)
            os.pwrite(holding.pair.lock, record.ljust(_RECORD_BYTES - 1) + b"\n", 0)
        except (OSError, StorageError):  # neither a full disk nor a full table of open files keeps anybody from locking
            return False
        return True

    def last_note(self) -> str:
        """The note of whoever signed last; this thread holds the lock. "" when it can't be read.

        Cheaper than `holder`, for those who ask at every acquisition.
        """
        holding = self._seat.mine.holding
        record = b"" if holding is None or not holding.count else os.pread(holding.pair.lock, _RECORD_BYTES, 0)
        begin = record.rfind(_NOTE) + len(_NOTE)
        end = record.find(b'"', begin)
        return "" if end < 0 or begin < len(_NOTE) else record[begin:end].decode("utf-8", "replace")

    def holder(self) -> HolderRecord | None:
        """Who took it exclusively the last time; None when nobody did or the record can't be read."""
        try:
            with open(self.path, "rb") as file:
                plain = json.loads(file.read(_RECORD_BYTES))
            process = ProcessIdentity.parse(plain)
            return process and HolderRecord(process=process, since=float(plain["since"]), note=str(plain["note"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def exclusive(self, *, deadline_s: float | None = _OWN, note: str | None = "") -> AbstractContextManager[None]:
        """Hold the lock alone during the block. Raises as `acquire`."""
        return self._block("exclusive", deadline_s, note)

    def shared(self, *, deadline_s: float | None = _OWN) -> AbstractContextManager[None]:
        """Hold the lock together with other readers during the block. Raises as `acquire`."""
        return self._block("shared", deadline_s, None)

    @contextmanager
    def _block(self, mode: Mode, deadline_s: float | None, note: str | None) -> Iterator[None]:
        before = holding.count if (holding := self._seat.mine.holding) else 0
        try:
            self.acquire(mode, deadline_s=deadline_s, note=note)
        except BaseException:  # an interruption may come when it was just taken
            self._leave(self._seat.mine.holding, before)
            raise
        holding = self._seat.mine.holding
        try:
            yield
        finally:  # perhaps in another thread: what was taken here, unless the block itself released it
            if holding is None or not holding.count:
                holding = self._seat.mine.holding
            left = holding.count - 1 if holding else 0
            try:
                self._leave(holding, left)
            except BaseException:  # it may come before anything was done
                self._leave(holding, left)
                raise

    def __enter__(self) -> "FileLock":
        before = holding.count if (holding := self._seat.mine.holding) else 0
        try:
            self.acquire()
        except BaseException:
            self._leave(self._seat.mine.holding, before)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        holding = self._seat.mine.holding
        left = holding.count - 1 if holding else 0
        try:
            self._leave(holding, left)
        except BaseException:
            self._leave(holding, left)
            raise

    def _leave(self, holding: Holding | None, left: int) -> None:
        """Give back until so many acquisitions are left; a child forked inside the block has nothing to give back."""
        if holding is not None and holding.count > left:
            self.give_back(holding)

    def _take(self, mode: Mode, wait_s: float | None) -> Pair:
        start_s = steady_time(self._clock)
        while True:
            pair = self._seat.pair()
            try:
                taken, current = pair.try_take(mode), self._seat.is_current(pair)
            except BaseException:  # it may be taken, and nobody else would close it as long as the error is kept
                pair.close()
                raise
            if current and not taken:
                left_s = None if wait_s is None else max(0.0, wait_s - (steady_time(self._clock) - start_s))
                pair = self._wait_take(pair, mode, left_s, wait_s)
                current = self._seat.is_current(pair)
            if current:
                return pair
            pair.close()  # someone removed, replaced or moved the lock file: holding it guards nothing

    def _wait_take(self, pair: Pair, mode: Mode, left_s: float | None, wait_s: float | None) -> Pair:
        if left_s == 0.0:
            return self._try_again(pair, mode, wait_s)
        claims: list[Claim] = []
        try:
            if not start_wait(self._seat, pair, mode, claims):
                return self._poll(pair, mode, left_s, wait_s)
            self._claims.append(claims[0])
            claims[0].wake.acquire(timeout=-1 if left_s is None else left_s)
            self._claims.remove(claims[0])
            is_granted = not give_up(claims[0])
        except BaseException:
            self._drop(claims)
            raise
        wait = claims[0].wait
        if not is_granted:
            if claims[0].cancelled:
                raise LockCancelledError(f"waiting for {self.path} was cancelled")
            raise LockDeadlineError(self.path, wait_s or 0.0, self.holder())
        if wait.error is not None:
            wait.pair.close()
            raise wait.error
        return wait.pair

    def _try_again(self, pair: Pair, mode: Mode, wait_s: float | None) -> Pair:
        """What keeps the lock for an instant on behalf of nobody is out of the way soon, without anybody's doing."""
        while True:
            claims: list[Claim] = []
            try:
                if try_again(self._seat, pair, mode, claims):
                    return pair
                for claim in claims:
                    claim.wake.acquire()
            except BaseException:
                self._drop(claims)
                raise
            if not claims:
                self._seat.keep(pair)
                raise LockDeadlineError(self.path, wait_s or 0.0, self.holder())
            wait = claims[0].wait
            if wait.mode == mode and wait.error is None:
                self._seat.keep(pair)
                return wait.pair
            wait.pair.close()

    def _drop(self, claims: list[Claim]) -> None:
        """After an interruption: nobody waits here any more."""
        for claim in claims:
            if not give_up(claim):
                claim.wait.pair.close()
            if claim in self._claims:
                self._claims.remove(claim)

    def _poll(self, pair: Pair, mode: Mode, left_s: float | None, wait_s: float | None) -> Pair:
        """Where no thread can be started to wait, as in what runs at the interpreter's end: look now and then."""
        clock = SystemClock()
        start_s = clock.monotonic()
        try:
            while not pair.try_take(mode):
                if left_s is not None and clock.monotonic() - start_s >= left_s:
                    raise LockDeadlineError(self.path, wait_s or 0.0, self.holder())
                clock.sleep(_LOOK_AGAIN_S)
        except BaseException:
            pair.close()
            raise
        return pair


def resolved(path: str | os.PathLike[str]) -> str:
    """The absolute path without symbolic links.

    Raises:
        ConfigurationError: it is no name that a file can have.
    """
    try:
        found: str = os.path.realpath(path)
    except ValueError as error:  # a zero byte, or a surrogate that stands for no byte
        raise ConfigurationError(f"{path!r} can't be the name of a file: {error}") from error
    if not os.fspath(path):
        raise ConfigurationError("the name of a file must have at least one character")
    return found


@lru_cache(maxsize=1)
def _signature(_pid: int) -> bytes:
    return json.dumps(own_identity().plain())[1:-1].encode()


def _quoted(note: str) -> bytes:
    text = json.dumps(note[:100])
    return (text if len(text) <= _NOTE_BYTES else json.dumps(note[: _NOTE_BYTES // 12])).encode()  # an emoji is twelve


def _checked(deadline_s: float | None) -> float | None:
    if deadline_s is not None and not 0.0 <= deadline_s < 1e9:
        raise ConfigurationError(f"deadline_s must be None or from 0 to a thousand million seconds, not {deadline_s}")
    return deadline_s


@contextmanager
def lock_all(locks: Iterable[FileLock], *, deadline_s: float | None = DEADLINE_S) -> Iterator[None]:
    """Hold several locks exclusively during the block, taken in the order of their paths whatever order is given.

    Since everyone takes them in that order, two callers can't wait for each other.

    Args:
        locks: which; one path named twice is taken once.
        deadline_s: for all of them together, in seconds; None waits for good.

    Raises:
        LockDeadlineError: not all were free in time; none is held then.
        ConfigurationError: `deadline_s` is no duration.
    """
    _checked(deadline_s)
    clock = SystemClock()
    start_s = clock.monotonic()
    with ExitStack() as stack:
        for lock in sorted({lock.path: lock for lock in locks}.values(), key=lambda lock: lock.path):
            left_s = None if deadline_s is None else max(0.0, deadline_s - (clock.monotonic() - start_s))
            stack.enter_context(lock.exclusive(deadline_s=left_s))
        yield
