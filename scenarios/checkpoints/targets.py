"""A run that keeps a checkpoint after each step, and one whose steps act on the outside world.

The outside world is a file that each side effect appends a line to, synced, as a remote service would keep it. No line
may be there twice: where the crash came between the effect and its record, the answer is *outcome unknown*, and the
run settles it by looking at the file.
"""

import os
from collections.abc import Callable
from pathlib import Path

from pytest_guardrails.reliability.state import (
    Checkpoint,
    Checkpoints,
    Effects,
    EffectState,
    OutcomeUnknownError,
    StateStore,
    open_store,
)

Ack = Callable[[object], None]
STEPS, EFFECTS = 3, 2


def _open(disk: Path) -> StateStore:
    return open_store(disk / "state.json", backend="json")


def setup(disk: Path) -> None:
    with _open(disk) as store:
        store.put("guard", -1)


def workload(disk: Path, ack: Ack) -> None:
    with _open(disk) as store:
        checkpoints = Checkpoints(store, keep=2)
        newest = checkpoints.load("run")
        for step in range(newest.iteration_index + 1 if newest else 0, STEPS):
            checkpoint = Checkpoint(run_id="run", iteration_index=step, payload={"hashes": [step] * 3})
            checkpoints.save(checkpoint, together=lambda transaction, step=step: transaction.put("guard", step))
            ack(step)


def recover(disk: Path) -> dict[str, object]:
    with _open(disk) as store:
        newest = Checkpoints(store).load("run")
        return {
            "iteration": newest.iteration_index if newest else -1,
            "payload": newest.payload if newest else None,
            "guard": store.get("guard"),
            "listed": [entry.sequence for entry in Checkpoints(store, keep=2).list("run")],
        }


def setup_world(disk: Path) -> None:
    setup(disk)
    (disk / "world").write_text("")


def act(disk: Path, ack: Ack) -> None:
    with _open(disk) as store:
        effects = Effects(store, "run")
        for step in range(EFFECTS):
            if effects.look("pay", step).state is EffectState.DONE:
                continue
            try:
                effects.once("pay", step, lambda key: _pay(disk, key))
            except OutcomeUnknownError:
                _settle(disk, effects, step)
            ack(step)


def _pay(disk: Path, key: str) -> str:
    descriptor = os.open(disk / "world", os.O_WRONLY | os.O_APPEND)
    os.write(descriptor, f"{key}\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)
    return key


def _settle(disk: Path, effects: Effects, step: int) -> None:
    key = effects.look("pay", step).key
    if f"{key}\n" in (disk / "world").read_text():
        effects.done("pay", step, result=key)
        return
    _drop_half_line(disk)
    effects.retry("pay", step)
    effects.once("pay", step, lambda key: _pay(disk, key))


def _drop_half_line(disk: Path) -> None:
    content = (disk / "world").read_text()
    os.truncate(disk / "world", content.rfind("\n") + 1)


def recover_world(disk: Path) -> dict[str, object]:
    """What is certain: the effects known to be done, and every line of the world at most once."""
    lines = (disk / "world").read_text().splitlines()
    if len(lines) != len(set(lines)):
        raise ValueError(f"an effect was repeated: {lines}")
    with _open(disk) as store:
        effects = Effects(store, "run")
        done = [step for step in range(EFFECTS) if effects.look("pay", step).state is EffectState.DONE]
        missing = [step for step in done if f"effect/run/pay/{step}" not in lines]
        return {"done": done, "missing": missing}


def repeat(disk: Path, ack: Ack) -> None:
    """The canary: whatever was not recorded as done is simply done again."""
    with _open(disk) as store:
        for step in range(EFFECTS):
            if store.get(f"done/{step}") is None:
                _pay(disk, f"effect/run/pay/{step}")
                store.put(f"done/{step}", True)
            ack(step)


def recover_repeated(disk: Path) -> dict[str, object]:
    lines = (disk / "world").read_text().splitlines()
    if len(lines) != len(set(lines)):
        raise ValueError(f"an effect was repeated: {lines}")
    with _open(disk) as store:
        return {"done": [step for step in range(EFFECTS) if store.get(f"done/{step}")]}
