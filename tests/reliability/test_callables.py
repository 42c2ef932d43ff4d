"""What is handed over to be called: a coroutine that nobody awaits passes nowhere for work that was done."""

import functools
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.callables import finished, plain
from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.health import Alerts, Level
from pytest_guardrails.reliability.loops import Custom, LoopController, LoopState, RecoveryManager, Strategy
from pytest_guardrails.reliability.processes import GracefulShutdown
from pytest_guardrails.reliability.state import Effects, StateStore, open_store


async def later(*_: object) -> bool:
    return True


def one_by_one(*_: object) -> Iterator[int]:
    yield 1


async def stream(*_: object) -> AsyncIterator[int]:
    yield 1


class Later:
    async def __call__(self, *_: object) -> bool:
        return True

    async def method(self) -> None: ...


class Now:
    def __call__(self, *_: object) -> int:
        return 1


def hidden(*_: object) -> object:
    return later()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "store") as store:
        yield store


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (later, "is a coroutine function"),
        (Later(), "is a coroutine function"),
        (Later().method, "is a coroutine function"),
        (functools.partial(functools.partial(Later()), 1), "is a coroutine function"),
        (one_by_one, "makes a generator"),
        (stream, "makes a generator"),
        (5, "can't be called: 5"),
    ],
)
def test_what_would_do_nothing_is_refused_by_name(function: object, why: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"the step {why}")):
        plain(function, "the step")


@pytest.mark.parametrize("function", [len, Now(), Now, hidden, functools.partial(Now(), 1), [].append, print])
def test_what_does_its_work_when_it_is_called_is_taken(function: Callable[..., object]) -> None:
    assert plain(function, "the step") is function


def test_a_coroutine_that_was_given_is_closed_and_refused() -> None:
    coroutine: Any = later()
    with pytest.raises(ConfigurationError, match="the step gave a coroutine"):
        finished(coroutine, "the step")
    assert coroutine.cr_frame is None
    assert finished([1], "the step") == [1]


def test_a_step_is_refused_before_anything_is_written(store: StateStore) -> None:
    controller = LoopController("loop", store, stop_when=Custom("enough"), predicates={"enough": lambda _: True})
    for start in (controller.run, controller.start):
        with pytest.raises(ConfigurationError, match="the step is a coroutine function"):
            start(later)
    assert store.keys() == []


def test_a_predicate_that_gives_a_coroutine_does_not_hold(store: StateStore) -> None:
    with pytest.raises(ConfigurationError, match="predicate 'enough' is a coroutine function"):
        LoopController("loop", store, stop_when=Custom("enough"), predicates={"enough": later})  # type: ignore[dict-item]
    controller = LoopController("loop", store, stop_when=Custom("enough"), predicates={"enough": hidden})  # type: ignore[dict-item]
    report = controller.run(lambda _: 1)
    assert (report.state, "gave a coroutine" in report.detail) == (LoopState.FAILED, True)


def test_a_callback_of_a_shutdown_is_not_done_by_a_coroutine() -> None:
    with GracefulShutdown() as shutdown:
        with pytest.raises(ConfigurationError, match="callback 'flush' is a coroutine function"):
            shutdown.register("flush", later)
        shutdown.register("flush", hidden)
    assert [(step.outcome, "gave a coroutine" in step.error) for step in shutdown.report] == [("failed", True)]


def test_an_alert_is_not_sent_by_a_coroutine() -> None:
    with pytest.raises(ConfigurationError, match="sender 2 is a coroutine function"):
        Alerts([print, later])
    alerts = Alerts([hidden])
    assert alerts.tell("disk", Level.CRITICAL)
    assert alerts.flush()
    assert (alerts.statistics().sent, alerts.statistics().failed) == (0, 1)


def test_nothing_is_recovered_by_a_coroutine(store: StateStore) -> None:
    with pytest.raises(ConfigurationError, match="is a coroutine function"):
        RecoveryManager(store, handlers={Strategy.RESUME: later})
    manager = RecoveryManager(store)
    for act in (later, hidden):
        with pytest.raises(ConfigurationError, match="coroutine"):
            manager.run("item", act)
    assert manager.look("item") is None


def test_an_effect_is_not_begun_by_a_coroutine(store: StateStore) -> None:
    effects = Effects(store, "run")
    with pytest.raises(ConfigurationError, match="done once is a coroutine function"):
        effects.once("send", 1, later)
    assert effects.once("send", 1, lambda _key: "sent") == "sent"
