"""`RecoveryManager`: carries out what a plan says about an error, once, and remembers all of it.

    recovery = RecoveryManager(store, handlers={Strategy.RESTORE: lambda attempt: load_checkpoint()})
    value = recovery.run("import/7", lambda: fetch(7))

**Guarantees.** A recovery has one *started* and one *finished* event, whatever crashes in between: each is written in
the transaction of the change that it reports. Of all processes one works at an item. What is tried is counted before,
so that a handler which kills its process is not tried forever. No lock is held while a handler runs.
**Does not** make a handler safe to repeat: it gets a key that names the attempt, and may be called again after a crash.
**On crash** the next call for the item goes on with the recovery that was begun.
**Threads and processes.** As the store's; every wait has the store's deadline.

    recovery/ITEM           where the item stands
    recovery-audit/ITEM/N   what was done; the newest, see `RecoveryPolicy.keep_audit`

Read `error_classes.py` for how errors are told apart, `strategies.py` for the plans.
"""

import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, final

from pytest_guardrails.callables import finished, plain
from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, ConflictError
from pytest_guardrails.reliability.durability import ProcessIdentity, is_alive, own_identity, safe_name
from pytest_guardrails.reliability.durability.finite_json import printable
from pytest_guardrails.reliability.loops.error_classes import ErrorClass, ErrorRule, classify, retry_after_s
from pytest_guardrails.reliability.loops.interrupting import Interruptible, StepHungError
from pytest_guardrails.reliability.loops.recovery_model import (
    FORMAT,
    Attempt,
    AuditEntry,
    Handler,
    Recovery,
    RecoveryBusyError,
    RecoveryFailedError,
    RecoveryState,
    parse_recovery,
)
from pytest_guardrails.reliability.loops.stepping import told_of
from pytest_guardrails.reliability.loops.strategies import RecoveryPolicy, Strategy, choose
from pytest_guardrails.reliability.state import StateStore, Transaction
from pytest_guardrails.reliability.telemetry import Draft, EventLog, Metrics, Severity, count, observe

__all__ = ["RecoveryManager"]

_WORDS = 500
_GRACE_S = 5.0
_FORGOTTEN = 100  # entries of the audit at once, so that one which has grown long is shortened step by step


_ENDS = {
    Strategy.SKIP: RecoveryState.SKIPPED,
    Strategy.ESCALATE: RecoveryState.ESCALATED,
    Strategy.TERMINATE: RecoveryState.TERMINATED,
}
_MEND = frozenset({Strategy.RESTORE, Strategy.RESTART})  # what they find may be unsound: that is what they are for
_SEVERITY = {RecoveryState.ESCALATED: Severity.ERROR, RecoveryState.TERMINATED: Severity.CRITICAL}


@final
class RecoveryManager:
    """See the module.

    Args:
        store: where recoveries are kept.
        policy: what is done about what.
        handlers: by strategy, who carries it out. RETRY needs none where `act` is given, SKIP, ESCALATE and TERMINATE
            need none at all.
        rules: of the program's own, to tell errors apart.
        validate: raises when the state is not sound; asked before each attempt, but for one that replaces the state
            (RESTORE, RESTART), and after each. The store's cache is cleared before it is asked.
        automatic: whether `recover` acts at once; otherwise it only notes the item, for `recover_open`.
        clock: for pauses and records. The random number generator of the jitter is seeded by the system.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        policy: RecoveryPolicy | None = None,
        handlers: Mapping[Strategy, Handler] | None = None,
        rules: Sequence[ErrorRule] = (),
        validate: Callable[[StateStore], None] | None = None,
        automatic: bool = True,
        clock: Clock | None = None,
    ) -> None:
        self._store = store
        self._policy = policy or RecoveryPolicy()
        self._handlers = {
            strategy: plain(handler, f"the handler of {strategy}") for strategy, handler in (handlers or {}).items()
        }
        self._rules = tuple(rules)
        self._validate = validate
        self._automatic = automatic
        self._clock = clock or SystemClock()
        self._chance = random.Random()  # noqa: S311 - jitter
        self._events = EventLog(store, clock=self._clock)
        self._metrics = Metrics(store)

    def run(self, item: str, act: Callable[[], Any]) -> Any:
        """Do something, recover when it fails, and give back what came of it in the end.

        The first time `act` is called in this thread, each time after that in one that can be interrupted.

        Raises:
            RecoveryFailedError: it was skipped, escalated or given up.
            RecoveryBusyError: a living process is at it.
        """
        plain(act, "what is to be done")
        try:
            value = act()
        except Exception as error:  # whatever it is, it is classified, and raised below if nothing helps
            found = self.recover(item, error, act=act)
            if found.state is RecoveryState.RECOVERED:
                return found.value
            raise RecoveryFailedError(f"{item} was not recovered, it is {found.state.value}: {found.error}") from error
        return finished(value, "what was to be done")

    def recover(
        self, item: str, error: BaseException, *, failure: str = "", act: Callable[[], Any] | None = None
    ) -> Recovery:
        """Recover an item from an error.

        Args:
            item: names what failed; any text.
            error: what happened.
            failure: names this failure of the item. A recovery from it that has ended is not begun again, its end is
                told; with "" each call after an end begins a new one.
            act: what failed, for RETRY; must be safe to repeat, and to be called in another thread.

        Raises:
            RecoveryBusyError: a living process, or another thread of this one, is at it.
        """
        return self._recover(item, error, failure, act, acts=self._automatic)

    def recover_open(self, item: str, *, act: Callable[[], Any] | None = None) -> Recovery:
        """Recover an item that was noted, or whose recovery was cut off; what has ended is told as it ended."""
        found = self.look(item)
        if found is None or found.state.final:
            raise ConflictError(f"{item!r} is not open: there is nothing to recover")
        return self._recover(item, _Remembered(found.error, found.error_class), "", act, acts=True)

    def look(self, item: str) -> Recovery | None:
        """Where an item stands; None when it never failed."""
        plain = self._store.get(_key(item))
        return None if plain is None else parse_recovery(plain)

    def open_items(self) -> list[Recovery]:
        """Everything that is noted or was begun, and has not ended."""
        found = (self._store.get(key) for key in self._store.keys("recovery/"))
        return [
            recovery for recovery in (parse_recovery(plain) for plain in found if plain) if not recovery.state.final
        ]

    def audit(self, item: str) -> Iterator[AuditEntry]:
        """What was done about an item, so far as it is kept, oldest first."""
        known = self._store.get(_key(item)) or {"audit": 0}
        for number in range(known.get("audit_from", 1), known["audit"] + 1):
            if (plain := self._store.get(_audit_key(item, number))) is not None:  # it was not forgotten meanwhile
                yield AuditEntry.parse(plain)

    def _recover(
        self, item: str, error: BaseException, failure: str, act: Callable[[], Any] | None, *, acts: bool
    ) -> Recovery:
        if not item:
            raise ConfigurationError("an item is named by a text of at least one character")
        with _alone_at(getattr(self._store.backend, "path", id(self._store)), item):
            found = self._begin(item, error, failure, acts=acts)
            return self._climb(found, error, act) if acts and not found.state.final else found

    def _begin(self, item: str, error: BaseException, failure: str, *, acts: bool) -> Recovery:
        """The item's recovery under way, or a new one, or the end of the one from this failure."""
        error_class, words = self._class_of(error), _words(error)
        with self._store.transaction() as transaction:
            old = transaction.get(_key(item))
            known = parse_recovery(old) if old is not None else None
            if old is not None and known is not None:
                if known.state.final and failure and old["failure"] == failure:
                    return known
                if not known.state.final:
                    _check_free(known, old["by"])
                    self._put(transaction, known, by=acts)
                    return known
            begun = Recovery(
                item=item,
                incident=known.incident + 1 if known else 1,
                state=RecoveryState.OPEN,
                error_class=error_class,
                error=words,
                strategy=None,
                used={},
            )
            self._put(transaction, begun, by=acts, failure=failure)
            self._note(transaction, begun, "begun", f"{error_class.value}: {words}")
            self._tell(transaction, begun, "recovery.started", Severity.WARNING, words)
        return begun

    def _climb(self, found: Recovery, error: BaseException, act: Callable[[], Any] | None) -> Recovery:
        """Try one thing after the other until one helps or none is left."""
        began_s = self._clock.monotonic()
        end_s, hung = began_s + self._policy.deadline_s, False
        while True:
            strategy = self._next(found, act is not None, late=hung or self._clock.monotonic() >= end_s)
            found = self._try_noted(found, strategy)
            if strategy is Strategy.RETRY:
                pause = self._policy.backoff.pause_s(found.used[strategy.value], self._chance, retry_after_s(error))
                self._clock.sleep(min(pause, max(0.0, end_s - self._clock.monotonic())))
            value, problem = self._carry_out(found, strategy, act)
            took_s = self._clock.monotonic() - began_s
            if problem is None or strategy in (Strategy.SKIP, Strategy.TERMINATE):
                return self._end(replace(found, value=value), _ENDS.get(strategy, RecoveryState.RECOVERED), took_s)
            if strategy is Strategy.RETRY:
                error = problem
                found = replace(found, error_class=self._class_of(problem), error=_words(problem))
            self._failed(found, problem)
            hung = hung or isinstance(problem, StepHungError)  # nothing may run beside what still runs

    def _next(self, found: Recovery, can_retry: bool, *, late: bool) -> Strategy:
        able = {*self._handlers, Strategy.SKIP, Strategy.ESCALATE, Strategy.TERMINATE}
        if can_retry:
            able.add(Strategy.RETRY)
        totals = (self._store.get(_key(found.item)) or {}).get("totals", {})
        plan = self._policy.plan(found.error_class)
        total = plan.limit if late else totals.get(found.error_class.value, 0)
        return choose(plan, found.used, total, able)

    def _carry_out(
        self, found: Recovery, strategy: Strategy, act: Callable[[], Any] | None
    ) -> tuple[Any, BaseException | None]:
        """What the handler returned, and what went wrong, if anything."""
        number = found.used[strategy.value]
        attempt = Attempt(
            item=found.item,
            strategy=strategy,
            error_class=found.error_class,
            error=found.error,
            number=number,
            key=f"{found.item}/{found.incident}/{strategy.value}/{number}",
        )
        handler = self._handlers.get(strategy)
        if handler is None and strategy is Strategy.RETRY and act is not None:
            handler = lambda _attempt: act()  # noqa: E731 - the name is the point
        runner = Interruptible(self._clock, _GRACE_S)
        changes = strategy not in _ENDS  # what ends a recovery needs no sound state
        try:
            self._sound(changes and strategy not in _MEND)
            value = runner.run(lambda: handler(attempt) if handler else None, self._policy.handler_deadline_s)
            finished(value, f"the handler of {strategy}")
            self._sound(changes)
        except Exception as problem:  # noqa: BLE001 - the edge to code of others: it is noted, and decides what is next
            return None, problem
        return value, None

    def _sound(self, wanted: bool) -> None:
        self._store.clear_cache()
        if wanted and self._validate is not None:
            self._validate(self._store)

    def _try_noted(self, found: Recovery, strategy: Strategy) -> Recovery:
        """Count an attempt before it is made."""
        used = {**found.used, strategy.value: found.used.get(strategy.value, 0) + 1}
        following = replace(found, state=RecoveryState.ACTING, strategy=strategy, used=used)
        with self._store.transaction() as transaction:
            self._put(transaction, following, by=True, counted=True)
            self._note(transaction, following, "tried", following.error)
        return following

    def _failed(self, found: Recovery, problem: BaseException) -> None:
        strategy = found.strategy.value if found.strategy else ""
        with self._store.transaction() as transaction:
            self._put(transaction, found, by=True)
            self._note(transaction, found, "failed", _words(problem))
            self._metrics.record(
                transaction, "recovery", count("recovery_attempts_total", strategy=strategy, outcome="failed")
            )

    def _end(self, found: Recovery, state: RecoveryState, took_s: float) -> Recovery:
        ended = replace(found, state=state)
        strategy = found.strategy.value if found.strategy else ""
        message = f"{state.value} by {strategy} after {sum(found.used.values())} attempts: {found.error}"
        with self._store.transaction() as transaction:
            self._put(transaction, ended, by=False)
            self._note(transaction, ended, "ended", message)
            self._tell(transaction, ended, "recovery.finished", _SEVERITY.get(state, Severity.INFO), message)
            self._metrics.record(
                transaction,
                "recovery",
                count("recovery_attempts_total", strategy=strategy, outcome=state.value),
                count("recoveries_total", state=state.value, error_class=found.error_class.value),
                observe("recovery_seconds", took_s),
            )
        return ended

    def _put(
        self, transaction: Transaction, found: Recovery, *, by: bool, failure: str | None = None, counted: bool = False
    ) -> None:
        old = transaction.get(_key(found.item)) or {"totals": {}, "audit": 0, "failure": ""}
        totals = dict(old["totals"])
        if counted:
            totals[found.error_class.value] = totals.get(found.error_class.value, 0) + 1
        plain = {
            **old,
            "format": FORMAT,
            "item": found.item,
            "incident": found.incident,
            "state": found.state.value,
            "error_class": found.error_class.value,
            "error": found.error,
            "strategy": found.strategy.value if found.strategy else None,
            "used": dict(found.used),
            "totals": totals,
            "failure": old["failure"] if failure is None else failure,
            "by": own_identity().plain() if by else None,
        }
        transaction.put(_key(found.item), plain, keep_versions=1)

    def _note(self, transaction: Transaction, found: Recovery, what: str, message: str) -> None:
        plain = transaction.get(_key(found.item))
        number = plain["audit"] + 1
        strategy = found.strategy.value if found.strategy else ""
        entry = {
            "format": FORMAT,
            "at": self._clock.wall(),
            "incident": found.incident,
            "what": what,
            "strategy": strategy,
        }
        transaction.put(_audit_key(found.item, number), {**entry, "message": message}, keep_versions=1)
        first = plain.get("audit_from", 1)
        kept = max(first, min(number - self._policy.keep_audit + 1, first + _FORGOTTEN))
        for old in range(first, kept):
            transaction.delete(_audit_key(found.item, old), keep_versions=1)
        transaction.put(_key(found.item), {**plain, "audit": number, "audit_from": kept}, keep_versions=1)

    def _tell(self, transaction: Transaction, found: Recovery, kind: str, severity: Severity, message: str) -> None:
        detail = {"state": found.state.value, "error_class": found.error_class.value, "used": dict(found.used)}
        scope = f"{found.item}/{found.incident}"
        draft = Draft(source="recovery", kind=kind, severity=severity, scope=scope, message=message, detail=detail)
        self._events.append(transaction, draft)

    def _class_of(self, error: BaseException) -> ErrorClass:
        return error.error_class if isinstance(error, _Remembered) else classify(error, self._rules)


_mutex = threading.Lock()
_active: set[tuple[object, ...]] = set()  # what threads of this process are at, whichever manager they use


def _in_child() -> None:
    global _mutex  # noqa: PLW0603 - the one that a thread of the parent may have held is of no use here
    _mutex = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@contextmanager
def _alone_at(store: object, item: str) -> Iterator[None]:
    mine = (os.getpid(), store, item)
    with _mutex:
        if mine in _active:
            raise RecoveryBusyError(f"another thread of this process is recovering {item!r}")
        _active.add(mine)
    try:
        yield
    finally:
        with _mutex:
            _active.discard(mine)


@final
class _Remembered(Exception):  # noqa: N818 - stands for an error of another process
    def __init__(self, words: str, error_class: ErrorClass) -> None:
        super().__init__(words)
        self.error_class = error_class


def _check_free(known: Recovery, by: Any) -> None:
    holder = ProcessIdentity.parse(by)
    if holder is not None and holder != own_identity() and is_alive(holder) is not False:
        raise RecoveryBusyError(f"process {holder.pid} on {holder.host} is recovering {known.item!r}")


def _words(error: BaseException) -> str:
    return (printable(str(error)) if isinstance(error, _Remembered) else told_of(error))[:_WORDS]


def _key(item: str) -> str:
    return f"recovery/{safe_name(item)}"


def _audit_key(item: str, number: int) -> str:
    return f"recovery-audit/{safe_name(item)}/{number:06d}"
