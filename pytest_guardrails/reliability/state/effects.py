"""`Effects`: side effects of a run, recorded as *intended* before and *done* after, so that none is silently repeated.

    effects = Effects(store, "run-7")
    outcome = effects.begin("deploy", 0)
    if outcome.state is EffectState.NEW:
        effects.done("deploy", 0, result=deploy())

A crash between the two leaves an effect of which nobody knows whether it happened. The answer is then UNKNOWN, and
stays so until somebody who looked at the outside world says what is true (`done`, or `retry`).

**Guarantees.** Of all callers with one key (run, step, call) exactly one gets NEW; a recorded result is given back to
all later ones.
**Does not** make an effect happen once: it makes doubt visible. Records stay until `forget`.
**Threads and processes.** As the store's; what a living process has begun is IN PROGRESS for the others.

Read `checkpoints.py` for the state of the run itself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, final

from pytest_guardrails.callables import plain
from pytest_guardrails.errors import ConfigurationError, ConflictError
from pytest_guardrails.reliability.durability import ProcessIdentity, is_alive, own_identity, safe_name
from pytest_guardrails.reliability.state.store import StateStore
from pytest_guardrails.reliability.state.transaction import Transaction

__all__ = ["Effect", "EffectState", "Effects", "OutcomeUnknownError", "forget_effects"]


@final
class EffectState(str, Enum):
    """What is known of a side effect."""

    NEW = "new"  # nobody tried it: it is the caller's to do now
    IN_PROGRESS = "in progress"  # a living process is at it
    DONE = "done"  # it happened; the result is known
    UNKNOWN = "outcome unknown"  # it was begun by a process that is gone, or failed without a verdict


@final
class OutcomeUnknownError(ConflictError):
    """An effect was begun and nobody knows whether it happened: look, then say so with `done` or `retry`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A side effect and what is known of it.

    Attributes:
        key: of (run, step, call), to be sent along where the outside world knows idempotency keys.
        state: what is known.
        result: of one that is done.
        attempt: how often it was begun.
    """

    key: str
    state: EffectState
    result: Any = None
    attempt: int = 0


@final
class Effects:
    """The side effects of one run.

    Args:
        store: where they are recorded.
        run_id: whose they are.
    """

    def __init__(self, store: StateStore, run_id: str) -> None:
        self._store = store
        self._prefix = _prefix(run_id)

    def begin(self, step: str, call: int | str) -> Effect:
        """Say that an effect is about to happen, unless it was begun before.

        Returns:
            NEW: go ahead, then call `done`. Anything else: do not.
        """
        key = self._key(step, call)
        with self._store.transaction() as transaction:
            record = transaction.get(key)
            if record is not None and record["state"] != "free":
                return _effect(key, record)
            attempt = 1 if record is None else record["attempt"] + 1
            transaction.put(key, {"state": "intended", "attempt": attempt, "by": own_identity().plain()})
        return Effect(key=key, state=EffectState.NEW, attempt=attempt)

    def done(self, step: str, call: int | str, *, result: Any = None) -> None:
        """Say that it happened; also the answer of somebody who looked.

        Raises:
            ConfigurationError: it was never begun.
            JsonRefusedError: the result can't be stored; the effect's outcome is then still open.
        """
        key = self._key(step, call)
        with self._store.transaction() as transaction:
            record = transaction.get(key)
            if record is None:
                raise ConfigurationError(f"{key} was never begun")
            if record["state"] != "done":
                transaction.put(key, {**record, "state": "done", "result": result})

    def retry(self, step: str, call: int | str) -> None:
        """Say that it did not happen and may be tried again; the answer of somebody who looked.

        Raises:
            ConflictError: it is done, or a living process is at it.
        """
        key = self._key(step, call)
        with self._store.transaction() as transaction:
            record = transaction.get(key)
            found = _effect(key, record) if record is not None else None
            mine = record is not None and ProcessIdentity.parse(record.get("by")) == own_identity()
            if found is not None and (
                found.state is EffectState.DONE or (found.state is EffectState.IN_PROGRESS and not mine)
            ):
                raise ConflictError(f"{key} is {found.state.value}: it can't be tried again")
            transaction.put(key, {"state": "free", "attempt": found.attempt if found else 0})

    def look(self, step: str, call: int | str) -> Effect:
        """What is known of it."""
        key = self._key(step, call)
        record = self._store.get(key)
        if record is None or record["state"] == "free":
            return Effect(key=key, state=EffectState.NEW, attempt=record["attempt"] if record else 0)
        return _effect(key, record)

    def once(self, step: str, call: int | str, act: Callable[[str], Any]) -> Any:
        """Do it if nobody did, and give back its result.

        Args:
            step: of the run.
            call: within the step.
            act: gets the idempotency key; what it returns is kept and must be JSON. When it raises, the outcome is
                unknown, for an error does not prove that nothing happened.

        Raises:
            OutcomeUnknownError: it was begun before, and nobody knows what came of it, or another process is at it.
        """
        plain(act, "what is to be done once")
        effect = self.begin(step, call)
        if effect.state is EffectState.DONE:
            return effect.result
        if effect.state is not EffectState.NEW:
            raise OutcomeUnknownError(f"{effect.key} is {effect.state.value}: look at what it does, then say so")
        try:
            result = act(effect.key)
        except BaseException:
            self._doubt(effect.key)
            raise
        self.done(step, call, result=result)
        return result

    def open_outcomes(self) -> list[Effect]:
        """Every effect of the run whose outcome is unknown."""
        found = ((key, self._store.get(key)) for key in self._store.keys(self._prefix))
        effects = [_effect(key, record) for key, record in found if record is not None and record["state"] != "free"]
        return [effect for effect in effects if effect.state is EffectState.UNKNOWN]

    def forget(self) -> int:
        """Remove the records of a run that is over and is not gone on with; a later `begin` would get NEW again.

        What is in progress, or of unknown outcome, stays.

        Returns:
            How many were removed.
        """
        with self._store.transaction() as transaction:
            return _forget(transaction, self._prefix)

    def _doubt(self, key: str) -> None:
        self._store.update(key, lambda record: {**record, "state": "doubt"})

    def _key(self, step: str, call: int | str) -> str:
        return f"{self._prefix}{safe_name(step)}/{safe_name(str(call))}"


def forget_effects(transaction: Transaction, run_id: str) -> int:
    """As `Effects.forget`, in a transaction of the caller's."""
    return _forget(transaction, _prefix(run_id))


def _prefix(run_id: str) -> str:
    return f"effect/{safe_name(run_id)}/"


def _forget(transaction: Transaction, prefix: str) -> int:
    closed = [key for key in transaction.keys(prefix) if transaction.get(key)["state"] in ("done", "free")]
    for key in closed:
        transaction.delete(key, keep_versions=1)
    return len(closed)


def _effect(key: str, record: Any) -> Effect:
    if record["state"] == "done":
        return Effect(key=key, state=EffectState.DONE, result=record["result"], attempt=record["attempt"])
    state = EffectState.UNKNOWN
    if record["state"] == "intended":
        holder = ProcessIdentity.parse(record.get("by"))
        if holder is not None and is_alive(holder) is True:
            state = EffectState.IN_PROGRESS
    return Effect(key=key, state=state, attempt=record["attempt"])
