"""Loops that beat and are paused, and a registered process whose number another one has got since."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from chaos.child.witness import Witness
from pytest_guardrails.reliability.processes import Heartbeat, ProcessRegistry, is_process_healthy
from pytest_guardrails.reliability.state import BackendSettings, StateStore, open_store
from pytest_guardrails.reliability.telemetry import EventLog

Ack = Callable[[object], None]
WORKERS = 2
_MOST_S = 0.1  # of silence
_SLACK_S = 0.2  # between a pause and who looks at it, on a busy machine
_LOOK_S = 0.005


# Each loop beats, and looks whether the others do.


def setup_beats(disk: Path) -> None:
    _beats(disk).close()


def _beats(disk: Path) -> StateStore:
    return open_store(disk / "beats", settings=BackendSettings(durability="process"))


def beat(disk: Path, witness: Witness) -> None:
    _beat(disk, witness, _MOST_S)


def beat_without_limit(disk: Path, witness: Witness) -> None:
    """Broken on purpose: whoever ever beat is called healthy as long as its process is there."""
    _beat(disk, witness, 1e9)


def _beat(disk: Path, witness: Witness, most_s: float) -> None:
    stopped_at: dict[str, float] = {}
    with _beats(disk) as store:
        heart = Heartbeat(store, f"loop {witness.number}", interval_s=0.0)
        for number in range(1_000_000):
            heart.beat(number)
            witness(number)
            for other in range(WORKERS):
                if other != witness.number:
                    _look(disk, store, f"loop {other}", most_s, stopped_at)
            time.sleep(_LOOK_S)


def _look(disk: Path, store: StateStore, name: str, most_s: float, stopped_at: dict[str, float]) -> None:
    """Write down each process that is called healthy though it has been seen stopped for far too long."""
    health = is_process_healthy(store, name, max_age_s=most_s)
    if health.beat is None or not _is_stopped(health.beat.process.pid):
        stopped_at.pop(name, None)
        return
    seen = f"{name} {health.beat.process.pid} {health.beat.beats}"
    since = stopped_at.setdefault(seen, time.monotonic())
    if health.healthy and time.monotonic() - since > _MOST_S + _SLACK_S and _is_stopped(health.beat.process.pid):
        (disk / "wrong").write_text(f"{seen} was called healthy after {time.monotonic() - since:.2f} s")
    if health.reason == "silent":
        (disk / "silent").touch()


def _is_stopped(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "Tt"
    except OSError:
        return False


def recover_beats(disk: Path) -> dict[str, object]:
    """Nobody that was paused was called healthy; now all are gone, and that is seen as well."""
    if (disk / "wrong").exists():
        raise ValueError((disk / "wrong").read_text())
    with _beats(disk) as store:
        reasons = {is_process_healthy(store, f"loop {number}").reason for number in range(WORKERS)}
    if not reasons <= {"process gone", "no beat"}:
        raise ValueError(f"all have ended, and yet: {sorted(reasons)}")
    return {"a pause was noticed": (disk / "silent").exists()}


# A number that was given out again.


def _registry(disk: Path) -> tuple[ProcessRegistry, StateStore]:
    store = open_store(disk / "registry", backend="json")
    return ProcessRegistry(store, "program"), store


def setup_registry(disk: Path) -> None:
    _registry(disk)[1].close()


def clean_up(disk: Path, ack: Ack) -> None:
    """A process of ours has ended, and a stranger has got its number: the clean-up forgets ours, and lets it live."""
    registry, store = _registry(disk)
    stranger = os.fork()
    if not stranger:
        time.sleep(30.0)
        os._exit(0)
    try:
        registry.register(stranger, role="worker")
        (key,) = store.keys("process/")
        plain = store.get(key)
        gone = {**plain["process"], "started": "1"}
        with store.transaction() as transaction:
            transaction.delete(key)
            registered = {**plain, "process": gone, "parent": {**plain["parent"], "started": "1"}, "since_s": 0.0}
            transaction.put(f"process/program/{stranger}-1-{gone['boot']}", registered)
        ack("registered")
        found = [(done.standing, done.outcome) for done in registry.cleanup_stale_processes(grace_s=0.0)]
        if found != [("gone", "forgotten")] or os.waitpid(stranger, os.WNOHANG) != (0, 0):
            raise ValueError(f"the stranger was not left alone: {found}")
        ack("cleaned up")
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)


def recover_registry(disk: Path) -> dict[str, object]:
    """A clean-up is there with its event, or not at all; the next one ends nobody either."""
    registry, store = _registry(disk)
    before = [event.kind for event in EventLog(store)]
    outcomes = {done.outcome for done in registry.cleanup_stale_processes(grace_s=0.0)}
    if not outcomes <= {"forgotten", "left alone"} or len(before) > 1:
        raise ValueError(f"clean-ups did {outcomes}, told {before}")
    if before and registry.registrations():
        raise ValueError("a clean-up was told that is not there")
    return {"told": len(before)}
