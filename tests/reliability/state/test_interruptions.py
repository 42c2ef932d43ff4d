"""Ctrl-C at the moment when something was just taken, and nobody knows of it yet: it is given back."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.reliability.durability import FileLock, Lease, lease, write_atomic
from pytest_guardrails.reliability.loops import LoopController, MaxIterations, Reason, StepResult
from pytest_guardrails.reliability.state import BackendKind, open_store
from pytest_guardrails.reliability.state import json_file as json_backend
from pytest_guardrails.reliability.state import sqlite as sqlite_backend

BLOCKS: dict[str, Callable[[FileLock], AbstractContextManager[object]]] = {
    "with": lambda lock: lock,
    "exclusive": FileLock.exclusive,
    "shared": FileLock.shared,
}


class Interrupted:
    """Does what a function does, and is interrupted when it is done; once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self.over = False

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        done = self._function(*arguments, **named)
        if not self.over:
            self.over = True
            raise KeyboardInterrupt
        return done


def is_free(lock: FileLock) -> bool:
    """Whether another thread can have it at once."""
    taken: list[bool] = []

    def take() -> None:
        with lock.exclusive(deadline_s=0.0):
            taken.append(True)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(taken)


@pytest.mark.parametrize(
    ("how", "moment"),
    [("with", "acquire"), ("with", "sign"), ("exclusive", "acquire"), ("exclusive", "sign"), ("shared", "acquire")],
)
def test_a_lock_that_was_just_taken_for_a_block_is_free_again(
    tmp_path: Path, how: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = FileLock(tmp_path / "lock")
    with monkeypatch.context() as patch:
        interrupted = Interrupted(getattr(lock, moment))
        patch.setattr(FileLock, moment, lambda _self, *arguments, **named: interrupted(*arguments, **named))
        with pytest.raises(KeyboardInterrupt), BLOCKS[how](lock):
            pytest.fail("the block was entered")
    assert lock.held is None
    assert is_free(lock)


def test_a_lock_that_is_held_outside_of_the_block_stays_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = FileLock(tmp_path / "lock")
    with lock:
        with monkeypatch.context() as patch:
            interrupted = Interrupted(lock.acquire)
            patch.setattr(FileLock, "acquire", lambda _self, *arguments, **named: interrupted(*arguments, **named))
            with pytest.raises(KeyboardInterrupt), lock:
                pytest.fail("the block was entered")
        assert lock.held == "exclusive"
    assert is_free(lock)


@pytest.mark.parametrize("kind", ["sqlite", "json"])
def test_a_store_whose_lock_was_just_taken_can_be_written_by_others(
    tmp_path: Path, kind: BackendKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = {"sqlite": sqlite_backend, "json": json_backend}[kind]
    with open_store(tmp_path / "store", backend=kind) as store:
        with monkeypatch.context() as patch:
            patch.setattr(module, "wait_for", Interrupted(module.wait_for))
            with pytest.raises(KeyboardInterrupt):
                store.put("key", 1)
        assert is_free(FileLock.beside(tmp_path / "store"))


def test_threads_are_not_shut_out_by_one_that_was_interrupted_when_its_turn_came(tmp_path: Path) -> None:
    with open_store(tmp_path / "store") as store:
        lead = store._combiner._lead

        class Turn:
            acquire = Interrupted(lead.acquire)
            release = lead.release

        store._combiner._lead = Turn()  # type: ignore[assignment]
        with pytest.raises(KeyboardInterrupt):
            store.put("key", 1)
        assert Turn.acquire.over
        thread = threading.Thread(target=lambda: store.put("key", 2))
        thread.start()
        thread.join(20.0)
        assert store.get("key") == 2


def test_a_loop_whose_lease_was_just_granted_can_be_run_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(tmp_path / "store") as store:
        loop = LoopController("loop", store, stop_when=MaxIterations(1))
        with monkeypatch.context() as patch:
            patch.setattr(lease, "write_atomic", Interrupted(write_atomic))
            with pytest.raises(KeyboardInterrupt):
                loop.run(lambda _step: StepResult())
        assert loop.run(lambda _step: StepResult()).reason is Reason.MAX_ITERATIONS


def test_a_lease_whose_grant_was_interrupted_can_be_released(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Lease(tmp_path / "lease", ttl_s=60.0)
    with monkeypatch.context() as patch:
        patch.setattr(lease, "write_atomic", Interrupted(write_atomic))
        with pytest.raises(KeyboardInterrupt):
            held.acquire()
    held.release()
    assert Lease(tmp_path / "lease", ttl_s=60.0).acquire() == 2
