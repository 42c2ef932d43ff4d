"""Hook state over the store: the documented operations, on both backends."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError, StorageError
from pytest_guardrails.reliability.breakers.commands import key_of
from pytest_guardrails.reliability.breakers.hook_state import HookState
from pytest_guardrails.reliability.breakers.model import Changed, Late
from pytest_guardrails.reliability.breakers.record import ERROR_CHARACTERS, shown
from pytest_guardrails.reliability.state import StateStore
from tests.reliability.breakers.stores import BACKENDS, hook_state
from tests.reliability.clocks import MovedClock

COMMAND = "uv run validators/check.py --strict"


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture(params=BACKENDS)
def state(request: pytest.FixtureRequest, tmp_path: Path, clock: MovedClock) -> Iterator[HookState]:
    found = hook_state(tmp_path, request.param, clock)
    yield found
    found.store.close()


def fail(state: HookState, times: int = 3, command: str = COMMAND) -> None:
    for _ in range(times):
        state.record_failure(command, "boom")


def test_a_hook_that_nobody_has_seen_is_closed_and_stored_nowhere(state: HookState) -> None:
    record = state.get_hook_state(COMMAND)
    assert (record.state, record.failure_count, record.last_error) == ("closed", 0, None)
    assert state.admit(COMMAND).allowed
    assert state.get_all_hooks() == ()


def test_three_failures_in_a_row_disable_a_hook(state: HookState) -> None:
    fail(state, 2)
    assert state.admit(COMMAND).allowed
    outcome = state.record_failure(COMMAND, "boom")
    assert outcome.actions == (Changed("closed", "open", "3 failures in a row"),)
    admission = state.admit(COMMAND)
    assert (admission.allowed, admission.reason, admission.retry_in_s) == (False, "open", 300.0)


def test_what_people_see_of_an_open_hook(state: HookState) -> None:
    fail(state)
    record = state.get_hook_state(COMMAND)
    assert record[:7] == (
        COMMAND,
        3,
        3,
        0,
        "2023-11-14T22:13:20.000000+00:00",
        "2023-11-14T22:13:20.000000+00:00",
        None,
    )
    assert record.last_error == "boom"
    assert (record.disabled_at, record.retry_after) == (
        "2023-11-14T22:13:20.000000+00:00",
        "2023-11-14T22:18:20.000000+00:00",
    )


def test_after_the_cooldown_one_probe_is_admitted_and_two_successes_close(state: HookState, clock: MovedClock) -> None:
    fail(state)
    clock.monotonic_s += 300.0
    for _ in range(2):
        probe = state.admit(COMMAND)
        assert (probe.allowed, state.admit(COMMAND).reason) == (True, "probing")
        state.record_success(COMMAND, probe)
    assert state.get_hook_state(COMMAND).state == "closed"
    assert state.get_hook_state(COMMAND).disabled_at is None


def test_a_step_of_the_wall_clock_changes_no_verdict(state: HookState, clock: MovedClock) -> None:
    fail(state)
    for step_s in (3600.0, -7200.0):
        clock.wall_s += step_s
        assert state.admit(COMMAND).retry_in_s == 300.0
    clock.monotonic_s += 300.0
    assert state.admit(COMMAND).allowed


def test_a_late_success_does_not_close_a_hook_that_opened_meanwhile(state: HookState, clock: MovedClock) -> None:
    fail(state)
    clock.monotonic_s += 300.0
    probe = state.admit(COMMAND)
    state.record_failure(COMMAND, "boom", probe)
    outcome = state.record_success(COMMAND, probe)
    assert (outcome.actions, outcome.after.state) == ((Late(),), "open")


def test_an_abandoned_probe_frees_its_permit_and_counts_as_nothing(state: HookState, clock: MovedClock) -> None:
    fail(state)
    clock.monotonic_s += 300.0
    before = state.get_global_stats()
    state.record_abandoned(state.admit(COMMAND))
    assert state.admit(COMMAND).allowed
    assert state.get_global_stats() == before


def test_transition_to_half_open_ends_the_cooldown(state: HookState) -> None:
    fail(state)
    assert state.transition_to_half_open(COMMAND).after.state == "half_open"
    assert state.admit(COMMAND).allowed


def test_reset_closes_and_forgets_but_leaves_the_totals(state: HookState) -> None:
    fail(state)
    record = state.reset_hook(COMMAND).after
    assert (record.state, record.failure_count, record.last_error, record.disabled_at) == ("closed", 0, None, None)
    assert state.get_global_stats()[:3] == (3, 3, 0)


def test_reset_all_resets_every_hook(state: HookState) -> None:
    fail(state)
    fail(state, command="other")
    assert [outcome.after.state for outcome in state.reset_all()] == ["closed", "closed"]
    assert state.get_disabled_hooks() == ()


def test_a_disabled_hook_stays_disabled_through_success_reset_and_time(state: HookState, clock: MovedClock) -> None:
    state.disable(COMMAND, author="alice", reason="too slow")
    state.record_success(COMMAND)
    state.reset_all()
    clock.monotonic_s += 1e6
    admission = state.admit(COMMAND)
    assert (admission.allowed, admission.reason, admission.retry_in_s) == (False, "disabled", None)
    control = admission.record.circuit.control
    assert control is not None
    assert (control.author, control.reason) == ("alice", "too slow")


def test_enable_lifts_an_operators_word_and_closes_the_circuit(state: HookState) -> None:
    fail(state)
    state.disable(COMMAND, author="alice", reason="too slow")
    assert state.enable(COMMAND).after.state == "closed"
    assert state.admit(COMMAND).allowed


def test_an_operators_word_ends_when_it_was_said_to(state: HookState, clock: MovedClock) -> None:
    state.disable(COMMAND, author="alice", reason="lunch", lasts_s=60.0)
    assert state.get_hook_state(COMMAND).retry_after == "2023-11-14T22:14:20.000000+00:00"
    clock.monotonic_s += 60.0
    assert state.admit(COMMAND).allowed
    assert state.get_hook_state(COMMAND).state == "closed"


def test_totals_count_every_execution_and_every_disabled_hook(state: HookState) -> None:
    fail(state)
    state.record_success("fine")
    state.disable("held", author="alice", reason="no")
    assert state.get_global_stats() == (4, 3, 2, "2023-11-14T22:13:20.000000+00:00")


def test_the_health_report_tells_healthy_failing_and_disabled_apart(state: HookState) -> None:
    fail(state)
    fail(state, 1, "flaky")
    state.record_success("fine")
    report = state.get_health_report()
    assert (report.total_hooks, report.healthy, report.failing) == (3, ("fine",), ("flaky",))
    assert [record.command for record in report.disabled] == [COMMAND]


def test_stored_error_text_is_bounded_and_keeps_its_end(state: HookState) -> None:
    state.record_failure(COMMAND, "x" * 100_000 + "the cause \udcff")
    error = state.get_hook_state(COMMAND).last_error
    assert error is not None
    assert len(error) == ERROR_CHARACTERS
    assert error.endswith("the cause \\udcff")


def test_fields_that_somebody_added_survive_every_operation(state: HookState) -> None:
    fail(state)
    key = state.store.keys("hook/")[0]
    state.store.put(key, {**state.store.get(key), "owner": "team a"})
    fail(state, 1)
    state.reset_hook(COMMAND)
    assert state.store.get(key)["owner"] == "team a"


def test_times_of_an_earlier_boot_mean_nothing_but_an_operators_word_does(state: HookState, clock: MovedClock) -> None:
    fail(state)
    state.disable("held", author="alice", reason="no", lasts_s=60.0)
    for key in state.store.keys("hook/"):
        record = state.store.get(key)
        state.store.put(key, {**record, "boot": "another boot"})
    clock.monotonic_s = 5.0
    assert state.admit(COMMAND).allowed
    assert state.admit("held").retry_in_s == 60.0


def test_forget_removes_a_hook_for_good(state: HookState) -> None:
    fail(state)
    assert state.forget(COMMAND)
    assert not state.forget(COMMAND)
    assert (state.get_all_hooks(), state.get_global_stats().hooks_disabled) == ((), 0)


@pytest.mark.parametrize(
    "command",
    [
        "a b/c --x='1 2' \"q\"",
        "ünïcödé → 検査",
        "/" * 300,
        "x" * 10_240,
        "\udcff\udcfe raw",
        "hook/../../etc/passwd",
        "@reserved",
    ],
)
def test_any_command_opens_after_three_failures_and_shares_its_key_with_none(state: HookState, command: str) -> None:
    others = [command + "x", command + " x", "x" + command]
    fail(state, 3, command)
    assert not state.admit(command).allowed
    assert all(state.admit(other).allowed for other in others)


@pytest.mark.parametrize("lasts_s", [float("nan"), float("inf"), 0.0, -1.0])
def test_an_operators_word_lasts_for_a_finite_time(state: HookState, lasts_s: float) -> None:
    with pytest.raises(ConfigurationError, match="lasts"):
        state.disable(COMMAND, author="alice", reason="no", lasts_s=lasts_s)
    assert state.admit(COMMAND).allowed


def test_an_earlier_generation_of_the_store_re_enables_nobody(tmp_path: Path, clock: MovedClock) -> None:
    state = hook_state(tmp_path, "json", clock)
    state.record_success("fine")
    state.disable(COMMAND, author="alice", reason="no")
    state.store.close()
    (tmp_path / "hooks.rest").write_text("torn {")
    state = hook_state(tmp_path, "json", clock)
    assert state.store.incidents()[0].lost_commits == 1
    assert state.admit(COMMAND).reason == "disabled"
    assert [record.command for record in state.get_disabled_hooks()] == [COMMAND]
    assert state.get_global_stats().hooks_disabled == 1
    assert state.enable(COMMAND).after.state == "closed"
    assert state.admit(COMMAND).allowed


def test_unknown_fields_survive_operations_and_a_newer_format_is_refused(tmp_path: Path, clock: MovedClock) -> None:
    state = hook_state(tmp_path, "sqlite", clock)
    fail(state, 1)
    key, totals = key_of(COMMAND), state.store.get("totals")
    plain = state.store.get(key)
    later = {**plain, "owner": "me", "circuit": {**plain["circuit"], "mood": ["good"]}}
    with state.store.transaction() as transaction:
        transaction.put(key, later)
        transaction.put("totals", {**totals, "weekdays": 5})
    fail(state, 2)
    after = state.store.get(key)
    assert (after["state"], after["owner"], after["circuit"]["mood"]) == ("open", "me", ["good"])
    assert state.store.get("totals")["weekdays"] == 5
    assert "circuit" not in shown(state.get_hook_state(COMMAND))
    newer = StateStore(state.store.backend, schema=2)
    newer.put(key, later)
    with pytest.raises(NewerFormatError, match="update"):
        state.admit(COMMAND)
    with pytest.raises(NewerFormatError, match="update"):
        fail(state, 1)


ORDERS: dict[str, Callable[[HookState], object]] = {
    "disable": lambda state: state.disable(COMMAND, author="bob", reason="refused"),
    "enable": lambda state: state.enable(COMMAND, author="bob", reason="refused"),
    "open": lambda state: [state.record_failure(COMMAND, "boom") for _ in range(3)],
}


@pytest.mark.parametrize("was_disabled", [False, True])
@pytest.mark.parametrize("order", ORDERS)
def test_an_order_that_the_disk_refused_was_never_given(
    state: HookState, order: str, was_disabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(state, 2)
    if was_disabled:
        state.disable(COMMAND, author="alice", reason="the first one")

    def refuse(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(state.store.backend, "flush" if hasattr(state.store.backend, "flush") else "replace", refuse)
        with pytest.raises(StorageError, match="full"):
            ORDERS[order](state)
    assert state.admit(COMMAND).allowed is not was_disabled
    control = state.get_hook_state(COMMAND).circuit.control
    assert (control and control.author) == ("alice" if was_disabled else None)
    assert state.get_global_stats().hooks_disabled == int(was_disabled)


def test_what_an_operator_says_is_stored_bounded(state: HookState) -> None:
    outcome = state.disable(COMMAND, author="a" * 100_000, reason="r" * 100_000 + "\ud800")
    control = outcome.after.circuit.control
    assert control is not None
    assert max(len(control.author), len(control.reason)) <= ERROR_CHARACTERS
