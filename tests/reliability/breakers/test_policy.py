"""The breaker's policy: what is specified, one sentence a test, and properties over any sequence of events."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.model import (
    Abandoned,
    Admitted,
    Ask,
    BreakerSettings,
    Changed,
    Circuit,
    Control,
    ControlEnded,
    ControlKind,
    Event,
    Failed,
    Growth,
    Hold,
    Late,
    Probe,
    Refused,
    Release,
    Reset,
    Succeeded,
    WindowRule,
)
from pytest_guardrails.reliability.breakers.policy import after_reboot, at_rest, cooldown_of, refuses_until_s, step

SETTINGS = BreakerSettings()
WINDOWED = BreakerSettings(
    failure_threshold=100, window=WindowRule(span_s=10.0, least_calls=4, slow_rate=0.5, slow_call_s=1.0)
)


def after(circuit: Circuit, *events: Event, settings: BreakerSettings = SETTINGS, now_s: float = 100.0) -> Circuit:
    for event in events:
        circuit, _ = step(circuit, event, settings, now_s)
    return circuit


def opened() -> Circuit:
    return after(Circuit(), Failed(), Failed(), Failed())


def half_open(permit: str = "p") -> Circuit:
    return after(opened(), Ask(permit), now_s=400.0)


def control(kind: ControlKind, lasts_s: float | None = None) -> Control:
    return Control(kind, "alice", "testing", lasts_s)


def test_three_failures_in_a_row_open_it() -> None:
    assert [after(Circuit(), *[Failed()] * count).phase for count in (2, 3)] == ["closed", "open"]


def test_a_success_between_failures_starts_the_count_again() -> None:
    assert after(Circuit(), Failed(), Failed(), Succeeded(), Failed(), Failed()).phase == "closed"


def test_an_open_circuit_refuses_until_its_cooldown_is_over() -> None:
    _, actions = step(opened(), Ask("p"), SETTINGS, 399.5)
    assert actions == (Refused("open", 0.5),)


def test_after_the_cooldown_one_call_is_the_probe_and_others_wait_for_it() -> None:
    circuit, actions = step(opened(), Ask("first"), SETTINGS, 400.0)
    assert actions == (Changed("open", "half_open", "the cool-down is over"), Admitted(circuit.epoch, "first"))
    assert step(circuit, Ask("second"), SETTINGS, 400.0)[1] == (Refused("probing", 330.0),)


def test_two_successful_probes_close_it() -> None:
    circuit = half_open("a")
    circuit = after(circuit, Succeeded(circuit.epoch, "a"), now_s=401.0)
    assert circuit.phase == "half_open"
    circuit = after(circuit, Ask("b"), Succeeded(circuit.epoch, "b"), now_s=402.0)
    assert circuit.phase == "closed"


def test_a_failed_probe_opens_it_again_for_longer() -> None:
    circuit = half_open()
    circuit = after(circuit, Failed(circuit.epoch, "p"), now_s=400.0)
    assert (circuit.phase, circuit.retry_at_s) == ("open", 1000.0)


def test_a_late_success_does_not_close_a_newly_opened_circuit() -> None:
    probing = half_open()
    circuit = after(probing, Failed(probing.epoch, "p"), now_s=400.0)
    circuit, actions = step(circuit, Succeeded(probing.epoch, "p"), SETTINGS, 400.0)
    assert (circuit.phase, actions) == ("open", (Late(),))


def test_a_late_failure_from_before_the_opening_does_not_prolong_it() -> None:
    assert after(opened(), Failed(0), now_s=350.0).retry_at_s == 400.0


def test_a_probe_whose_permit_went_to_another_decides_nothing() -> None:
    circuit = after(half_open("slow"), Ask("next"), now_s=400.0 + SETTINGS.probe_lease_s)
    circuit, actions = step(circuit, Failed(circuit.epoch, "slow"), SETTINGS, 900.0)
    assert (circuit.phase, actions) == ("half_open", (Late(),))


def test_the_permit_of_a_dead_prober_is_given_to_the_next_who_asks() -> None:
    circuit = after(opened(), Ask("p", "process 7"), now_s=400.0)
    assert step(circuit, Ask("q", "me"), SETTINGS, 400.0)[1] == (Refused("probing", 330.0),)
    assert step(circuit, Ask("q", "me", frozenset({"process 7"})), SETTINGS, 400.0)[1] == (
        Admitted(circuit.epoch, "q"),
    )


def test_an_abandoned_probe_gives_its_permit_back_and_changes_no_verdict() -> None:
    circuit = half_open()
    circuit = after(circuit, Abandoned(circuit.epoch, "p"), now_s=400.0)
    assert (circuit.phase, circuit.permits, circuit.failures) == ("half_open", (), 0)


def test_an_opening_long_after_the_last_one_lasts_no_longer_than_the_first() -> None:
    circuit = half_open()
    circuit = after(circuit, *[Succeeded()] * 2, now_s=400.0)
    assert circuit.phase == "closed"
    again = after(circuit, *[Failed()] * 3, now_s=400.0 + SETTINGS.cooldown_s)
    assert again.cooldown_s == SETTINGS.cooldown_s
    soon = after(circuit, *[Failed()] * 3, now_s=399.0 + SETTINGS.cooldown_s)
    assert soon.cooldown_s == 2 * SETTINGS.cooldown_s


def test_the_service_may_ask_for_a_longer_cooldown_but_not_for_any() -> None:
    assert after(Circuit(), Failed(), Failed(), Failed(retry_after_s=500.0)).cooldown_s == 500.0
    assert after(Circuit(), Failed(), Failed(), Failed(retry_after_s=1e9)).cooldown_s == SETTINGS.cooldown_max_s


def test_half_of_the_calls_failing_opens_by_rate() -> None:
    few = after(Circuit(), Succeeded(), Failed(), Failed(), settings=WINDOWED)
    assert few.phase == "closed"
    assert after(few, Succeeded(), settings=WINDOWED).phase == "open"


def test_slow_calls_open_by_rate_even_if_they_succeed() -> None:
    slow, fast = Succeeded(duration_s=2.0), Succeeded(duration_s=0.5)
    assert after(Circuit(), fast, fast, slow, settings=WINDOWED).phase == "closed"
    assert after(Circuit(), fast, fast, slow, slow, settings=WINDOWED).phase == "open"


def test_calls_fall_out_of_the_window() -> None:
    circuit = after(Circuit(), Failed(), Failed(), Failed(), settings=WINDOWED, now_s=100.0)
    assert after(circuit, Failed(), settings=WINDOWED, now_s=109.5).phase == "open"
    assert after(circuit, Failed(), settings=WINDOWED, now_s=111.0).phase == "closed"


def test_a_slow_probe_has_failed_where_slowness_counts() -> None:
    circuit = after(Circuit(), *[Failed()] * 4, settings=WINDOWED)
    circuit = after(circuit, Ask("p"), settings=WINDOWED, now_s=400.0)
    assert after(circuit, Succeeded(circuit.epoch, "p", 2.0), settings=WINDOWED, now_s=400.0).phase == "open"


@pytest.mark.parametrize(
    ("kind", "reason"), [("open", "forced open"), ("disabled", "disabled"), ("isolated", "isolated")]
)
def test_an_operator_keeps_calls_out(kind: ControlKind, reason: str) -> None:
    circuit = after(Circuit(), Hold(control(kind, 60.0)))
    assert step(circuit, Ask("p"), SETTINGS, 110.0)[1] == (Refused(reason, 50.0),)  # type: ignore[arg-type]


def test_an_operator_lets_calls_into_an_open_circuit() -> None:
    circuit = after(opened(), Hold(control("closed")))
    assert isinstance(step(circuit, Ask("p"), SETTINGS, 100.0)[1][-1], Admitted)
    assert after(circuit, *[Failed()] * 9).phase == "open"


def test_held_closed_it_does_not_open() -> None:
    assert after(Circuit(), Hold(control("closed")), *[Failed()] * 9).phase == "closed"
    assert after(Circuit(), Hold(control("closed")), *[Failed()] * 9, settings=WINDOWED).phase == "closed"


def test_the_word_of_an_operator_ends_when_its_time_is_up() -> None:
    circuit, actions = step(after(opened(), Hold(control("disabled", 60.0))), Ask("p"), SETTINGS, 160.0)
    assert isinstance(actions[0], ControlEnded)
    assert actions[1] == Refused("open", 240.0)
    assert circuit.control is None


def test_what_was_held_open_goes_on_with_a_probe() -> None:
    circuit, actions = step(after(Circuit(), Hold(control("open", 60.0))), Ask("p"), SETTINGS, 160.0)
    assert actions[-1] == Admitted(circuit.epoch, "p")
    assert circuit.phase == "half_open"


@pytest.mark.parametrize("kind", ["disabled", "isolated"])
def test_a_reset_does_not_lift_what_only_a_release_lifts(kind: ControlKind) -> None:
    circuit = after(opened(), Hold(control(kind)), Reset())
    assert circuit.phase == "closed"
    assert isinstance(step(circuit, Ask("p"), SETTINGS, 100.0)[1][-1], Refused)
    assert after(circuit, Release()).control is None


def test_a_probe_may_be_asked_for_before_the_cooldown_is_over() -> None:
    assert after(opened(), Probe(), Ask("p")).permits[0].id == "p"


def test_after_a_reboot_a_cooldown_is_over_and_an_operators_word_is_not() -> None:
    rebooted = after_reboot(opened(), 5.0)
    assert isinstance(step(rebooted, Ask("p"), SETTINGS, 5.0)[1][-1], Admitted)
    held = after_reboot(after(Circuit(), Hold(control("disabled", 60.0)), now_s=9e5), 5.0)
    assert step(held, Ask("p"), SETTINGS, 6.0)[1] == (Refused("disabled", 59.0),)


def test_the_cooldown_grows_to_its_maximum_and_never_above() -> None:
    settings = BreakerSettings(growth=Growth(jitter=0.0))
    assert [cooldown_of(settings, openings, 0.5) for openings in (1, 2, 3, 4, 5, 10**6)] == [
        300.0,
        600.0,
        1200.0,
        2400.0,
        3600.0,
        3600.0,
    ]


@given(openings=st.integers(2, 10**9), chance=st.floats(0.0, 1.0))
def test_jitter_shortens_a_repeated_cooldown_by_a_tenth_at_most(openings: int, chance: float) -> None:
    full = cooldown_of(SETTINGS, openings, 0.0)
    assert 0.9 * full - 1e-6 <= cooldown_of(SETTINGS, openings, chance) <= full


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("failure_threshold", 0),
        ("failure_threshold", 101),
        ("failure_threshold", True),
        ("failure_threshold", 3.0),
        ("success_threshold", 0),
        ("cooldown_s", -1.0),
        ("cooldown_s", 86_401.0),
        ("cooldown_s", float("nan")),
        ("growth", Growth(factor=0.5)),
        ("growth", Growth(jitter=1.5)),
        ("growth", Growth(most_s=float("inf"))),
        ("probes", 0),
        ("probe_lease_s", 0.0),
        ("window", WindowRule(failure_rate=float("nan"))),
        ("window", WindowRule(span_s=0.0)),
        ("window", WindowRule(least_calls=0)),
    ],
)
def test_a_setting_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=name):
        BreakerSettings(**{name: value})  # type: ignore[arg-type]


KINDS = st.sampled_from(["open", "closed", "disabled", "isolated"])
SPANS = st.none() | st.floats(0.1, 500.0)
EPOCHS = st.none() | st.integers(0, 12)
NAMES = st.sampled_from("abcd")
ANY = st.floats()  # NaN and infinities too: what a caller measures or a service asks for
EVENTS = st.one_of(
    st.builds(Ask, NAMES, NAMES, st.frozensets(NAMES)),
    st.builds(Succeeded, EPOCHS, NAMES, st.floats(0.0, 3.0) | ANY),
    st.builds(Failed, EPOCHS, NAMES, st.floats(0.0, 3.0) | ANY, st.floats(0.0, 1.0), st.floats(0.0, 1e6) | ANY),
    st.builds(Abandoned, EPOCHS, NAMES),
    st.just(Probe()),
    st.just(Reset()),
    st.builds(Hold, st.builds(Control, KINDS, st.just("a"), st.just("b"), SPANS)),
    st.just(Release()),
)
RUNS = st.lists(st.tuples(EVENTS, st.floats(0.0, 400.0)), max_size=40)
ANY_SETTINGS = st.sampled_from(
    [SETTINGS, WINDOWED, BreakerSettings(failure_threshold=1, success_threshold=1, cooldown_s=5.0, probes=2)]
)


def walk(settings: BreakerSettings, run: list[tuple[Event, float]]) -> list[tuple[Circuit, Event, float, Circuit]]:
    circuit, now_s, steps = Circuit(), 0.0, []
    for event, passed_s in run:
        now_s += passed_s
        before = circuit
        circuit, _ = step(circuit, event, settings, now_s)
        steps.append((before, event, now_s, circuit))
    return steps


@given(ANY_SETTINGS, RUNS)
def test_there_are_never_more_probes_than_allowed(settings: BreakerSettings, run: list[tuple[Event, float]]) -> None:
    for _, _, _, circuit in walk(settings, run):
        assert len(circuit.permits) <= settings.probes


@given(ANY_SETTINGS, RUNS)
def test_only_a_result_of_its_own_epoch_changes_the_phase(
    settings: BreakerSettings, run: list[tuple[Event, float]]
) -> None:
    for before, event, _, circuit in walk(settings, run):
        late = isinstance(event, (Succeeded, Failed)) and event.epoch not in (None, before.epoch)
        if late and before.control is None:
            assert circuit.phase == before.phase


@given(ANY_SETTINGS, RUNS)
def test_each_change_of_phase_raises_the_epoch_and_nothing_lowers_it(
    settings: BreakerSettings, run: list[tuple[Event, float]]
) -> None:
    for before, _, _, circuit in walk(settings, run):
        assert circuit.epoch >= before.epoch + (circuit.phase != before.phase)


@given(ANY_SETTINGS, RUNS)
def test_cancelled_calls_change_no_verdict(settings: BreakerSettings, run: list[tuple[Event, float]]) -> None:
    for before, event, _, circuit in walk(settings, run):
        if isinstance(event, Abandoned) and before.control is None:
            assert circuit._replace(permits=()) == before._replace(permits=())


@given(ANY_SETTINGS, RUNS, st.floats(0.0, 3.0))
def test_a_circuit_at_rest_is_not_changed_by_a_call_that_succeeds(
    settings: BreakerSettings, run: list[tuple[Event, float]], duration_s: float
) -> None:
    for _, _, now_s, circuit in walk(settings, run):
        if at_rest(circuit, settings):
            asked, actions = step(circuit, Ask("p"), settings, now_s)
            assert (asked, actions) == (circuit, (Admitted(circuit.epoch),))
            assert step(circuit, Succeeded(circuit.epoch, "", duration_s), settings, now_s)[0] is circuit


@given(ANY_SETTINGS, RUNS)
def test_a_circuit_that_refuses_at_a_glance_refuses_by_the_policy(
    settings: BreakerSettings, run: list[tuple[Event, float]]
) -> None:
    for _, _, now_s, circuit in walk(settings, run):
        until_s = refuses_until_s(circuit)
        if now_s < until_s:
            assert step(circuit, Ask("p"), settings, now_s) == (circuit, (Refused("open", until_s - now_s),))


@given(ANY_SETTINGS, RUNS)
def test_an_open_circuit_is_never_open_for_good(settings: BreakerSettings, run: list[tuple[Event, float]]) -> None:
    for _, _, now_s, circuit in walk(settings, run):
        if circuit.control is None:
            later_s = now_s + settings.cooldown_max_s + settings.probe_lease_s + 1.0
            assert isinstance(step(circuit, Ask("z"), settings, later_s)[1][-1], Admitted)


@given(ANY_SETTINGS, RUNS)
def test_the_window_is_bounded(settings: BreakerSettings, run: list[tuple[Event, float]]) -> None:
    for _, _, _, circuit in walk(settings, run):
        assert len(circuit.window) <= 10


@given(ANY_SETTINGS, RUNS)
def test_every_time_in_a_circuit_is_finite_whatever_is_told(
    settings: BreakerSettings, run: list[tuple[Event, float]]
) -> None:
    for _, _, _, circuit in walk(settings, run):
        assert all(math.isfinite(at_s) for at_s in (circuit.cooldown_s, circuit.retry_at_s, circuit.closed_at_s))
        assert 0.0 <= circuit.cooldown_s <= settings.cooldown_max_s
