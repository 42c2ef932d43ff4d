"""`HookState`: every hook's breaker in one store, for all threads and processes of a host.

**Guarantees.** Each operation is one transaction, and none is lost. `admit` decides and reserves in one step: however
many ask at the end of a cool-down, one gets the permit, and if its process dies another one gets it. What an operator
said holds until it ends or is lifted, also over damage to the store (see `book.py`). No lock is held while a hook runs.
**Does not** run anything: see `hook_run.py` and `breaker.py`.
**On crash** the state is that of the last operation that returned, or of the one in progress.
**Threads and processes.** As the store's. Decisions are taken by the monotonic clock of this boot.

A hook is kept under `hook/DIGEST` of its command, the totals of all under `totals`. Read `record.py` for a record,
`policy.py` for what decides.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from types import ModuleType

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, GuardrailsError
from pytest_guardrails.hints import Any, Protocol, final
from pytest_guardrails.records import Record
from pytest_guardrails.reliability.breakers.book import DisabledBook
from pytest_guardrails.reliability.breakers.commands import PREFIX, key_of, name_of
from pytest_guardrails.reliability.breakers.model import (
    Abandoned,
    Action,
    Admitted,
    Ask,
    BreakerSettings,
    Control,
    ControlKind,
    Event,
    Failed,
    Hold,
    Probe,
    Refused,
    Release,
    Reset,
    Succeeded,
)
from pytest_guardrails.reliability.breakers.record import HookRecord, Moment, applied, bounded, iso, parse, plain_of
from pytest_guardrails.reliability.durability.atomic import DurabilityUnknownError
from pytest_guardrails.reliability.durability.identity import ProcessIdentity, boot_id, is_alive, own_identity
from pytest_guardrails.reliability.state.model import Incident
from pytest_guardrails.reliability.state.store import StateStore
from pytest_guardrails.reliability.state.transaction import Transaction

__all__ = ["Admission", "Document", "GlobalStats", "HealthReport", "HookState", "Outcome", "telling"]

_TOTALS = "totals"


@final
class Admission(Record):
    """Whether a call may begin.

    Attributes:
        allowed: whether.
        command: the hook's name.
        epoch: to be handed back with the result.
        permit: of a probe; "" for an ordinary call.
        reason: why not.
        retry_in_s: when to ask again, in seconds; None if nobody knows.
        record: the hook as it is now.
        actions: what followed, for events.
    """

    allowed: bool
    command: str
    epoch: int
    permit: str
    reason: str
    retry_in_s: float | None
    record: HookRecord
    actions: tuple[Action, ...] = ()


@final
class Outcome(Record):
    """What an operation did.

    Attributes:
        before: the hook as it was.
        after: the hook as it is now, committed.
        actions: what followed, in order, for events.
    """

    before: HookRecord
    after: HookRecord
    actions: tuple[Action, ...]


@final
class GlobalStats(Record):
    """Of all hooks together; `last_updated` is ISO 8601 in UTC, None before the first execution."""

    total_executions: int = 0
    total_failures: int = 0
    hooks_disabled: int = 0
    last_updated: str | None = None


@final
class HealthReport(Record):
    """How the hooks are.

    Attributes:
        total_hooks: how many are known.
        healthy: commands that run freely and did not fail the last time.
        failing: commands that run freely and failed the last time.
        disabled: those that are open, half open or held by an operator.
        stats: see `GlobalStats`.
        incidents: what was found damaged in the store, ever, in words.
    """

    total_hooks: int
    healthy: tuple[str, ...]
    failing: tuple[str, ...]
    disabled: tuple[HookRecord, ...]
    stats: GlobalStats
    incidents: tuple[str, ...]


class Document(Protocol):
    """A file that people may edit and that counts as the store; see `hook_document.py`."""

    def transaction(self, state: "HookState") -> AbstractContextManager[Transaction]:
        """A transaction of the state's store which first takes in what was edited, and then writes the file."""
        ...

    def look(self, state: "HookState") -> None:
        """Take in what was edited, if anything was."""
        ...

    def incidents(self) -> tuple[Incident, ...]:
        """When it was found damaged, oldest first."""
        ...


@final
class HookState:
    """See the module.

    Args:
        store: where the records lie; of hooks alone.
        settings: how the breakers decide.
        book: the second memory of disabled hooks; None does without.
        document: the file that counts as the store beside `store`; None where `store` alone does.
        clock: see `Clock`.
    """

    def __init__(
        self,
        store: StateStore,
        settings: BreakerSettings | None = None,
        *,
        book: DisabledBook | None = None,
        document: Document | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.settings = settings or BreakerSettings()
        self._book = book
        self._document = document
        self._clock = clock or SystemClock()
        self._booking: dict[str, tuple[Mapping[str, Any] | None, int]] = {}  # by the transaction under way

    def get_hook_state(self, command: str) -> HookRecord:
        """The hook as of the last commit; a fresh one if it is not known."""
        name = name_of(command)
        key = key_of(name)
        self._look()
        return self._true(key, name, self.store.get(key))

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A transaction of the store; every change to hooks goes through this."""
        booked: dict[str, tuple[Mapping[str, Any] | None, int]] = {}
        inner = self.store.transaction() if self._document is None else self._document.transaction(self)
        try:
            with inner as transaction:
                self._booking = booked  # under the store's lock
                yield transaction
        except DurabilityUnknownError:
            raise
        except BaseException:
            if booked:
                self._take_back(booked)
            raise

    def admit(self, command: str) -> Admission:
        """May this hook run now? A probe's permit is reserved in the same transaction.

        Raises:
            GuardrailsError: the store can't be used; nothing was reserved.
        """
        name = name_of(command)
        record = self.get_hook_state(name)
        gone = frozenset(permit.holder for permit in record.circuit.permits if _is_gone(permit.holder))
        event = Ask(os.urandom(8).hex(), _own_holder(), gone)
        after, actions = applied(record, event, self.settings, self.moment())
        if after.circuit == record.circuit:
            return _admission(record, actions)  # nothing to reserve, so nothing to write: the last commit says it
        outcome = self._apply(name, event)
        return _admission(outcome.after, outcome.actions)

    def record_success(self, command: str, admission: Admission | None = None, *, duration_s: float = 0.0) -> Outcome:
        """A run ended well.

        Args:
            command: which hook.
            admission: what `admit` gave; without it the result counts for the present epoch.
            duration_s: how long the run took, in seconds.
        """
        epoch, permit = _ticket(admission)
        return self._apply(command, Succeeded(epoch, permit, duration_s))

    def record_failure(
        self,
        command: str,
        error: str = "",
        admission: Admission | None = None,
        *,
        duration_s: float = 0.0,
        retry_after_s: float = 0.0,
    ) -> Outcome:
        """A run failed; see `record_success`.

        Args:
            command: which hook.
            error: what it said; its end is kept.
            admission: what `admit` gave.
            duration_s: how long the run took, in seconds.
            retry_after_s: the service asked to be left alone for so long.
        """
        epoch, permit = _ticket(admission)
        return self._apply(command, Failed(epoch, permit, duration_s, _chance(), retry_after_s), error)

    def record_abandoned(self, admission: Admission) -> None:
        """A run was cancelled: a permit is given back, nothing is counted."""
        if admission.permit:
            self._apply(admission.command, Abandoned(admission.epoch, admission.permit))

    def transition_to_half_open(self, command: str) -> Outcome:
        """End the cool-down now: the next run is a probe."""
        return self._apply(command, Probe())

    def reset_hook(self, command: str) -> Outcome:
        """Close the circuit and forget what was counted; a disabled or isolated hook stays so, see `enable`."""
        return self._apply(command, Reset())

    def reset_all(self) -> tuple[Outcome, ...]:
        """`reset_hook` for every hook that is known, all in one transaction."""
        with self.transaction() as transaction:
            names = [record.command for record in self.hooks_in(transaction)]
            return tuple(self._change(transaction, name, (Reset(),)) for name in names)

    def hold(
        self, command: str, kind: ControlKind, *, author: str, reason: str, lasts_s: float | None = None
    ) -> Outcome:
        """Let an operator's word stand above the circuit; see `Control` for the kinds.

        Args:
            command: which hook; it need not be known yet.
            kind: what is ordered.
            author: by whom.
            reason: why.
            lasts_s: for how long, in seconds; None until it is lifted.

        Raises:
            ConfigurationError: `lasts_s` is not above 0 and finite.
        """
        if lasts_s is not None and not 0.0 < lasts_s <= 1e9:
            raise ConfigurationError(f"an operator's word lasts above 0 and at most 1e9 seconds, not {lasts_s}")
        control = Control(kind, bounded(author), bounded(reason), lasts_s, None, iso(self._clock.wall()))
        return self._apply(command, Hold(control))

    def disable(self, command: str, *, author: str, reason: str, lasts_s: float | None = None) -> Outcome:
        """Keep a hook from running, whatever its circuit says."""
        return self.hold(command, "disabled", author=author, reason=reason, lasts_s=lasts_s)

    def enable(self, command: str, *, author: str = "", reason: str = "") -> Outcome:
        """Lift whatever an operator said and close the circuit: the hook runs again. Author and reason are told."""
        with self.transaction() as transaction:
            outcome = self._change(transaction, name_of(command), (Release(), Reset()))
            if outcome.before.is_disabled or outcome.before.circuit.control is not None:
                telling().tell_enabled(self.store, transaction, outcome.after, bounded(author), bounded(reason))
        return outcome

    def forget(self, command: str) -> bool:
        """Remove a hook's record; an unknown one is none. Whether there was one."""
        key = key_of(name_of(command))
        with self.transaction() as transaction:
            found = transaction.get(key)
            if found is not None:
                self.put_record(transaction, HookRecord(name_of(command)))
                transaction.delete(key, keep_versions=1)
        return found is not None

    def get_all_hooks(self) -> tuple[HookRecord, ...]:
        """All hooks that are known, sorted by command."""
        self._look()
        keys = {*self.store.keys(PREFIX), *self._booked()}
        found = [self._true(key, None, self.store.get(key)) for key in keys]
        return tuple(sorted(found, key=lambda record: record.command))

    def get_disabled_hooks(self) -> tuple[HookRecord, ...]:
        """Those that are open, half open or held by an operator."""
        return tuple(record for record in self.get_all_hooks() if record.is_disabled)

    def get_global_stats(self) -> GlobalStats:
        """Of all hooks together: what the store has committed, and how many are disabled now."""
        return _stats_of(self.totals())

    def get_health_report(self) -> HealthReport:
        """How the hooks are."""
        hooks = self.get_all_hooks()
        free = [record for record in hooks if not record.is_disabled]
        return HealthReport(
            len(hooks),
            tuple(record.command for record in free if not record.consecutive_failures),
            tuple(record.command for record in free if record.consecutive_failures),
            tuple(record for record in hooks if record.is_disabled),
            self.get_global_stats(),
            tuple(incident.reason for incident in self.incidents()),
        )

    def incidents(self) -> list[Incident]:
        """What was ever found damaged, oldest first."""
        found = [*self.store.incidents(), *(() if self._document is None else self._document.incidents())]
        return sorted(found, key=lambda incident: incident.at)

    def put_record(self, transaction: Transaction, after: HookRecord, executions: int = 0, failures: int = 0) -> None:
        """Write a record, the totals and the book in a transaction of the store; for operations and imports."""
        key = key_of(after.command)
        before = self._true(key, after.command, transaction.get(key))
        transaction.put(key, plain_of(after), keep_versions=1)
        stats = transaction.get(_TOTALS, {})
        old = _stats_of(stats)
        disabled = self._keep_book(transaction, key, after)
        if disabled is None:
            disabled = max(0, old.hooks_disabled + after.is_disabled - before.is_disabled)
        if executions or failures or disabled != old.hooks_disabled:
            runs, failed = old.total_executions + executions, old.total_failures + failures
            fresh = GlobalStats(runs, failed, disabled, iso(self._clock.wall()))
            transaction.put(_TOTALS, {**stats, **fresh._asdict()}, keep_versions=1)

    def put_totals(self, transaction: Transaction, totals: Mapping[str, Any]) -> None:
        """Write the totals in a transaction of the store; for imports."""
        transaction.put(_TOTALS, totals, keep_versions=1)

    def totals(self, transaction: Transaction | None = None) -> Mapping[str, Any]:
        """The stored totals, or those in a transaction, with fields that are not known here."""
        if transaction is None:
            self._look()
        totals = {**GlobalStats()._asdict(), **(transaction or self.store).get(_TOTALS, {})}
        booked = None if self._book is None else self._book.read()
        # After a crash between the two the book is ahead by one hook, and right.
        return totals if booked is None else {**totals, "hooks_disabled": len(booked)}

    def moment(self) -> Moment:
        """Now."""
        return Moment(self._clock.monotonic(), self._clock.wall(), boot_id())

    def _apply(self, command: str, event: Event, error: str = "") -> Outcome:
        with self.transaction() as transaction:
            return self._change(transaction, name_of(command), (event,), error)

    def _change(self, transaction: Transaction, name: str, events: tuple[Event, ...], error: str = "") -> Outcome:
        key, moment = key_of(name), self.moment()
        before = after = self._true(key, name, transaction.get(key))
        actions: tuple[Action, ...] = ()
        for event in events:
            after, more = applied(after, event, self.settings, moment, error)
            actions += more
        if after != before:
            failed = any(isinstance(event, Failed) for event in events)
            ran = failed or any(isinstance(event, Succeeded) for event in events)
            self.put_record(transaction, after, executions=ran, failures=failed)
            if after.circuit.epoch != before.circuit.epoch:
                telling().tell_change(self.store, transaction, before, after, actions)
        return Outcome(before, after, actions)

    def _true(self, key: str, name: str | None, plain: Mapping[str, Any] | None) -> HookRecord:
        """Of what the store and the book say the later one."""
        booked = self._booked().get(key)
        if booked is not None and (plain is None or booked["circuit"]["epoch"] > plain["circuit"]["epoch"]):
            plain = booked
        if plain is None:
            return HookRecord(name or "")
        return parse(plain)

    def hooks_in(self, transaction: Transaction) -> list[HookRecord]:
        """All hooks as a transaction sees them, sorted by command."""
        keys = {*transaction.keys(PREFIX), *self._booked()}
        return sorted((self._true(key, None, transaction.get(key)) for key in keys), key=lambda one: one.command)

    def _look(self) -> None:
        if self._document is not None:
            self._document.look(self)

    def _booked(self) -> Mapping[str, Any]:
        return {} if self._book is None else self._book.read() or {}

    def _keep_book(self, transaction: Transaction, key: str, after: HookRecord) -> int | None:
        """Let the book say what the store is about to; how many hooks are disabled then, None without a book."""
        if self._book is None:
            return None
        hooks = self._book.read()
        damaged = hooks is None
        if hooks is None:
            hooks = self._disabled_in(transaction)  # the store knows all that it knew
        known = hooks.get(key)
        same = known is not None and known["circuit"]["epoch"] == after.circuit.epoch
        if damaged or (not same if after.is_disabled else known is not None):
            hooks = {other: record for other, record in hooks.items() if other != key}
            if after.is_disabled:
                hooks[key] = plain_of(after)
            self._book.write(hooks)
            self._booking.setdefault(key, (known, after.circuit.epoch))
        return len(hooks)

    def _take_back(self, booked: Mapping[str, tuple[Mapping[str, Any] | None, int]]) -> None:
        """Let the book forget what the store refused, if the disk allows that: who was told so may rely on it."""
        with suppress(GuardrailsError), self.store.transaction() as transaction:
            hooks = dict(self._booked())
            for key, (before, epoch) in booked.items():
                stored = transaction.get(key)
                if stored is None or stored["circuit"]["epoch"] < epoch:  # nobody has come that far since
                    hooks.pop(key, None)
                    if before is not None:
                        hooks[key] = before
            if self._book is not None:
                self._book.write(hooks)

    def _disabled_in(self, transaction: Transaction) -> Mapping[str, Any]:
        found = ((key, parse(transaction.get(key))) for key in transaction.keys(PREFIX))
        return {key: plain_of(record) for key, record in found if record.is_disabled}


def telling() -> ModuleType:
    """The module `telling.py`, loaded now: most operations have nothing to tell, and a hook's start pays for each."""
    return import_module("pytest_guardrails.reliability.breakers.telling")


def _admission(record: HookRecord, actions: tuple[Action, ...]) -> Admission:
    *earlier, last = actions
    if isinstance(last, Admitted):
        return Admission(True, record.command, last.epoch, last.permit, "", None, record, tuple(earlier))
    assert isinstance(last, Refused)
    epoch = record.circuit.epoch
    return Admission(False, record.command, epoch, "", last.reason, last.retry_in_s, record, tuple(earlier))


def _ticket(admission: Admission | None) -> tuple[int | None, str]:
    return (None, "") if admission is None else (admission.epoch, admission.permit)


def _stats_of(plain: Mapping[str, Any] | None) -> GlobalStats:
    known = {name: plain[name] for name in GlobalStats._fields if name in plain} if plain else {}
    return GlobalStats(**known)


def _chance() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32


def _own_holder() -> str:
    own = own_identity()
    return f"{own.pid} {own.started} {own.boot} {own.host}"


def _is_gone(holder: str) -> bool:
    pid, started, boot, host = [*holder.split(" ", 3), "", "", "", ""][:4]
    if not pid.isdigit():
        return False
    return is_alive(ProcessIdentity(pid=int(pid), started=started, boot=boot, host=host)) is False
