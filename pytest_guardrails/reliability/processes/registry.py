"""Processes that a program has started and registered, and the clean-up of those that a dead one left behind.

Nothing is ever found by name or command line. A process is ended only if all of this holds: it is registered here under
the same program; the very same process still runs (number, start time, boot); it belongs to this user; whoever
registered it is dead; it is not young; and if it beats, its beat is old. All else is left alone, and told.

**On crash** a registration stays, and is removed by the next clean-up once its process is gone.
**Threads and processes.** As the store's; two clean-ups at once end a process once.

Read `handles.py` for how one is ended.
"""

import os
from collections.abc import Mapping
from typing import Any, Literal, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability import ProcessIdentity, identity_of, is_alive, own_identity, safe_name
from pytest_guardrails.reliability.durability.identity import boot_id
from pytest_guardrails.reliability.processes.handles import ProcessHandle, owner_of, stop_process
from pytest_guardrails.reliability.processes.heartbeat import is_process_healthy
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry import Draft, EventLog, Severity

__all__ = ["CleanUp", "ProcessRegistry", "Registration", "Standing", "judge"]

Standing = Literal["own", "gone", "unknown", "foreign", "young", "parented", "beating", "stale"]
_FORMAT = 1


@final
class Registration(Record):
    """A registered process.

    Attributes:
        process: which.
        parent: who registered it, and is answerable for it.
        user: the number of its user.
        role: what it is for.
        heartbeat: the name under which it beats; "" if it does not.
        since_s: when it was registered, monotonic.
        boot: the boot of that time.
    """

    process: ProcessIdentity
    parent: ProcessIdentity
    user: int
    role: str
    heartbeat: str
    since_s: float
    boot: str


@final
class CleanUp(Record):
    """What a clean-up did with one process.

    Attributes:
        registration: which.
        standing: what it was found to be.
        outcome: "left alone", "forgotten" (it was gone), "ended", "killed", or "not permitted".
    """

    registration: Registration
    standing: Standing
    outcome: Literal["left alone", "forgotten", "ended", "killed", "not permitted"]


def judge(
    *,
    is_own: bool,
    alive: bool | None,
    same_user: bool,
    parent_alive: bool | None,
    age_s: float | None,
    beats: bool,
    grace_s: float,
) -> Standing:
    """What a registered process is. Pure; only "stale" may be ended.

    Args:
        is_own: it is the one that asks.
        alive: the very process still runs; None if nobody can tell.
        same_user: it belongs to the user who asks.
        parent_alive: whoever registered it still runs; None if nobody can tell.
        age_s: since its registration; None if nobody can tell.
        beats: it has a heartbeat, and that is fresh.
        grace_s: younger ones are left alone.
    """
    if is_own:
        return "own"
    if alive is False:
        return "gone"
    if alive is None or parent_alive is None or age_s is None:
        return "unknown"
    if not same_user:
        return "foreign"
    if parent_alive:
        return "parented"
    if age_s < grace_s:
        return "young"
    return "beating" if beats else "stale"


@final
class ProcessRegistry:
    """See the module.

    Args:
        store: where registrations are kept.
        program: the program's name; it never looks at those of others.
        clock: see `Clock`.
    """

    def __init__(self, store: StateStore, program: str, *, clock: Clock | None = None) -> None:
        self._store = store
        self._prefix = f"process/{safe_name(program)}/"
        self._clock = clock or SystemClock()

    def register(self, pid: int | None = None, *, role: str = "", heartbeat: str = "") -> Registration:
        """Register a process that this one answers for, or this one itself, for which its own parent answers.

        Args:
            pid: a child; this process when None.
            role: what it is for.
            heartbeat: the name under which it beats; "" if it does not.

        Raises:
            ConfigurationError: there is no such process.
        """
        own = own_identity()
        process = own if pid is None else identity_of(pid)
        if not process.started:
            raise ConfigurationError(f"there is no process {pid}")
        parent = own if pid is not None else identity_of(os.getppid())
        user = owner_of(process.pid)
        made = Registration(
            process, parent, -1 if user is None else user, role, heartbeat, self._clock.monotonic(), boot_id()
        )
        plain = {**made._asdict(), "process": process.plain(), "parent": parent.plain(), "format": _FORMAT}
        self._store.put(self._key(process), plain)
        return made

    def unregister(self, process: ProcessIdentity | None = None) -> None:
        """Forget a process that has ended as it should; this one when None."""
        self._store.delete(self._key(process or own_identity()))

    def registrations(self) -> tuple[Registration, ...]:
        """All of this program, oldest first.

        Raises:
            NewerFormatError: a later version registered one.
        """
        found = (_parse(self._store.get(key)) for key in self._store.keys(self._prefix))
        return tuple(sorted((one for one in found if one is not None), key=lambda one: one.since_s))

    def cleanup_stale_processes(
        self, *, grace_s: float = 30.0, max_silence_s: float = 30.0, stop_s: float = 2.0
    ) -> tuple[CleanUp, ...]:
        """End what a dead process of this program left behind; to be called on start.

        Args:
            grace_s: processes registered less than this many seconds ago are left alone.
            max_silence_s: one whose heartbeat is at most this many seconds old is left alone.
            stop_s: how long to wait between SIGTERM and SIGKILL, in seconds.

        Returns:
            What was done with each.
        """
        return tuple(self._clean(one, grace_s, max_silence_s, stop_s) for one in self.registrations())

    def _clean(self, one: Registration, grace_s: float, max_silence_s: float, stop_s: float) -> CleanUp:
        standing = self._standing(one, grace_s, max_silence_s)
        if standing == "gone":
            return self._told(CleanUp(one, standing, "forgotten"))
        if standing != "stale":
            return CleanUp(one, standing, "left alone")
        try:
            with ProcessHandle(one.process) as handle:
                ended = stop_process(handle, stop_s)
        except PermissionError:
            return self._told(CleanUp(one, standing, "not permitted"))
        except ProcessLookupError:
            return self._told(CleanUp(one, "gone", "forgotten"))
        return self._told(CleanUp(one, standing, "ended" if ended else "killed"))

    def _told(self, done: CleanUp) -> CleanUp:
        """Forget a process that is gone, and write the event of it, together."""
        process = done.registration.process
        with self._store.transaction() as transaction:
            if done.outcome != "not permitted":
                transaction.delete(self._key(process))
            draft = Draft(
                source="processes",
                kind="process.cleaned_up",
                severity=Severity.INFO if done.outcome == "forgotten" else Severity.WARNING,
                scope=self._key(process),
                message=f"process {process.pid} ({done.registration.role or 'no role'}): {done.outcome}",
                detail={"process": process.plain(), "standing": done.standing, "outcome": done.outcome},
            )
            EventLog(self._store, clock=self._clock).append(transaction, draft)
        return done

    def _standing(self, one: Registration, grace_s: float, max_silence_s: float) -> Standing:
        health = one.heartbeat and is_process_healthy(
            self._store, one.heartbeat, max_age_s=max_silence_s, clock=self._clock
        )
        beats = bool(health and health.healthy and health.beat is not None and health.beat.process == one.process)
        return judge(
            is_own=one.process == own_identity(),
            alive=is_alive(one.process),
            same_user=one.user == owner_of(own_identity().pid) == owner_of(one.process.pid),
            parent_alive=is_alive(one.parent),
            age_s=self._clock.monotonic() - one.since_s if one.boot == boot_id() else None,
            beats=beats,
            grace_s=grace_s,
        )

    def _key(self, process: ProcessIdentity) -> str:
        return f"{self._prefix}{process.pid}-{process.started}-{process.boot}"


def _parse(plain: Mapping[str, Any] | None) -> Registration | None:
    if plain is None:
        return None
    if plain.get("format", _FORMAT) > _FORMAT:
        raise NewerFormatError(
            f"a process has format {plain['format']}; this version knows {_FORMAT}: update the program"
        )
    process, parent = ProcessIdentity.parse(plain.get("process")), ProcessIdentity.parse(plain.get("parent"))
    if process is None or parent is None:
        return None
    return Registration(process, parent, *(plain[field] for field in Registration._fields[2:]))
