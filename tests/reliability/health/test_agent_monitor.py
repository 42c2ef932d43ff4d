"""The agent monitor: bounded for every input, alive and healthy for ever, and its recovery contract."""

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.health import AgentAnswer, AgentMonitor, HealthThresholds
from pytest_guardrails.reliability.health.agent_monitor import repetition_of
from pytest_guardrails.reliability.health.dynamics import AgentState, advanced, drift_of, is_void, void_threshold
from pytest_guardrails.reliability.state import BackendKind, BackendSettings, StateStore, open_store
from pytest_guardrails.reliability.telemetry import EventLog
from tests.reliability.processes import Child

PERFECT = ([0.5] * 128, [0.0] * 3, "It works, and here is why.", 0.3)
BAD = ([0.5] * 128, [1.0] * 3, "It works, and here is why.", 0.3)


def opened(folder: Path, backend: BackendKind = "sqlite") -> StateStore:
    return open_store(folder / "agents", backend=backend, settings=BackendSettings(durability="process"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with opened(tmp_path) as found:
        yield found


def in_bounds(state: AgentState) -> bool:
    return (
        0.0 <= state.energy <= 1.0
        and 0.0 <= state.integrity <= 1.0
        and 0.0 <= state.entropy <= 1.0
        and -2.0 <= state.void <= 2.0
        and 0.05 <= state.lambda1 <= 0.20
        and 0.10 <= void_threshold(state) <= 0.30
        and 0.0 <= state.coherence <= 1.0
    )


UNIT = st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0)
STATES = st.builds(
    AgentState,
    UNIT,
    UNIT,
    UNIT,
    st.floats(-2.0, 2.0),
    st.floats(0.05, 0.20),
    st.floats(-0.05, 0.05),
    st.integers(0, 9),
    st.lists(st.floats(0.0, 2.0), max_size=3).map(tuple),
)


@given(STATES, st.lists(UNIT, max_size=60))
def test_no_variable_ever_leaves_its_bounds(state: AgentState, drifts: list[float]) -> None:
    for drift in drifts:
        state = advanced(state, drift)
        assert in_bounds(state)


@given(STATES)
def test_without_drift_every_agent_recovers_within_the_stated_number_of_updates(state: AgentState) -> None:
    for number in range(150):
        state = advanced(state, 0.0)
        assert number < 100 or state.coherence > 0.8
    assert state.lambda1 > 0.10


@given(STATES)
def test_full_drift_takes_the_room_from_every_agent(state: AgentState) -> None:
    for _ in range(20):
        state = advanced(state, 1.0)
    assert state.lambda1 < 0.15
    for _ in range(100):
        state = advanced(state, 1.0)
    assert state.coherence < 0.2


@given(STATES)
def test_every_start_leads_to_the_stated_equilibrium(state: AgentState) -> None:
    for _ in range(500):
        state = advanced(state, 0.0)
    assert state.energy == pytest.approx(0.922, abs=1e-3)
    assert state.integrity == pytest.approx(0.924, abs=1e-3)
    assert state.entropy == 0.0
    assert state.void == pytest.approx(-0.0015, abs=1e-4)


def test_without_the_restoring_term_a_perfect_agent_would_decay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_guardrails.reliability.health.dynamics._RESTORING", 0.0)
    state = AgentState()
    for _ in range(3000):
        state = advanced(state, 0.0)
    assert state.integrity < 0.01


@pytest.mark.slow
def test_under_perfect_updates_an_agent_stays_healthy_and_alive_for_ever(tmp_path: Path) -> None:
    settings = BackendSettings(durability="process", keep_versions=1)
    with open_store(tmp_path / "agents", settings=settings) as store:
        monitor = AgentMonitor("agent", store)
        answers = [monitor.process_update(*PERFECT) for _ in range(1600)]
        before = monitor.state()
        answers += [monitor.process_update(*PERFECT) for _ in range(20)]
        after = monitor.state()
    assert {answer.status for answer in answers[49:]} == {"healthy"}
    assert {answer.decision for answer in answers[49:]} == {"proceed"}
    last = answers[-1].metrics
    assert last["E"] == pytest.approx(0.922, abs=1e-3)
    assert last["I"] == pytest.approx(0.924, abs=1e-3)
    assert (answers[-1].update_count, last["void"]) == (1620, False)
    assert after == before._replace(updates=after.updates)  # nothing but the count goes on, so this holds for ever


def test_collapse_and_recovery_are_seen(store: StateStore) -> None:
    monitor = AgentMonitor("agent", store)
    for _ in range(50):
        monitor.process_update(*PERFECT)
    for _ in range(30):
        answer = monitor.process_update(*BAD)
    assert (answer.status, answer.decision) == ("critical", "halt")
    assert monitor.state().lambda1 < 0.15
    for _ in range(150):
        answer = monitor.process_update(*PERFECT)
    assert answer.status == "healthy"
    assert monitor.state().coherence > 0.8
    assert monitor.state().lambda1 > 0.10


def test_changing_parameters_are_drift_too(store: StateStore) -> None:
    monitor = AgentMonitor("agent", store)
    first = monitor.process_update([0.0] * 128, *PERFECT[1:])
    second = monitor.process_update([1.0] * 128, *PERFECT[1:])
    assert first.metrics["drift"] == 0.0
    assert second.metrics["drift"] == pytest.approx(math.tanh(1.0))


@given(st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3), st.floats(-1e300, 1e300), st.floats(-1e300, 1e300))
def test_drift_is_bounded_for_every_finite_input(ethical: list[float], now: float, then: float) -> None:
    assert 0.0 <= drift_of([now] * 4, [then] * 4, ethical) <= 1.0


NAN, INF = float("nan"), float("inf")
ODD_LISTS: st.SearchStrategy[object] = st.one_of(
    st.lists(st.floats(), max_size=5),
    st.lists(st.floats(), min_size=128, max_size=128),
    st.lists(st.sampled_from([0.5, 1e300, -1e300, 0]), min_size=128, max_size=128),
    st.sampled_from([None, "x" * 128, b"x" * 128, {}, 7, NAN, [True] * 128, ["a"] * 128, [0.5] * 127 + [INF]]),
)
ODD_TEXTS = st.one_of(st.text(), st.none(), st.integers(), st.binary(), st.just("ha " * 5000), st.just("\ud800"))
ODD_NUMBERS = st.one_of(st.floats(), st.none(), st.booleans(), st.text(), st.integers(), st.just(10**400))


def is_sound(value: object) -> bool:
    return isinstance(value, (float, int)) and math.isfinite(value)


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentMonitor]:
    with opened(tmp_path_factory.mktemp("agents"), "json") as store:
        yield AgentMonitor("agent", store)


@given(ODD_LISTS, st.one_of(ODD_LISTS, st.lists(st.floats(), min_size=3, max_size=3)), ODD_TEXTS, ODD_NUMBERS)
def test_whatever_comes_in_nothing_leaves_its_bounds_and_nothing_unsound_is_healthy(
    lasting: AgentMonitor, parameters: object, ethical: object, text: object, complexity: object
) -> None:
    before = lasting.update_count()
    answer = lasting.process_update(parameters, ethical, text, complexity)
    assert answer.update_count == before + 1
    assert in_bounds(lasting.state())
    assert all(value is None or is_sound(value) for value in answer.metrics.values())
    assert all(is_sound(value) for value in answer.sampling_params.values())
    sound = (
        isinstance(parameters, list)
        and len(parameters) == 128
        and all(type(value) is not bool and is_sound(value) for value in parameters)
        and isinstance(ethical, list)
        and len(ethical) == 3
        and all(is_sound(value) for value in ethical)
        and isinstance(text, str)
        and text.strip() != ""
        and type(complexity) in (int, float)
        and 0.0 <= complexity <= 1.0  # type: ignore[operator]
    )
    if not sound:
        assert answer.status in ("unknown", "critical")
        assert answer.reasons


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({0: [0.5] * 127}, "parameters has 127 values, not 128"),
        ({0: [0.5] * 5 + [NAN] + [0.5] * 122}, "parameters[5] is nan"),
        ({1: [0.0, INF, 0.0]}, "ethical_drift[1] is inf"),
        ({1: None}, "ethical_drift is a NoneType"),
        ({2: ""}, "response_text is empty"),
        ({2: 7}, "response_text is a int"),
        ({3: NAN}, "complexity must be"),
        ({3: True}, "complexity must be"),
    ],
)
def test_bad_input_is_unknown_and_says_what_is_bad(store: StateStore, change: dict[int, object], reason: str) -> None:
    monitor = AgentMonitor("agent", store)
    for _ in range(50):
        monitor.process_update(*PERFECT)
    state = monitor.state()
    arguments = [change.get(index, value) for index, value in enumerate(PERFECT)]
    answer = monitor.process_update(*arguments)
    assert (answer.status, answer.decision, answer.update_count) == ("unknown", "review", 51)
    assert reason in answer.reasons[0]
    assert monitor.state() == state


def test_after_bad_input_an_agent_is_healthy_only_after_several_good_updates(store: StateStore) -> None:
    monitor = AgentMonitor("agent", store)
    for _ in range(50):
        monitor.process_update(*PERFECT)
    monitor.process_update(None, None, None, None)
    assert [monitor.process_update(*PERFECT).status for _ in range(3)] == ["unknown", "unknown", "healthy"]


def test_each_change_of_status_is_told_once_with_the_update_that_changed_it(store: StateStore) -> None:
    monitor = AgentMonitor("agent", store)
    statuses = [monitor.process_update(*PERFECT).status for _ in range(60)]
    statuses.append(monitor.process_update(None, None, None, None).status)
    changes = [
        (old, new, count) for count, (old, new) in enumerate(itertools.pairwise(["new", *statuses]), 1) if old != new
    ]
    events = [(event.detail["old"], event.detail["new"], event.detail["update_count"]) for event in EventLog(store)]
    assert events == changes
    assert events[-1] == ("healthy", "unknown", 61)


def test_the_void_is_critical(store: StateStore) -> None:
    monitor = AgentMonitor("agent", store)
    for _ in range(50):
        monitor.process_update(*PERFECT)
    plain = store.get("agent/agent")
    store.put("agent/agent", {**plain, "state": {**plain["state"], "void": 0.5}})
    answer = monitor.process_update(*PERFECT)
    assert (answer.status, answer.metrics["void"]) == ("critical", True)


@given(st.lists(st.floats(0.0, 2.0), max_size=100), st.floats(-2.0, 2.0))
def test_the_ceiling_of_the_void_is_hard(voids: list[float], void: float) -> None:
    state = AgentState(void=void, voids=tuple(voids))
    if abs(void) > 0.30:
        assert is_void(state, void_threshold(state))
    if abs(void) <= 0.10:
        assert not is_void(state, void_threshold(state))


def test_repetition_is_seen() -> None:
    assert repetition_of("the same words again and " * 50) > 0.9
    assert repetition_of("short") == 0.0
    assert repetition_of(" ".join(map(str, range(500)))) == 0.0


def test_a_repeating_agent_has_more_risk(store: StateStore) -> None:
    monitor = AgentMonitor("agent", store)
    fine = monitor.process_update(*PERFECT).metrics["risk"]
    looping = monitor.process_update(PERFECT[0], PERFECT[1], "again and again and " * 99, PERFECT[3]).metrics["risk"]
    assert isinstance(fine, float)
    assert isinstance(looping, float)
    assert looping > fine + 0.1


def test_the_state_goes_on_where_it_was(store: StateStore) -> None:
    one = [AgentMonitor("a", store).process_update(*PERFECT) for _ in range(20)]
    monitor = AgentMonitor("b", store)
    other = [monitor.process_update(*PERFECT) for _ in range(20)]
    assert one == other


def test_unknown_fields_survive_and_a_newer_format_is_refused(store: StateStore) -> None:
    monitor = AgentMonitor("agent", store)
    monitor.process_update(*PERFECT)
    store.put("agent/agent", {**store.get("agent/agent"), "owner": "team"})
    monitor.process_update(*PERFECT)
    assert store.get("agent/agent")["owner"] == "team"
    store.put("agent/agent", {**store.get("agent/agent"), "format": 2})
    with pytest.raises(NewerFormatError):
        monitor.process_update(*PERFECT)


def test_names_of_agents_never_leave_their_place(store: StateStore) -> None:
    AgentMonitor("../../x", store).process_update(*PERFECT)
    assert store.keys("agent/") == ["agent/%2E.%2F..%2Fx"]
    with pytest.raises(ConfigurationError):
        AgentMonitor("", store)


def test_thresholds_are_checked(store: StateStore) -> None:
    with pytest.raises(ConfigurationError):
        AgentMonitor("agent", store, thresholds=HealthThresholds(risk_healthy_below=NAN))


@pytest.mark.parametrize("backend", ["sqlite", "json"])
def test_two_processes_with_twenty_updates_each_are_forty(tmp_path: Path, backend: BackendKind) -> None:
    def work(say: Callable[[str], None]) -> None:
        with opened(tmp_path, backend) as store:
            for _ in range(20):
                AgentMonitor("agent", store).process_update(*PERFECT)

    for child in [Child(work) for _ in range(2)]:
        child.result()
    with opened(tmp_path, backend) as store:
        assert AgentMonitor("agent", store).update_count() == 40
        assert AgentMonitor("agent", store).state().updates == 40


def test_an_answer_is_plain_data(store: StateStore) -> None:
    answer = AgentMonitor("agent", store).process_update(*PERFECT)
    assert isinstance(answer, AgentAnswer)
    assert set(answer.sampling_params) == {"temperature", "top_p", "max_tokens"}
    assert set(answer.metrics) == {
        *("E", "I", "S", "V", "lambda1", "coherence", "void", "void_threshold", "risk", "drift", "complexity")
    }
