"""Side effects: one caller acts, results are kept, and doubt is said."""

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError, ConflictError
from pytest_guardrails.reliability.state import Effects, EffectState, OutcomeUnknownError, StateStore, open_store
from tests.reliability.processes import Child


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def test_an_effect_is_done_once_and_its_result_is_kept(store: StateStore) -> None:
    effects, calls = Effects(store, "run"), []

    def deploy(key: str) -> dict[str, int]:
        calls.append(key)
        return {"id": 7}

    for _ in range(3):
        assert effects.once("deploy", 0, deploy) == {"id": 7}
    assert calls == ["effect/run/deploy/0"]


def test_steps_calls_and_runs_are_apart(store: StateStore) -> None:
    names: list[tuple[str, str, int | str]] = [
        ("a", "b/c", 0),
        ("a/b", "c", 0),
        ("a", "b", "c/0"),
        ("a", "b", 0),
    ]
    keys = {Effects(store, run).begin(step, call).key for run, step, call in names}
    assert len(keys) == 4


def test_a_crash_in_between_leaves_the_outcome_unknown(tmp_path: Path, store: StateStore) -> None:
    def begin_and_die(say: Callable[[str], None]) -> None:
        with open_store(tmp_path / "state") as other:
            say(Effects(other, "run").begin("pay", 0).state.value)
            os.read(os.pipe()[0], 1)

    child = Child(begin_and_die)
    assert child.line() == "new"
    effects = Effects(store, "run")
    assert effects.begin("pay", 0).state is EffectState.IN_PROGRESS
    child.kill()
    assert effects.begin("pay", 0).state is EffectState.UNKNOWN
    with pytest.raises(OutcomeUnknownError, match="outcome unknown"):
        effects.once("pay", 0, lambda key: pytest.fail("it was repeated"))
    assert [effect.key for effect in effects.open_outcomes()] == ["effect/run/pay/0"]


def test_somebody_who_looked_settles_it(tmp_path: Path, store: StateStore) -> None:
    def begin_two(say: Callable[[str], None]) -> None:
        with open_store(tmp_path / "state") as other:
            Effects(other, "run").begin("pay", 0)
            Effects(other, "run").begin("pay", 1)

    Child(begin_two).result()
    effects = Effects(store, "run")
    effects.done("pay", 0, result="receipt")
    effects.retry("pay", 1)
    assert effects.open_outcomes() == []
    assert effects.once("pay", 0, lambda key: pytest.fail("it was repeated")) == "receipt"
    assert effects.begin("pay", 1).attempt == 2


def test_an_error_does_not_prove_that_nothing_happened(store: StateStore) -> None:
    effects = Effects(store, "run")
    with pytest.raises(TimeoutError):
        effects.once("pay", 0, _time_out)
    assert effects.look("pay", 0).state is EffectState.UNKNOWN
    effects.retry("pay", 0)
    assert effects.look("pay", 0).state is EffectState.NEW
    assert effects.once("pay", 0, lambda key: 1) == 1


def _time_out(key: str) -> None:
    raise TimeoutError


def test_of_many_callers_one_acts(store: StateStore) -> None:
    effects, acted = Effects(store, "run"), []
    threads = [
        threading.Thread(target=lambda: acted.append(effects.begin("pay", 0).state is EffectState.NEW))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(acted) == [False] * 5 + [True]


def test_what_was_done_is_not_tried_again(store: StateStore) -> None:
    effects = Effects(store, "run")
    effects.once("pay", 0, lambda key: 1)
    with pytest.raises(ConflictError, match="can't be tried again"):
        effects.retry("pay", 0)
    effects.done("pay", 0, result=2)
    assert effects.look("pay", 0).result == 1


def test_what_was_never_begun_is_not_done(store: StateStore) -> None:
    with pytest.raises(ConfigurationError, match="never begun"):
        Effects(store, "run").done("pay", 0)


def test_a_run_that_is_over_is_forgotten_but_for_its_doubts(store: StateStore) -> None:
    effects, other = Effects(store, "run"), Effects(store, "run/2")
    effects.once("deploy", 0, str)
    effects.begin("pay", 0)  # a living process is at it
    with pytest.raises(ZeroDivisionError):
        effects.once("pay", 1, lambda _: 1 / 0)
    effects.begin("pay", 2)
    effects.retry("pay", 2)
    other.once("deploy", 0, str)
    assert effects.forget() == 2
    assert [effects.look(*one).state for one in (("deploy", 0), ("pay", 0), ("pay", 1))] == [
        EffectState.NEW,
        EffectState.IN_PROGRESS,
        EffectState.UNKNOWN,
    ]
    assert other.look("deploy", 0).state is EffectState.DONE
