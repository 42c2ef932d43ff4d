"""What breakers tell is written with the change that it reports: never one without the other, never twice."""

import json
from pathlib import Path

import pytest

from pytest_guardrails.errors import StorageError
from pytest_guardrails.reliability.breakers import Breaker, HookState, StoredKeeper, import_hooks
from pytest_guardrails.reliability.breakers.config import load_config
from pytest_guardrails.reliability.breakers.document import document_of
from pytest_guardrails.reliability.breakers.hook_store import open_hooks
from pytest_guardrails.reliability.state import BackendKind
from pytest_guardrails.reliability.telemetry import Event, EventLog
from tests.reliability.breakers.stores import BACKENDS, hook_state
from tests.reliability.clocks import MovedClock

COMMAND = "ruff check"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=BACKENDS)
def state(request: pytest.FixtureRequest, tmp_path: Path, clock: MovedClock) -> HookState:
    backend: BackendKind = request.param
    return hook_state(tmp_path, backend, clock)


def told(state: HookState) -> list[Event]:
    return list(EventLog(state.store))


def kinds(state: HookState) -> list[str]:
    return [event.kind for event in told(state)]


def fail(state: HookState, times: int = 3) -> None:
    for _ in range(times):
        state.record_failure(COMMAND, "boom")


def test_runs_that_change_nothing_tell_nothing(state: HookState) -> None:
    state.record_success(COMMAND, state.admit(COMMAND))
    fail(state, 2)
    assert told(state) == []


def test_the_whole_round_of_a_circuit_is_told_once_each(state: HookState, clock: MovedClock) -> None:
    fail(state)
    clock.monotonic_s += 301.0
    for _ in range(2):
        state.record_success(COMMAND, state.admit(COMMAND))
    assert kinds(state) == ["breaker.opened", "breaker.half_open", "breaker.closed"]
    opened = told(state)[0]
    assert (opened.detail["command"], opened.detail["error"], opened.detail["why"]) == (
        COMMAND,
        "boom",
        "3 failures in a row",
    )


def test_an_operators_word_is_told_with_its_author_and_its_end(state: HookState) -> None:
    state.disable(COMMAND, author="alice", reason="noisy")
    state.enable(COMMAND, author="bob", reason="quiet now")
    assert kinds(state) == ["breaker.held", "breaker.released", "breaker.enabled"]
    assert told(state)[2].message == "ruff check: enabled by bob: quiet now"
    assert told(state)[0].message == "ruff check: disabled by alice: noisy"


def test_a_word_that_ends_by_itself_is_told_when_it_is_noticed(state: HookState, clock: MovedClock) -> None:
    state.hold(COMMAND, "open", author="alice", reason="deploy", lasts_s=10.0)
    clock.monotonic_s += 11.0
    assert state.admit(COMMAND).allowed
    assert kinds(state) == ["breaker.held", "breaker.released", "breaker.opened", "breaker.half_open"]


def test_an_import_that_frees_a_hook_is_told(state: HookState, tmp_path: Path) -> None:
    fail(state)
    document = document_of(state)
    document["hooks"][COMMAND] = {"state": "closed"}
    (tmp_path / "edited.json").write_text(json.dumps(document))
    import_hooks(state, tmp_path / "edited.json")
    assert kinds(state) == ["breaker.opened", "breaker.edited"]


def test_a_change_that_is_rolled_back_is_not_told(state: HookState, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(state, 2)

    def refuse(*_arguments: object, **_named: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(HookState, "put_record", refuse)
        with pytest.raises(StorageError):
            fail(state, 1)
    assert told(state) == []
    assert state.get_hook_state(COMMAND).state == "closed"


def test_a_long_command_is_told_bounded(state: HookState) -> None:
    state.disable("x" * 10_000, author="alice", reason="noisy")
    assert len(json.dumps(told(state)[0].plain())) < 5000


def test_a_stored_breaker_tells_as_well(state: HookState) -> None:
    breaker = Breaker(StoredKeeper(state, "service"))
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            breaker.call(lambda: 1 / 0)
    assert kinds(state) == ["breaker.opened"]


def test_a_damaged_document_is_told(tmp_path: Path) -> None:
    state = hook_state(tmp_path, "json")
    state.record_success(COMMAND)
    (tmp_path / "hooks.json").write_text("torn {")
    state.record_success(COMMAND)
    assert kinds(state) == ["breaker.document_damaged"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_damaged_store_is_told_by_whoever_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: BackendKind
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = load_config(None, {"GUARDRAILS_STATE_BACKEND": backend})
    state = open_hooks(config)
    state.record_success(COMMAND)
    state.record_success(COMMAND)
    state.store.close()
    (tmp_path / (".claude/hook_state.rest.json" if backend == "json" else ".claude/hook_state.db")).write_text("torn")
    again = open_hooks(config)
    again.get_hook_state(COMMAND)
    assert kinds(again) == ["store.damaged"]
    again.store.close()
    assert kinds(open_hooks(config)) == ["store.damaged"]
