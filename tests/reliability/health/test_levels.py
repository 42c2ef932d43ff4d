"""Levels of health: thresholds, the worst of all, unknown, hysteresis."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.health import HealthThresholds, Hysteresis, Level, assess
from pytest_guardrails.reliability.health.levels import settled, worst

THRESHOLDS = HealthThresholds()
ODD = st.one_of(st.floats(), st.none(), st.booleans(), st.text(), st.integers(), st.complex_numbers())


def level(risk: object = 0.0, coherence: object = 1.0, void: object = False, margin: float = 0.0) -> Level:
    return assess(THRESHOLDS, risk=risk, coherence=coherence, void=void, margin=margin).level


@pytest.mark.parametrize(
    ("risk", "expected"),
    [(0.149, Level.HEALTHY), (0.15, Level.DEGRADED), (0.299, Level.DEGRADED), (0.3, Level.CRITICAL)],
)
def test_risk_has_its_thresholds(risk: float, expected: Level) -> None:
    assert level(risk=risk) is expected


@pytest.mark.parametrize(
    ("coherence", "expected"),
    [(0.85, Level.HEALTHY), (0.849, Level.DEGRADED), (0.6, Level.DEGRADED), (0.599, Level.CRITICAL)],
)
def test_coherence_has_its_thresholds(coherence: float, expected: Level) -> None:
    assert level(coherence=coherence) is expected


def test_the_void_is_critical_however_good_all_else_is() -> None:
    assert level(void=True) is Level.CRITICAL


def test_the_worst_of_all_signals_counts() -> None:
    assert level(risk=0.2, coherence=0.1) is Level.CRITICAL
    assert level(risk=float("nan"), coherence=0.7) is Level.UNKNOWN
    assert level(risk=float("nan"), coherence=0.1) is Level.CRITICAL
    assert worst([]) is Level.UNKNOWN


def test_each_signal_that_is_not_healthy_is_named() -> None:
    found = assess(THRESHOLDS, risk=0.2, coherence=math.nan, void=False)
    assert found.reasons == ("risk is 0.2: degraded", "coherence is nan: unknown")


@given(ODD, ODD, ODD)
def test_nothing_but_sound_signals_is_healthy(risk: object, coherence: object, void: object) -> None:
    if level(risk, coherence, void) is Level.HEALTHY:
        assert not isinstance(risk, bool)
        assert isinstance(risk, (int, float))
        assert 0.0 <= risk < 0.15
        assert isinstance(coherence, (int, float))
        assert 0.85 <= coherence <= 1.0
        assert void is False


@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 0.2))
def test_a_margin_makes_nothing_better(risk: float, coherence: float, margin: float) -> None:
    assert level(risk, coherence, margin=margin) >= level(risk, coherence)


def test_worse_counts_at_once_and_better_only_after_some_time() -> None:
    memory = settled(Hysteresis(), Level.CRITICAL, Level.CRITICAL, 3)
    levels = []
    for _ in range(4):
        memory = settled(memory, Level.HEALTHY, Level.HEALTHY, 3)
        levels.append(memory.level)
    assert levels == [Level.CRITICAL, Level.CRITICAL, Level.HEALTHY, Level.HEALTHY]


def test_what_is_better_by_less_than_the_margin_starts_the_count_again() -> None:
    memory = Hysteresis(Level.DEGRADED)
    for _ in range(10):
        memory = settled(memory, Level.HEALTHY, Level.HEALTHY, 3)
        memory = settled(memory, Level.HEALTHY, Level.HEALTHY, 3)
        if memory.level is Level.HEALTHY:
            break
        memory = settled(memory, Level.HEALTHY, Level.DEGRADED, 3)
    assert memory == Hysteresis(Level.DEGRADED, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"risk_healthy_below": math.nan},
        {"risk_healthy_below": 0.5},
        {"coherence_degraded_from": 0.9},
        {"coherence_healthy_from": 1.5},
        {"margin": -0.1},
        {"better_after": 0},
        {"risk_degraded_below": True},
    ],
)
def test_thresholds_that_make_no_sense_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        THRESHOLDS._replace(**change).check()  # type: ignore[arg-type]
