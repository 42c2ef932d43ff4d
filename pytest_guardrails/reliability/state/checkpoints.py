"""`Checkpoints`: where a run stood, so that it goes on after a crash as if there had been none.

**Guarantees.** A checkpoint and the guard state that it carries are one commit. "Newest" is by sequence, never by a
clock. An iteration that goes backwards is refused unless the caller says so. What comes back is what went in, checked
against its digest.
**Does not** undo the outside world: for that, `effects.py` says what is known to have happened.
**On crash** the newest checkpoint is the last one that `save` returned for.
**Threads and processes.** As the store's.

A run's checkpoints are the remembered values of the key `checkpoint/RUN`; `checkpoint-run/RUN` holds the last sequence
and iteration, small, so that saving needs not read the record before. Read `effects.py` next.
"""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, CorruptionError, NewerFormatError, check_whole
from pytest_guardrails.reliability.durability import finite_json, safe_name
from pytest_guardrails.reliability.durability.times import wall_time
from pytest_guardrails.reliability.state.frozen import thaw
from pytest_guardrails.reliability.state.store import StateStore
from pytest_guardrails.reliability.state.transaction import Transaction

__all__ = ["Checkpoint", "CheckpointEntry", "Checkpoints", "IterationError"]

_VERSION = 1
_KEEP = 10
_BODIES = "checkpoint/"
_NO_HEAD = {"sequence": 0, "iteration": -1}
_COMPRESS_FROM_BYTES = 1024  # below, the base64 around it costs more than zlib saves


@final
class IterationError(ConfigurationError):
    """A checkpoint would take the run back to an earlier iteration."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a run knows of itself. Everything is JSON; nothing in it is NaN or infinite.

    Raises:
        ConfigurationError: a field is not what it must be; names it, and what was found.

    Attributes:
        run_id: whose it is.
        iteration_index: the iteration that ended last, from 0.
        files_written: paths; a list becomes a tuple.
        cost_accumulated: in US dollars.
        last_status: of the last iteration, in the run's own words.
        last_feedback: what it was told.
        last_tests: outcome of its tests.
        plan: what is to be done.
        phases: of the plan.
        task: what the run is for.
        current_stage_idx: which stage, from 0.
        current_stage_id: its name.
        timestamp: seconds since 1970-01-01 UTC by the wall clock, set by `save`; for people.
        checkpoint_version: format of this record, set by `save`.
        consecutive_retry_count: the stuck detector's.
        last_retry_feedback_hash: the stuck detector's.
        payload: anything else, the guards' own state above all.
        unknown: fields that a newer program wrote; kept over a round trip.
    """

    run_id: str
    iteration_index: int
    files_written: tuple[str, ...] = ()
    cost_accumulated: float = 0.0
    last_status: str = ""
    last_feedback: str = ""
    last_tests: Any = None
    plan: Any = None
    phases: Any = None
    task: str = ""
    current_stage_idx: int = 0
    current_stage_id: str = ""
    timestamp: float = 0.0
    checkpoint_version: int = _VERSION
    consecutive_retry_count: int = 0
    last_retry_feedback_hash: str | None = None
    payload: Any = None
    unknown: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (is_right, wanted) in _CHECKS.items():
            found = getattr(self, name)
            if not is_right(found):
                raise ConfigurationError(f"{name} of a checkpoint must be {wanted}, not {found!r}")
        if both := sorted(set(self.unknown) & set(_FIELDS)):
            raise ConfigurationError(f"unknown of a checkpoint must not have the known field {both[0]!r}: set that one")
        object.__setattr__(self, "files_written", tuple(self.files_written))


def _is_text(found: object) -> bool:
    return isinstance(found, str)


def _is_whole(found: object) -> bool:
    return type(found) is int and found >= 0


def _is_number(found: object) -> bool:
    return isinstance(found, (int, float)) and not isinstance(found, bool)


_Check = tuple[Callable[[Any], bool], str]
_TEXT: _Check = (_is_text, "a text")
_WHOLE: _Check = (_is_whole, "a whole number from 0")
_CHECKS: Mapping[str, _Check] = {  # of the others, which may be any JSON, `save` tells what can't be stored
    "run_id": (lambda found: _is_text(found) and bool(found), "a text of at least one character"),
    "iteration_index": _WHOLE,
    "files_written": (
        lambda found: isinstance(found, (list, tuple)) and all(map(_is_text, found)),
        "a list or tuple of texts (for one path: [path])",
    ),
    "cost_accumulated": (
        lambda found: _is_number(found) and 0 <= found < math.inf,
        "a finite number of US dollars from 0",
    ),
    "last_status": _TEXT,
    "last_feedback": _TEXT,
    "task": _TEXT,
    "current_stage_idx": _WHOLE,
    "current_stage_id": _TEXT,
    "timestamp": (
        lambda found: _is_number(found) and math.isfinite(found),
        "a finite number of seconds since 1970-01-01 UTC",
    ),
    "checkpoint_version": _WHOLE,
    "consecutive_retry_count": _WHOLE,
    "last_retry_feedback_hash": (lambda found: found is None or _is_text(found), "a text or None"),
    "unknown": (lambda found: isinstance(found, Mapping) and all(map(_is_text, found)), "a mapping with texts as keys"),
}
_FIELDS = tuple(entry.name for entry in fields(Checkpoint) if entry.name != "unknown")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointEntry:
    """A line of the list of a run's checkpoints.

    Attributes:
        sequence: grows with each save.
        iteration_index: see `Checkpoint`.
        timestamp: see `Checkpoint`.
        size_bytes: of the record as stored.
    """

    sequence: int
    iteration_index: int
    timestamp: float
    size_bytes: int


@final
class Checkpoints:
    """The checkpoints of all runs in one store.

    Args:
        store: where they lie.
        keep: how many of each run are kept, the newest.
        compress: whether records from 1 kB on are stored compressed (zlib).
        clock: for the time stamp.
    """

    def __init__(
        self, store: StateStore, *, keep: int = _KEEP, compress: bool = False, clock: Clock | None = None
    ) -> None:
        check_whole("keep", keep, 1)
        self._store = store
        self._keep = keep
        self._compress = compress
        self._clock = clock or SystemClock()

    def save(
        self,
        checkpoint: Checkpoint,
        *,
        allow_rewind: bool = False,
        together: Callable[[Transaction], None] | None = None,
    ) -> int:
        """Keep a checkpoint; when this returns it survives what the store's durability names.

        Args:
            checkpoint: what to keep.
            allow_rewind: let the run go back to an earlier iteration.
            together: writes more into the same commit (guard state, a fence), or raises to prevent it.

        Returns:
            Its sequence.

        Raises:
            IterationError: the run was further already.
            JsonRefusedError: a field can't be stored; names the path to the culprit.
        """
        run = safe_name(checkpoint.run_id)
        record = self._encode(checkpoint)
        with self._store.transaction() as transaction:
            head = transaction.get(_head(run), _NO_HEAD)
            if checkpoint.iteration_index < head["iteration"] and not allow_rewind:
                raise IterationError(
                    f"run {checkpoint.run_id!r} was at iteration {head['iteration']} and would go back to "
                    f"{checkpoint.iteration_index}: load the newest checkpoint, or allow the rewind"
                )
            sequence = int(head["sequence"]) + 1
            transaction.promise(_BODIES, self._keep)
            transaction.put(_body(run), {**record, "sequence": sequence}, keep_versions=self._keep)
            next_head = {"sequence": sequence, "iteration": checkpoint.iteration_index, "run": checkpoint.run_id}
            transaction.put(_head(run), next_head, keep_versions=1)
            if together is not None:
                together(transaction)
        return sequence

    def load(self, run_id: str, sequence: int | None = None) -> Checkpoint | None:
        """A run's newest checkpoint, or the one of a sequence; None when there is none.

        Raises:
            CorruptionError: it is not what was saved.
            NewerFormatError: a later version saved it.
        """
        if sequence is None:
            record = self._store.get(_body(safe_name(run_id)))
        else:
            record = next((record for record in self._records(run_id) if record["sequence"] == sequence), None)
        return None if record is None else _decode(record, run_id)

    def exists(self, run_id: str) -> bool:
        """Whether a run has any checkpoint."""
        return self._store.version(_body(safe_name(run_id))) > 0

    def list(self, run_id: str) -> tuple[CheckpointEntry, ...]:
        """A run's checkpoints, oldest first."""
        return tuple(
            CheckpointEntry(
                sequence=record["sequence"],
                iteration_index=record["iteration"],
                timestamp=record["at"],
                size_bytes=len(record["body"]),
            )
            for record in self._records(run_id)
        )

    def runs(self) -> tuple[str, ...]:
        """The ids of all runs that have checkpoints, sorted."""
        heads = (self._store.get(key) for key in self._store.keys("checkpoint-run/"))
        return tuple(sorted(head["run"] for head in heads if head is not None and self.exists(head["run"])))

    def clear(self, run_id: str) -> int:
        """Forget a run's checkpoints; it may start again at iteration 0, its sequence goes on.

        Returns:
            How many checkpoints it had.
        """
        run = safe_name(run_id)
        count = len(self._records(run_id))
        with self._store.transaction() as transaction:
            head = transaction.get(_head(run))
            if head is not None:
                transaction.delete(_body(run), keep_versions=1)
                transaction.put(_head(run), {**head, "iteration": -1}, keep_versions=1)
        return count

    def _records(self, run_id: str) -> Sequence[Mapping[str, Any]]:
        past = self._store.history(_body(safe_name(run_id)))
        if not past or past[-1].deleted:
            return ()
        return [entry.value for entry in past if not entry.deleted][-self._keep :]

    def _encode(self, checkpoint: Checkpoint) -> dict[str, Any]:
        at = wall_time(self._clock)
        plain = {**checkpoint.unknown, **{name: getattr(checkpoint, name) for name in _FIELDS}}
        plain.update(timestamp=at, checkpoint_version=_VERSION)
        body = finite_json.dumps(plain)
        record = {
            "format": _VERSION,
            "run": checkpoint.run_id,
            "iteration": checkpoint.iteration_index,
            "at": at,
            "digest": _digest(body),
        }
        if self._compress and len(body) >= _COMPRESS_FROM_BYTES:
            packed = base64.b85encode(zlib.compress(body.encode(), 6)).decode("ascii")
            return {**record, "packing": "zlib", "body": packed}
        return {**record, "packing": "none", "body": body}


def _head(run: str) -> str:
    return f"checkpoint-run/{run}"


def _body(run: str) -> str:
    return _BODIES + run


def _digest(body: str) -> str:
    return hashlib.blake2b(body.encode(), digest_size=16).hexdigest()


def _decode(record: Mapping[str, Any], run_id: str) -> Checkpoint:
    sequence = record["sequence"]
    if record["format"] > _VERSION:
        raise NewerFormatError(f"checkpoint {sequence} of {run_id!r} has format {record['format']}: update the program")
    try:
        body = record["body"]
        if record["packing"] == "zlib":
            body = zlib.decompress(base64.b85decode(body)).decode()
        if _digest(body) != record["digest"]:
            raise ValueError("it does not fit its digest")
        plain = json.loads(body)
    except (ValueError, zlib.error) as error:
        raise CorruptionError(f"checkpoint {sequence} of {run_id!r} is not what was saved: {error}") from error
    known = {name: thaw(plain[name]) for name in _FIELDS if name in plain}
    try:
        return Checkpoint(**known, unknown={name: value for name, value in plain.items() if name not in _FIELDS})
    except ConfigurationError as error:  # stored when that was not looked at
        raise CorruptionError(f"checkpoint {sequence} of {run_id!r} can't be used: {error}") from error
