"""`LoopController`: runs a step again and again until its conditions say that it is enough, and remembers where it was.

    controller = LoopController("nightly", store, stop_when=MaxIterations(20) | Timeout(600.0))
    report = controller.run(lambda step: fetch(page=step.iteration))

**Guarantees.** One owner at a time, among all threads and processes of a host. Each iteration, with all that is
counted and judged of it and the events that tell of it, is one transaction: after a crash the run goes on with the same
budgets, counters, history and verdicts. A loop that ended is not executed again, whoever starts it. A hanging step is
interrupted. A step that always fails ends the loop *failed*.
**Does not** undo what a step did before it was cut off: that iteration is executed again, as `attempt` 2, and
`StepContext.effects` tells what may have been done. Its time and costs up to the crash are not counted.
**On crash** nothing is to be cleaned up: the next owner takes over at once. A commit that the disk refuses is tried
again for some seconds before `run` raises; the iteration is then executed again by the next owner.
**Threads and processes.** `pause`, `resume`, `stop`, `signal` and `status` work from any process that opens the store.

Read `course.py` for what an iteration does to a run, `ledger.py` for what is kept.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, final

from pytest_guardrails.callables import plain
from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, CorruptionError, DeadlineError, StorageError
from pytest_guardrails.reliability.durability import Lease, LeaseLostError, safe_name
from pytest_guardrails.reliability.durability.finite_json import printable
from pytest_guardrails.reliability.loops.background import Background
from pytest_guardrails.reliability.loops.conditions import AnyOf, Condition, ConsecutiveFailures, Predicates
from pytest_guardrails.reliability.loops.course import (
    Advance,
    Rules,
    advance,
    crashed,
    settle_claim,
    source_of,
    state_draft,
)
from pytest_guardrails.reliability.loops.facts import Ending, LoopState, Reason
from pytest_guardrails.reliability.loops.forgetting import (
    effects_of,
    forget_iterations,
    forget_runs,
    without_iterations,
    without_runs,
)
from pytest_guardrails.reliability.loops.interrupting import Interruptible
from pytest_guardrails.reliability.loops.ledger import (
    Iteration,
    LoopRecord,
    Requests,
    iteration_key,
    iterations_of,
    record_key,
    request_key,
)
from pytest_guardrails.reliability.loops.ownership import Ownership
from pytest_guardrails.reliability.loops.report import LoopReport, LoopSettings, report_of
from pytest_guardrails.reliability.loops.stepping import StepContext, StepFunction, execute
from pytest_guardrails.reliability.loops.stuck import StuckDetector
from pytest_guardrails.reliability.loops.stuck_model import Level, StuckSettings
from pytest_guardrails.reliability.state import Effects, StateStore, Transaction, thaw
from pytest_guardrails.reliability.telemetry import Draft, EventLog, Metrics, Severity, count

__all__ = ["LoopController"]

_PROBLEM_CHARACTERS = 500
_PAUSES_S = (0.1, 0.5, 2.0, 5.0)  # before a commit that was refused is tried again


@final
class LoopController:
    """See the module.

    Args:
        loop_id: names the loop; any text.
        store: where it is kept.
        stop_when: when it ends; `settings.failure_limit` comes on top.
        settings: how it is run.
        predicates: for the `Custom` conditions in `stop_when`.
        stuck: how patient the stuck detector is; None for no detector.
        clock: for durations and records.

    Attributes:
        on_iteration: called with each iteration of this owner, after it was written.
        on_state: called with the report when this owner takes the loop over, pauses, goes on, and ends. What a
            listener raises is told as an event, and harms nobody.
    """

    def __init__(
        self,
        loop_id: str,
        store: StateStore,
        *,
        stop_when: Condition,
        settings: LoopSettings | None = None,
        predicates: Predicates | None = None,
        stuck: StuckSettings | None = StuckSettings(),  # noqa: B008 - frozen
        clock: Clock | None = None,
    ) -> None:
        if not loop_id:
            raise ConfigurationError("a loop is named by a text of at least one character")
        self.loop_id = loop_id
        self.settings = settings or LoopSettings()
        self.on_iteration: list[Callable[[Iteration], None]] = []
        self.on_state: list[Callable[[LoopReport], None]] = []
        self._store = store
        self._clock = clock or SystemClock()
        limit = self.settings.failure_limit
        condition = stop_when if limit is None else AnyOf((stop_when, ConsecutiveFailures(limit)))
        self._predicates = {
            name: plain(predicate, f"the predicate {name!r}") for name, predicate in (predicates or {}).items()
        }
        if missing := sorted(set(condition.names()) - set(self._predicates)):
            raise ConfigurationError(f"no predicate was given for {', '.join(missing)}")
        self._condition = condition
        self._stuck = stuck
        self._lease_path = self.settings.lease_path or _beside(store, loop_id)
        self._events = EventLog(store, clock=self._clock)
        self._metrics = Metrics(store)
        self._runner = Interruptible(self._clock, self.settings.grace_s)
        self._wake = threading.Event()
        self._history: deque[Iteration] = deque(maxlen=self.settings.history)
        self._later: list[Draft] = []  # events that go with the next transaction
        self._token = 0
        self._since_s = 0.0
        self._lost: LeaseLostError | None = None
        self._background: Background | None = None

    def run(self, step: StepFunction, *, wait_s: float = 0.0, restart: bool = False, amend: bool = False) -> LoopReport:
        """Execute the loop until it ends, and say how.

        Args:
            step: called once an iteration; see `LoopSettings.interruptible` for the thread.
            wait_s: how long to wait for another owner to end, in seconds.
            restart: begin a new run when the last one has ended; otherwise its report is all that is given.
            amend: go on under this controller's conditions, where a run under way was started with others.

        Raises:
            LeaseHeldError: another owner lives.
            LeaseLostError: this one is the owner no more; nothing that came after was written.
            ConfigurationError: the run under way was started with other conditions, or the step is no plain function.
        """
        plain(step, "the step")
        ttl_s, watch_s = self.settings.lease_ttl_s, self.settings.watch_s
        lease = Lease(self._lease_path, ttl_s=ttl_s, owner=f"loop {self.loop_id}", clock=self._clock)
        ownership = Ownership(
            lease, ttl_s=ttl_s, watch_s=watch_s, look=self._look, lost=self._on_lost, clock=self._clock
        )
        try:
            self._token, self._lost = ownership.acquire(wait_s), None
            record, rules = self._claim(restart=restart, amend=amend)
            while not (record := self._obey(record)).state.final:
                record = self._iterate(step, record, rules)
            if later := self._later:
                self._later = []
                _was_written(lambda: self._events.emit(*later))
            return report_of(record)
        finally:
            ownership.release()

    def start(self, step: StepFunction, *, wait_s: float = 0.0, restart: bool = False, amend: bool = False) -> None:
        """As `run`, in the background; `wait` tells the end."""
        if self._background is not None and self._background.is_alive():
            raise ConfigurationError(f"loop {self.loop_id!r} runs in the background already")
        plain(step, "the step")
        self._background = Background(lambda: self.run(step, wait_s=wait_s, restart=restart, amend=amend))
        self._background.start()

    def wait(self, deadline_s: float | None = None) -> LoopReport:
        """Wait for the loop that `start` started; what went wrong there is raised here.

        Raises:
            DeadlineError: it has not ended in time; it goes on.
        """
        if self._background is None:
            raise ConfigurationError(f"loop {self.loop_id!r} was not started here")
        return self._background.wait(deadline_s)

    def pause(self) -> None:
        """Have it wait after the iteration under way; time that it waits is not counted."""
        self._request(lambda found: replace(found, pause=True))

    def resume(self) -> None:
        """Have it go on."""
        self._request(lambda found: replace(found, pause=False))

    def stop(self, reason: str = "it was told to stop") -> None:
        """Have it end aborted, by its owner or by the next one; the step under way is interrupted."""
        self._request(lambda found: replace(found, stop=printable(reason)))

    def signal(self, name: str) -> None:
        """Raise a signal, for `External` conditions."""
        self._request(lambda found: replace(found, signals=found.signals | {name}))

    def status(self) -> LoopReport:
        """Where it is, as of the last commit of its owner."""
        plain = self._store.get(record_key(self.loop_id))
        return report_of(LoopRecord(loop_id=self.loop_id, run=0) if plain is None else LoopRecord.parse(plain))

    def recent(self) -> tuple[Iteration, ...]:
        """The last iterations that this controller executed, oldest first."""
        return tuple(self._history)

    def iterations(self, run: int | None = None) -> Iterator[Iteration]:
        """Every iteration that is kept of a run, the current one if None, oldest first, from the store."""
        wanted = self.status().run if run is None else run
        for key in self._store.keys(iterations_of(self.loop_id, wanted)):
            if (plain := self._store.get(key)) is not None:  # it was not forgotten meanwhile
                yield Iteration.parse(plain)

    def _claim(self, *, restart: bool, amend: bool) -> tuple[LoopRecord, Rules]:
        """Take the run over, or begin one."""
        plain = self._store.get(record_key(self.loop_id))
        found = LoopRecord.parse(plain) if plain is not None else None
        requests = self._requests()
        if found is None or (found.state.final and restart):
            run = found.run + 1 if found else 1
            unknown = found.unknown if found else {}
            record = LoopRecord(loop_id=self.loop_id, run=run, started_at=self._clock.wall(), unknown=unknown)
            record = replace(record, condition=self._condition.plain())
            if found is not None:
                requests = Requests()  # what was asked was asked of the run before
                record = without_runs(record, found, self.settings.keep_runs)
        else:
            record = self._same_conditions(found, amend)
        rules = Rules(condition=self._condition, predicates=self._predicates, detector=self._detector(record))
        self._since_s = self._clock.monotonic()
        if record.state.final:
            return record, rules
        if record.pending and record.attempt >= self.settings.attempts:
            done = advance(record, crashed(record.attempt), rules, requests, record.facts.elapsed_s)
            return self._commit(done), rules
        record, draft = settle_claim(record, requests.pause)
        self._write(record, draft, requests=requests, more=lambda one: forget_runs(one, found or record, record))
        self._tell(self.on_state, report_of(record))
        return record, rules

    def _same_conditions(self, record: LoopRecord, amend: bool) -> LoopRecord:
        plain = self._condition.plain()
        if record.state.final or thaw(record.condition) == plain:
            return record
        if not amend:
            raise ConfigurationError(
                f"run {record.run} of loop {self.loop_id!r} was started with the conditions {thaw(record.condition)}, "
                f"and would go on with {plain}: use those, or run(..., amend=True)"
            )
        return replace(record, condition=plain)

    def _detector(self, record: LoopRecord) -> StuckDetector | None:
        if self._stuck is None:
            return None
        detector = StuckDetector(settings=self._stuck)
        if record.detector is not None:
            detector.restore_state(thaw(record.detector))
        return detector

    def _iterate(self, step: StepFunction, record: LoopRecord, rules: Rules) -> LoopRecord:
        left_s = rules.condition.time_left_s(replace(record.facts, elapsed_s=self._elapsed_s(record)))
        limits = [limit for limit in (left_s, self.settings.step_deadline_s) if limit is not None]
        deadline_s = min(limits, default=None)
        context = StepContext(
            loop_id=self.loop_id,
            run=record.run,
            iteration=record.pending,
            attempt=record.attempt,
            value=thaw(record.facts.value),
            advice_level=Level(record.stuck_level),
            advice=record.advice,
            deadline_s=deadline_s,
            effects=Effects(self._store, effects_of(self.loop_id, record.run)),
        )
        if self.settings.interruptible:
            done = execute(lambda: self._runner.run(lambda: step(context), deadline_s), self._clock)
        else:
            done = execute(lambda: step(context), self._clock)
        if self._lost is not None:
            raise self._lost
        return self._commit(advance(record, done, rules, self._requests(), self._elapsed_s(record)))

    def _commit(self, done: Advance) -> LoopRecord:
        self._since_s = self._clock.monotonic()
        record = without_iterations(done.record, self.settings.keep_iterations)

        def more(transaction: Transaction) -> None:
            key = iteration_key(self.loop_id, record.run, done.iteration.number)
            transaction.put(key, done.iteration.plain(), keep_versions=1)
            forget_iterations(transaction, done.record, record)
            self._metrics.record(transaction, source_of(self.loop_id), *done.samples)

        self._write(record, *done.drafts, new_state=record.state.final, more=more)
        self._history.append(done.iteration)
        self._tell(self.on_iteration, done.iteration)
        if record.state.final:
            self._tell(self.on_state, report_of(record))
        return record

    def _obey(self, record: LoopRecord) -> LoopRecord:
        """Wait while it is to pause, end it when it is to stop."""
        while not record.state.final:
            requests = self._requests()
            if requests.stop is not None:
                ending = Ending(state=LoopState.ABORTED, reason=Reason.MANUAL, detail=requests.stop)
                record = self._change(record.ended(ending), requests.stop)
            elif requests.pause and record.state is not LoopState.PAUSED:
                facts = replace(record.facts, elapsed_s=self._elapsed_s(record))
                paused = replace(record, facts=facts, state=LoopState.PAUSED, pending=0, attempt=0)
                record = self._change(paused, "it waits until it is resumed")
            elif requests.pause:
                self._wake.wait(self.settings.watch_s)
                self._wake.clear()
                if self._lost is not None:
                    raise self._lost
            elif record.state is LoopState.PAUSED:
                self._since_s = self._clock.monotonic()
                record = self._change(record.begun(LoopState.RUNNING), "it goes on")
            else:
                return record
        return record

    def _change(self, record: LoopRecord, message: str) -> LoopRecord:
        self._write(record, state_draft(record, message))
        self._tell(self.on_state, report_of(record))
        return record

    def _write(
        self,
        record: LoopRecord,
        *drafts: Draft,
        requests: Requests | None = None,
        new_state: bool = True,
        more: Callable[[Transaction], None] = lambda transaction: None,  # noqa: ARG005 - nothing more
    ) -> None:
        later, self._later = self._later, []

        def write() -> None:
            with self._store.transaction() as transaction:
                transaction.fence(record_key(self.loop_id), self._token)
                transaction.put(record_key(self.loop_id), record.plain(), keep_versions=1)
                if requests is not None:
                    transaction.put(request_key(self.loop_id), requests.plain(), keep_versions=1)
                self._events.append(transaction, *later, *drafts)
                if new_state:
                    changes = count("loop_state_changes_total", state=record.state.value)
                    self._metrics.record(transaction, source_of(self.loop_id), changes)
                more(transaction)

        _patiently(write, self._clock)

    def _request(self, change: Callable[[Requests], Requests]) -> None:
        key = request_key(self.loop_id)
        with self._store.transaction() as transaction:
            transaction.put(key, change(Requests.parse(transaction.get(key))).plain(), keep_versions=1)
        self._look()

    def _requests(self) -> Requests:
        return Requests.parse(self._store.get(request_key(self.loop_id)))

    def _look(self) -> None:
        requests = self._requests()
        if requests.stop is not None:
            self._runner.interrupt(requests.stop)
        self._wake.set()

    def _on_lost(self, error: LeaseLostError) -> None:
        self._lost = error
        self._runner.interrupt("the loop has another owner")
        self._wake.set()

    def _elapsed_s(self, record: LoopRecord) -> float:
        return record.facts.elapsed_s + max(0.0, self._clock.monotonic() - self._since_s)

    def _tell(self, listeners: list[Callable[[Any], None]], what: object) -> None:
        for listener in listeners:
            problem = _problem_of(listener, what)
            if problem:
                kind, source = "loop.listener_failed", source_of(self.loop_id)
                self._later.append(Draft(source=source, kind=kind, severity=Severity.WARNING, message=problem))


def _patiently(write: Callable[[], None], clock: Clock) -> None:
    """A disk that is full for a moment, or a lock that is held for long, need not cost the step that was just done."""
    for pause_s in _PAUSES_S:
        if _was_written(write):
            return
        clock.sleep(pause_s)
    write()


def _was_written(write: Callable[[], object]) -> bool:
    try:
        write()
    except CorruptionError:
        raise
    except (StorageError, DeadlineError):  # nothing was changed, so it may be tried again
        return False
    return True


def _problem_of(listener: Callable[[Any], None], what: object) -> str:
    try:
        listener(what)
    except Exception as error:  # noqa: BLE001 - the edge to code of others: it is told, and the loop goes on
        return f"a listener failed: {type(error).__name__}: {error}"[:_PROBLEM_CHARACTERS]
    return ""


def _beside(store: StateStore, loop_id: str) -> str:
    path = getattr(store.backend, "path", None)
    if not isinstance(path, str):
        raise ConfigurationError("this store has no file beside which a lease could lie: name settings.lease_path")
    return f"{path}.{safe_name('loop ' + loop_id)}.lease"
