"""`Lease`: a claim with an expiry, for work that goes on across calls and may outlive a process.

A lock ends with its holder. A lease ends by release, by its time running out, or (if so told) as soon as its holder is
certainly dead. Since a holder may sleep past the end of its lease and then wake up and write, each grant carries a
*fencing token*, larger than all before it; whoever keeps data checks the token where the data is written (`fence.py`
for files, `Transaction.fence` in the store), and a late writer is refused.

**Guarantees.** Tokens only grow, also over a power cut. At most one holder has an unexpired grant. Time is the clock
that runs from boot and stands still during suspend, so steps of the wall clock and a closed laptop change nothing; a
reboot ends every lease. A holder of another host, or of an earlier boot under another host name, has a clock that can't
be compared: it is over when somebody who wants the lease saw it unrenewed for its whole time.
**Does not** stop a late holder that checks no fence.
**On crash** the record stays as it was before or after the step; nothing is to be cleaned up.
**Threads and processes.** Every step is taken under a `FileLock`. One `Lease` object is one holder, in the process that
acquired it: a forked child holds nothing, and can neither prolong nor end its parent's grant.

The record is JSON: `format`, `token`, `owner`, `holder` (identity, null when free), `ttl_s`, `expires_s` (monotonic),
`since` (wall clock, for people), and `watched`: for each boot with another clock than the holder's, which grant it saw
(`token`, `expires_s`) and since when (`since_s`). Unknown fields are kept. Read `locks.py` for the lock below.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Literal, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import (
    ConfigurationError,
    ConflictError,
    CorruptionError,
    StorageError,
)
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.durability.atomic import write_atomic
from pytest_guardrails.reliability.durability.fence import FORMAT, read_record
from pytest_guardrails.reliability.durability.identity import ProcessIdentity, is_alive, own_identity
from pytest_guardrails.reliability.durability.locks import DEADLINE_S, FileLock, LockInterruptedError, resolved
from pytest_guardrails.reliability.durability.times import steady_time, wall_time

__all__ = ["Lease", "LeaseHeldError", "LeaseLostError", "LeaseStatus", "WhenDead"]

WhenDead = Literal["free", "expire"]

_FIELDS: Mapping[str, Callable[[Any], bool]] = {  # a holder who can't be read is not the same as none
    "owner": lambda found: isinstance(found, str),
    "holder": lambda found: found is None or ProcessIdentity.parse(found) is not None,
    "expires_s": lambda found: type(found) in (int, float) and -1e15 < found < 1e15,
    "ttl_s": lambda found: found is None or (type(found) in (int, float) and 0.0 < found < 1e9),
}
_STEP_S = 2.0  # for the record itself, which others keep for two syncs at a time, whatever the caller's deadline
_LOOK_AGAIN_S = 0.05  # nobody can be told that a lease ran out, so a waiting caller looks this often


@final
class LeaseHeldError(ConflictError):
    """Somebody else holds the lease.

    Attributes:
        status: who, and for how long.
    """

    def __init__(self, path: str, status: "LeaseStatus") -> None:
        super().__init__(path, status)
        self.path, self.status = path, status

    def __str__(self) -> str:
        who = f"process {self.status.holder.pid} on {self.status.holder.host}" if self.status.holder else "nobody"
        name = f" ({self.status.owner})" if self.status.owner else ""
        return f"the lease {self.path} is held by {who}{name} for {self.status.left_s:.1f} s more"


@final
class LeaseLostError(ConflictError):
    """This holder's grant ran out, was released or went to somebody else: stop the work, then acquire again."""


@final
class LeaseStatus(Record):
    """What the record says.

    Attributes:
        token: of the last grant; 0 when there was none.
        owner: the holder's name for itself.
        holder: the holder's process; None when the lease is free.
        left_s: seconds until it runs out; 0 when it is free or did.
    """

    token: int
    owner: str
    holder: ProcessIdentity | None
    left_s: float


@final
class Lease:
    """See the module.

    Args:
        path: the record's file.
        ttl_s: how long a grant lasts unless it is renewed, in seconds.
        owner: a name for people; the process when empty.
        when_dead: a holder whose process is certainly gone is succeeded at once ("free"), or only when its time
            is up ("expire"), for work that goes on without its process.
        clock: monotonic, common to all processes of the host.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        ttl_s: float,
        owner: str = "",
        when_dead: WhenDead = "free",
        clock: Clock | None = None,
    ) -> None:
        if not 0.0 < ttl_s < 1e9:
            raise ConfigurationError(f"ttl_s must be above 0 and finite, not {ttl_s}")
        self.path = resolved(path)
        self._ttl_s = ttl_s
        self._owner = finite_json.printable(owner)
        self._when_dead = when_dead
        self._clock = clock or SystemClock()
        self._lock = FileLock.beside(self.path, clock=self._clock)
        self._token = 0
        self._process = 0  # that was granted it

    @property
    def token(self) -> int:
        """The fencing token of this object's grant.

        Raises:
            LeaseLostError: it has none.
        """
        if not self._own_token:
            raise LeaseLostError(f"the lease {self.path} is not held by this object: acquire it first")
        return self._token

    def acquire(self, *, deadline_s: float = 0.0) -> int:
        """Become the holder.

        Args:
            deadline_s: how long to wait for another holder to end, in seconds; 0 only tries, which may take a moment
                where others are at the record.

        Returns:
            The fencing token.

        Raises:
            LeaseHeldError: somebody else, or this object already, is the holder.
            LockDeadlineError: the record was not free in time, as when somebody is stopped in the middle of a step.
            CorruptionError: the record is not what was written; it is left as it is.
        """
        if not 0.0 <= deadline_s < 1e9:
            raise ConfigurationError(f"deadline_s must be from 0 to a thousand million seconds, not {deadline_s}")
        end_s = steady_time(self._clock) + deadline_s
        left_s = deadline_s
        while True:
            found = self._try_acquire(max(left_s, _STEP_S))
            if isinstance(found, int):
                return found
            left_s = end_s - steady_time(self._clock)
            if left_s <= 0:
                raise LeaseHeldError(self.path, found)
            self._clock.sleep(min(left_s, _LOOK_AGAIN_S, max(found.left_s, 0.001)))

    def renew(self) -> None:
        """Let the grant last `ttl_s` from now.

        Raises:
            LeaseLostError: it ran out, or is another's.
        """
        with self._alone():
            record = self._own_record()
            self._write({**record, "ttl_s": self._ttl_s, "expires_s": steady_time(self._clock) + self._ttl_s})

    def check(self) -> None:
        """Make sure that the grant still lasts; what is written after this still needs the fence.

        Raises:
            LeaseLostError: it does not.
        """
        with self._lock.shared():
            self._own_record()

    def release(self) -> None:
        """End the grant; a lost one is left alone, so that a late release ends nobody else's."""
        if not self._own_token:
            return
        with self._alone():
            record = self._read()
            if record.get("token") == self._token:
                self._write({**record, "holder": None})
            self._token = 0

    def status(self) -> LeaseStatus:
        """Who holds it now."""
        with self._lock.shared():
            return self._status(self._read())

    def __enter__(self) -> "Lease":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    @contextmanager
    def _alone(self, wait_s: float = DEADLINE_S) -> Iterator[None]:
        """For a step that changes the record; inside another one, as in a signal handler, both would go by the same."""
        if self._lock.held:
            raise LockInterruptedError(self._lock.path)
        with self._lock.exclusive(deadline_s=wait_s):
            yield

    def _try_acquire(self, wait_s: float) -> int | LeaseStatus:
        with self._alone(wait_s):
            record = self._read()
            status = self._status(record)
            if status.holder is not None:
                self._watch(record, status.holder)
                return status
            token = status.token + 1
            granted = {
                "format": FORMAT,
                "token": token,
                "owner": self._owner,
                "holder": own_identity().plain(),
                "ttl_s": self._ttl_s,
                "expires_s": steady_time(self._clock) + self._ttl_s,
                "since": wall_time(self._clock),
            }
            # Before the record says so: whoever is interrupted in between can `release` it.
            self._token, self._process = token, os.getpid()
            try:
                self._write({**record, **granted})
            except StorageError:
                self._token = 0
                raise
            return token

    def _status(self, record: Mapping[str, Any]) -> LeaseStatus:
        """The record as of now: a holder whose grant is over is none."""
        holder = ProcessIdentity.parse(record.get("holder"))
        left_s = self._left_s(record, holder) if holder else 0.0
        if left_s <= 0 or (holder and self._when_dead == "free" and is_alive(holder) is False):
            holder = None
        return LeaseStatus(
            token=record.get("token", 0),
            owner=record.get("owner", ""),
            holder=holder,
            left_s=max(0.0, left_s) if holder else 0.0,
        )

    def _left_s(self, record: Mapping[str, Any], holder: ProcessIdentity) -> float:
        own, now_s = own_identity(), steady_time(self._clock)
        if holder.boot == own.boot:
            return float(record["expires_s"]) - now_s
        if holder.host == own.host:
            return 0.0  # rebooted
        return float(_watches(record).get(own.boot, now_s) + record.get("ttl_s", self._ttl_s) - now_s)

    def _watch(self, record: Mapping[str, Any], holder: ProcessIdentity) -> None:
        """Note that a holder with another clock was seen, unless it was already and has not renewed since."""
        boot, watches = own_identity().boot, _watches(record)
        if holder.boot != boot and boot not in watches:
            watches[boot] = steady_time(self._clock)
            seen = _seen(record)
            with suppress(StorageError):  # a full disk: it is seen again later
                self._write({**record, "watched": {boot: {**seen, "since_s": at} for boot, at in watches.items()}})

    @property
    def _own_token(self) -> int:
        return self._token if self._process == os.getpid() else 0

    def _own_record(self) -> Mapping[str, Any]:
        record = self._read()
        status = self._status(record)
        if not self._own_token or status.token != self._token or status.holder is None:
            lost, self._token = self._own_token, 0
            raise LeaseLostError(f"grant {lost} of the lease {self.path} is over; the last one given is {status.token}")
        return record

    def _read(self) -> Mapping[str, Any]:
        record = read_record(self.path)
        if wrong := [name for name, is_right in _FIELDS.items() if record and not is_right(record.get(name))]:
            raise CorruptionError(
                f"{self.path} is no lease record: its {wrong[0]!r} can't be {record.get(wrong[0])!r}; look at it, then "
                "move it away"
            )
        return record

    def _write(self, record: Mapping[str, Any]) -> None:
        write_atomic(self.path, (finite_json.dumps(record, indent=2) + "\n").encode(), durability="power")


def _seen(record: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a grant the same as when it was seen before."""
    return {"token": record["token"], "expires_s": record["expires_s"]}


def _watches(record: Mapping[str, Any]) -> dict[str, float]:
    """Since when each boot has seen the present grant, by its own clock."""
    found, seen = record.get("watched"), _seen(record)
    return {
        boot: watch["since_s"]
        for boot, watch in (found.items() if isinstance(found, Mapping) else ())
        if isinstance(watch, Mapping)
        and type(watch.get("since_s")) in (int, float)
        and {name: watch.get(name) for name in seen} == seen
    }
