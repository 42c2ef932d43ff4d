"""Hooks behind their breakers, and a program that ends in order, crashed at every step.

What recovery returns leaves all times out: they are of the clock, and decide nothing that is looked at here.
"""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from chaos.child.witness import Witness
from pytest_guardrails.reliability.breakers import BreakerSettings, DisabledBook, HookState
from pytest_guardrails.reliability.breakers.document import document_of
from pytest_guardrails.reliability.breakers.hook_document import HookDocument
from pytest_guardrails.reliability.processes import GracefulShutdown, Stage
from pytest_guardrails.reliability.state import BackendKind, Incident, StateStore, open_store
from pytest_guardrails.reliability.telemetry import EventLog

Ack = Callable[[object], None]
COMMAND = "check --all"
SETTINGS = BreakerSettings(cooldown_s=0.0)
INCIDENTS: list[Incident] = []  # of the document, while this state is looked at


def _hooks(disk: Path, kind: BackendKind, *, book: bool = True) -> HookState:
    store = open_store(disk / ("hooks.rest" if kind == "json" else "hooks"), backend=kind, cache=False)
    document = HookDocument(disk / "hooks.json", listener=INCIDENTS.append) if kind == "json" else None
    kept = DisabledBook(disk / "hooks.disabled.json") if book else None
    return HookState(store, SETTINGS, book=kept, document=document)


# Failures open a circuit exactly once.


def setup_sqlite(disk: Path) -> None:
    _hooks(disk, "sqlite").store.close()


def setup_json(disk: Path) -> None:
    _hooks(disk, "json").store.close()


def _fail(disk: Path, ack: Ack, kind: BackendKind) -> None:
    state = _hooks(disk, kind)
    while state.get_hook_state(COMMAND).failure_count < 4:
        ack(state.record_failure(COMMAND, "boom").after.failure_count)
    state.store.close()


def fail_sqlite(disk: Path, ack: Ack) -> None:
    _fail(disk, ack, "sqlite")


def fail_json(disk: Path, ack: Ack) -> None:
    _fail(disk, ack, "json")


def _recover_failures(disk: Path, kind: BackendKind) -> dict[str, object]:
    state = _hooks(disk, kind)
    record, stats = state.get_hook_state(COMMAND), state.get_global_stats()
    opened = (record.state, record.circuit.openings, record.circuit.epoch, record.disabled_at is not None)
    if record.failure_count >= 3 and opened != ("open", 1, 1, True):
        raise ValueError(f"three failures, and the circuit is {opened}")
    if record.failure_count < 3 and opened != ("closed", 0, 0, False):
        raise ValueError(f"{record.failure_count} failures, and the circuit is {opened}")
    if INCIDENTS:
        raise ValueError(f"a crash was taken for damage: {INCIDENTS[0].reason}")
    if kind == "json":
        _check_document(disk, state)
    return {"failures": record.failure_count, "in a row": record.consecutive_failures, "disabled": stats.hooks_disabled}


def _check_document(disk: Path, state: HookState) -> None:
    """The file, as whoever recovers leaves it, is the document, in its documented shape."""
    document = json.loads((disk / "hooks.json").read_bytes())
    if list(document) != ["hooks", "global_stats"] or document != document_of(state):
        raise ValueError(f"the file says {document}, and the hooks are {document_of(state)}")


def recover_sqlite(disk: Path) -> dict[str, object]:
    return _recover_failures(disk, "sqlite")


def recover_json(disk: Path) -> dict[str, object]:
    return _recover_failures(disk, "json")


# Two processes fail at the same time: the circuit opens once, and that is told once.


def _fail_twice(disk: Path, witness: Witness, kind: BackendKind) -> None:
    state = _hooks(disk, kind)
    for _ in range(2):
        with witness.call("add", 1):
            state.record_failure(COMMAND, "boom")
    state.store.close()


def fail_twice_sqlite(disk: Path, witness: Witness) -> None:
    _fail_twice(disk, witness, "sqlite")


def fail_twice_json(disk: Path, witness: Witness) -> None:
    _fail_twice(disk, witness, "json")


def _failures(disk: Path, kind: BackendKind) -> int:
    state = _hooks(disk, kind)
    record = state.get_hook_state(COMMAND)
    told = [event.kind for event in EventLog(state.store)]
    if (record.state, record.circuit.openings, record.circuit.epoch, told) != ("open", 1, 1, ["breaker.opened"]):
        raise ValueError(f"it opened {record.circuit.openings} times, and is {record.state}; told was {told}")
    return record.failure_count


def failures_sqlite(disk: Path, _: list[object]) -> int:
    return _failures(disk, "sqlite")


def failures_json(disk: Path, _: list[object]) -> int:
    return _failures(disk, "json")


# Two processes ask at the end of a cool-down: one probes at a time.


def ask(disk: Path, witness: Witness) -> None:
    state = _hooks(disk, "json")
    admission = state.admit(COMMAND)
    if admission.allowed:
        with witness.section("probing"):
            (disk / f"probed by {os.getpid()}").touch()
        state.record_success(COMMAND, admission)
    state.store.close()


def probed(disk: Path, _: list[object]) -> None:
    """Each probe that there was is counted, and there was at least one."""
    probes = len(list(disk.glob("probed by *")))
    record = _hooks(disk, "json").get_hook_state(COMMAND)
    counted = 2 if record.state == "closed" else record.circuit.successes
    if not probes or counted != probes:
        raise ValueError(f"{probes} probes, {counted} counted, and the circuit is {record.state}")


# A prober that dies gives its permit back.


def setup_open(disk: Path) -> None:
    state = _hooks(disk, "json")
    for _ in range(3):
        state.record_failure(COMMAND, "boom")
    state.store.close()


def probe(disk: Path, ack: Ack) -> None:
    state = _hooks(disk, "json")
    while state.get_hook_state(COMMAND).state != "closed":
        admission = state.admit(COMMAND)
        if not admission.allowed:
            raise ValueError(f"nobody probes, and yet: {admission.reason}")
        state.record_success(COMMAND, admission)
        ack(state.get_hook_state(COMMAND).circuit.successes)
    state.store.close()


def recover_probe(disk: Path) -> dict[str, object]:
    """Whatever the dead prober left, the next one is let in; and only one."""
    state = _hooks(disk, "json")
    if state.get_hook_state(COMMAND).state != "closed":
        first, second = state.admit(COMMAND), state.admit(COMMAND)
        if (first.allowed, second.allowed) != (True, False):
            raise ValueError(f"asked twice: {first.allowed} and {second.allowed} ({second.reason})")
        state.record_abandoned(first)
    return {"known": len(state.get_all_hooks())}


# A torn store, mended: nothing that was disabled runs again.


def _setup_torn(disk: Path, *, book: bool) -> None:
    state = _hooks(disk, "json", book=book)
    state.record_success("other")
    state.disable(COMMAND, author="alice", reason="no")
    state.store.close()
    for name in ("hooks.json", "hooks.rest"):
        content = (disk / name).read_bytes()
        (disk / name).write_bytes(content[: len(content) // 2])


def setup_torn(disk: Path) -> None:
    _setup_torn(disk, book=True)


def setup_torn_without_book(disk: Path) -> None:
    _setup_torn(disk, book=False)


def _mend(disk: Path, ack: Ack, *, book: bool) -> None:
    state = _hooks(disk, "json", book=book)
    ack(state.record_success("other").after.is_disabled)
    state.store.close()


def mend(disk: Path, ack: Ack) -> None:
    _mend(disk, ack, book=True)


def mend_without_book(disk: Path, ack: Ack) -> None:
    _mend(disk, ack, book=False)


def _recover_disabled(disk: Path, *, book: bool) -> dict[str, object]:
    state = _hooks(disk, "json", book=book)
    admission = state.admit(COMMAND)
    if admission.allowed:
        raise ValueError("a disabled hook was re-enabled")
    return {"reason": admission.reason, "other": state.admit("other").allowed}


def recover_disabled(disk: Path) -> dict[str, object]:
    return _recover_disabled(disk, book=True)


def recover_disabled_without_book(disk: Path) -> dict[str, object]:
    return _recover_disabled(disk, book=False)


# A state file that a person has edited, taken in by the next operation.


def setup_edited(disk: Path) -> None:
    state = _hooks(disk, "json")
    state.record_success("other")
    state.disable(COMMAND, author="alice", reason="no")
    state.store.close()
    document = json.loads((disk / "hooks.json").read_bytes())
    document["hooks"]["other"].update(state="open", retry_after=None)
    (disk / "hooks.json").write_text(json.dumps(document, indent=4))


def record(disk: Path, ack: Ack) -> None:
    state = _hooks(disk, "json")
    ack(state.record_success("third").after.consecutive_successes)
    state.store.close()


def recover_edited(disk: Path) -> dict[str, object]:
    """What the person wrote holds, whether the crash came before, while or after it was taken in."""
    state = _hooks(disk, "json")
    allowed = [command for command in (COMMAND, "other", "third") if state.admit(command).allowed]
    if allowed != ["third"] or INCIDENTS:
        raise ValueError(f"these may run: {allowed}; damage: {INCIDENTS}")
    _check_document(disk, state)
    return {"third": state.get_hook_state("third").consecutive_successes}


# A program that is asked to end in the middle of its work.


def _store(disk: Path) -> StateStore:
    return open_store(disk / "work", backend="json")


def setup_work(disk: Path) -> None:
    with _store(disk) as store:
        store.put("queue", ["a", "b"])
        store.put("done", [])


def _drain(store: StateStore) -> None:
    while store.get("queue"):
        with store.transaction() as transaction:
            first, *rest = transaction.get("queue")
            transaction.put("queue", rest)
            transaction.put("done", [*transaction.get("done"), first])


def end_in_order(disk: Path, ack: Ack) -> None:
    with _store(disk) as store, GracefulShutdown() as shutdown:
        shutdown.register("checkpoint", lambda: store.put("checkpoint", len(store.get("done"))), stage=Stage.CHECKPOINT)
        shutdown.register("drain", lambda: _drain(store), stage=Stage.DRAIN)
        os.kill(os.getpid(), signal.SIGTERM)
        if not shutdown.wait_requested(20.0):
            raise ValueError("the signal was not heard")
        if [step.outcome for step in shutdown.run()] != ["done", "done"]:
            raise ValueError(f"not all was done: {shutdown.report}")
        ack(store.get("checkpoint"))


def recover_work(disk: Path) -> dict[str, object]:
    with _store(disk) as store:
        queue, done, checkpoint = store.get("queue"), store.get("done"), store.get("checkpoint")
    if [*done, *queue] != ["a", "b"]:
        raise ValueError(f"work was lost or doubled: {done} and {queue}")
    if checkpoint is not None and (checkpoint, queue) != (2, []):
        raise ValueError(f"the checkpoint {checkpoint} came before the work: {queue}")
    return {"done": list(done), "checkpoint": checkpoint}
