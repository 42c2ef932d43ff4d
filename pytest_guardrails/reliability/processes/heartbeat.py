"""`Heartbeat`: a loop says that it gets on; others see whether it still does.

The beat comes from the loop itself and names its progress, since a side thread would go on beating while the loop is
dead. A beat that names the progress of the one before does not count as a sign of life.

**Guarantees.** Ages are of the monotonic clock of one boot: no step of the wall clock makes a process old or young. A
beat names its process by number, start time and boot, so that another process of that number is never taken for it.
**Does not** say why a process is silent: stopped, swapped out and hung look alike.
**On crash** the last stored beat stands, and its process is seen to be gone.

Read `registry.py` for what becomes of processes that are left over.
"""

from collections.abc import Mapping
from typing import Any, Literal, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.durability import ProcessIdentity, is_alive, own_identity, safe_name
from pytest_guardrails.reliability.durability.identity import boot_id
from pytest_guardrails.reliability.state import StateStore

__all__ = ["Beat", "Heartbeat", "ProcessHealth", "Reason", "is_process_healthy", "last_beat"]

_FORMAT = 1
Reason = Literal["", "no beat", "process gone", "process unknown", "silent"]


@final
class Beat(Record):
    """What was said last.

    Attributes:
        process: by whom.
        progress: how far it was, in its own numbers.
        beats: how many that made progress there were.
        progressed_s: when it last made progress, monotonic.
        boot: the boot of that time.
        wall_s: the same by the wall clock, for people.
        note: in its own words.
    """

    process: ProcessIdentity
    progress: int
    beats: int
    progressed_s: float
    boot: str
    wall_s: float
    note: str


@final
class ProcessHealth(Record):
    """Whether a process gets on.

    Attributes:
        healthy: it lives and made progress lately.
        reason: why not.
        age_s: since its last progress, in seconds; None where that can't be known.
        beat: the last one.
    """

    healthy: bool
    reason: Reason
    age_s: float | None
    beat: Beat | None


@final
class Heartbeat:
    """See the module. One object a loop.

    Args:
        store: where beats are kept.
        name: of the loop; a later process that takes the same name takes its place.
        interval_s: beats within this many seconds after a stored one are only remembered, not stored.
        clock: see `Clock`.
    """

    def __init__(self, store: StateStore, name: str, *, interval_s: float = 1.0, clock: Clock | None = None) -> None:
        if not 0.0 <= interval_s <= 3600.0:
            raise ConfigurationError(f"interval_s must be from 0 to 3600, not {interval_s}")
        self._store = store
        self._key = _key(name)
        self._interval_s = interval_s
        self._clock = clock or SystemClock()
        self._progress: int | None = None
        self._count = 0
        self._stored_s = float("-inf")

    def beat(self, progress: int | None = None, note: str = "") -> bool:
        """Say that the loop gets on; to be called by the loop.

        Args:
            progress: a number that differs whenever something was done, such as items or bytes; None stands for one
                more than before.
            note: a few words for people.

        Returns:
            Whether it was stored.

        Raises:
            StorageError: the store refused.
            NewerFormatError: a later version beats under this name.
        """
        if progress is None:
            progress = (self._progress or 0) + 1
        if progress == self._progress:
            return False
        self._progress = progress
        self._count += 1
        now_s = self._clock.monotonic()
        if now_s - self._stored_s < self._interval_s:
            return False
        beat = Beat(own_identity(), progress, self._count, now_s, boot_id(), self._clock.wall(), note[:200])
        with self._store.transaction() as transaction:
            old = _checked(self._key, transaction.get(self._key, {}))
            plain = {**beat._asdict(), "process": beat.process.plain(), "format": _FORMAT}
            transaction.put(self._key, {**old, **plain}, keep_versions=1)
        self._stored_s = now_s
        return True

    def stop(self) -> None:
        """The loop ended as it should: nobody need wonder about its silence."""
        self._store.delete(self._key)


def last_beat(store: StateStore, name: str) -> Beat | None:
    """What a loop said last; None if nothing, or nothing that can be understood.

    Raises:
        NewerFormatError: a later version wrote it.
    """
    plain = _checked(_key(name), store.get(_key(name), {}))
    process = ProcessIdentity.parse(plain.get("process"))
    if process is None:
        return None
    return Beat(process, *(plain[field] for field in Beat._fields[1:]))


def is_process_healthy(
    store: StateStore, name: str, *, max_age_s: float = 30.0, clock: Clock | None = None
) -> ProcessHealth:
    """Whether the loop of this name lives and made progress within the last `max_age_s` seconds."""
    beat = last_beat(store, name)
    if beat is None:
        return ProcessHealth(False, "no beat", None, None)
    alive = is_alive(beat.process)
    if alive is False:
        return ProcessHealth(False, "process gone", None, beat)
    if alive is None or beat.boot != boot_id():
        return ProcessHealth(False, "process unknown", None, beat)
    age_s = (clock or SystemClock()).monotonic() - beat.progressed_s
    # A time after now can't be of this clock; whoever wrote it is not known to get on.
    if not -1.0 <= age_s <= max_age_s:
        return ProcessHealth(False, "silent", age_s, beat)
    return ProcessHealth(True, "", max(0.0, age_s), beat)


def _checked(key: str, plain: Mapping[str, Any]) -> Mapping[str, Any]:
    if plain.get("format", _FORMAT) > _FORMAT:
        raise NewerFormatError(
            f"{key!r} has format {plain['format']}; this version knows {_FORMAT}: update the program"
        )
    return plain


def _key(name: str) -> str:
    return f"heartbeat/{safe_name(name)}"
