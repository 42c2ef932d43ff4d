"""There is a way to wait without threads, as at the interpreter's end."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_guardrails.reliability.durability import FileLock, LockDeadlineError, seats
from pytest_guardrails.reliability.durability.kernel import Mode
from tests.reliability.processes import Child

Say = Callable[[str], None]


def holder(path: Path, mode: Mode) -> Child:
    """A process that holds the lock until it is killed."""

    def hold(say: Say) -> None:
        lock = FileLock(path)
        lock.acquire(mode)
        say("held")
        threading.Event().wait()

    child = Child(hold)
    assert child.line() == "held"
    return child


def test_who_can_start_no_thread_waits_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    child = holder(path, "exclusive")
    lock = FileLock(path)
    asked: list[str] = []

    def refuse(thread: threading.Thread) -> NoReturn:
        asked.append(thread.name)
        if len(asked) == 2:
            child.kill()
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(seats, "_idle_helpers", [])
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(LockDeadlineError, match=f"process {child.pid}"):
        lock.acquire(deadline_s=0.05)
    with lock.exclusive(deadline_s=20.0):
        assert len(asked) == 2
