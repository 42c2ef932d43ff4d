"""Termination conditions: each ends for its reason, and joined ones as logic says; all survive a round trip."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.loops.conditions import (
    Condition,
    ConsecutiveFailures,
    Custom,
    ErrorRate,
    External,
    MaxIterations,
    NoProgress,
    ResourceLimit,
    Timeout,
    decide,
    parse_condition,
)
from pytest_guardrails.reliability.loops.facts import Facts, LoopState, Outcome, Reason, Usage

PREDICATES = {"even": lambda facts: facts.iterations % 2 == 0}
LEAVES = st.one_of(
    st.builds(MaxIterations, st.integers(1, 5)),
    st.builds(Timeout, st.floats(0.1, 5)),
    st.builds(ConsecutiveFailures, st.integers(1, 4)),
    st.builds(NoProgress, st.integers(1, 4)),
    st.builds(ErrorRate, st.floats(0.1, 1), window=st.integers(5, 9), least=st.integers(1, 5)),
    st.builds(ResourceLimit, tokens=st.integers(1, 5), cpu_s=st.none() | st.floats(0.1, 5)),
    st.builds(External, st.sampled_from(["go", "halt"])),
    st.just(Custom("even")),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: (
        st.tuples(inner, inner).map(lambda pair: pair[0] & pair[1])
        | st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1])
    ),
    max_leaves=5,
)
FACTS = st.builds(
    Facts,
    iterations=st.integers(0, 6),
    consecutive_failures=st.integers(0, 5),
    elapsed_s=st.floats(0, 6),
    cpu_s=st.floats(0, 6),
    tokens=st.integers(0, 6),
    since_progress=st.integers(0, 5),
    recent=st.lists(st.booleans(), max_size=9).map(tuple),
    signals=st.sets(st.sampled_from(["go", "halt"])).map(frozenset),
)


@pytest.mark.parametrize(
    ("condition", "facts", "state", "reason"),
    [
        (MaxIterations(3), Facts(iterations=3), LoopState.COMPLETED, Reason.MAX_ITERATIONS),
        (Timeout(2.0), Facts(elapsed_s=2.0), LoopState.ABORTED, Reason.TIMEOUT),
        (ResourceLimit(rss_bytes=10), Facts(rss_bytes=11), LoopState.ABORTED, Reason.RESOURCE_LIMIT),
        (ResourceLimit(cpu_percent=90), Facts(cpu_percent=99), LoopState.ABORTED, Reason.RESOURCE_LIMIT),
        (ResourceLimit(cost_nano_usd=5), Facts(cost_nano_usd=5), LoopState.ABORTED, Reason.RESOURCE_LIMIT),
        (ConsecutiveFailures(2), Facts(consecutive_failures=2), LoopState.FAILED, Reason.ERROR),
        (ErrorRate(0.5, 4, 2), Facts(recent=(True, False)), LoopState.FAILED, Reason.ERROR),
        (NoProgress(4), Facts(since_progress=4), LoopState.ABORTED, Reason.STUCK),
        (External("go"), Facts(signals=frozenset({"go"})), LoopState.COMPLETED, Reason.CONDITION_MET),
        (Custom("even"), Facts(), LoopState.COMPLETED, Reason.CONDITION_MET),
    ],
)
def test_each_condition_ends_by_its_own_reason(
    condition: Condition, facts: Facts, state: LoopState, reason: Reason
) -> None:
    ending = condition.check(facts, PREDICATES)
    assert ending is not None
    assert (ending.state, ending.reason) == (state, reason)
    assert ending.detail


@given(LEAVES)
def test_no_condition_ends_a_run_that_did_nothing_but_a_predicate(condition: Condition) -> None:
    assert isinstance(condition, Custom) or condition.check(Facts(), PREDICATES) is None


@given(CONDITIONS, CONDITIONS, FACTS)
def test_joined_conditions_end_as_logic_says(one: Condition, other: Condition, facts: Facts) -> None:
    ends = [part.check(facts, PREDICATES) is not None for part in (one, other)]
    assert ((one | other).check(facts, PREDICATES) is not None) == any(ends)
    assert ((one & other).check(facts, PREDICATES) is not None) == all(ends)


@given(CONDITIONS)
def test_a_condition_survives_a_round_trip_through_json(condition: Condition) -> None:
    assert parse_condition(json.loads(json.dumps(condition.plain()))) == condition


@given(CONDITIONS, FACTS)
def test_a_run_whose_last_step_failed_never_ends_completed(condition: Condition, facts: Facts) -> None:
    ending = decide(condition, facts, PREDICATES)
    if facts.consecutive_failures and ending is not None:
        assert ending.state is not LoopState.COMPLETED


@given(CONDITIONS, FACTS)
def test_when_the_time_that_is_left_has_passed_the_run_ends(condition: Condition, facts: Facts) -> None:
    left = condition.time_left_s(facts)
    if left is not None:
        later = Facts.parse({**facts.plain(), "elapsed_s": facts.elapsed_s + left + 1e-6})
        assert condition.check(later, PREDICATES) is not None


def test_the_gravest_ending_of_two_is_told() -> None:
    ending = (MaxIterations(1) & Timeout(1.0)).check(Facts(iterations=1, elapsed_s=9.0), {})
    assert ending is not None
    assert (ending.reason, " and " in ending.detail) == (Reason.TIMEOUT, True)


def test_facts_add_up_over_iterations_and_survive_a_round_trip() -> None:
    facts = Facts()
    for number, outcome in enumerate(itertools.islice(itertools.cycle([Outcome.OK, Outcome.FAILED]), 300)):
        facts = facts.after(outcome, 2.0, Usage(cpu_s=1.0, cost_nano_usd=3, tokens=2, rss_bytes=number), {"n": number})
    assert (facts.iterations, facts.failures, facts.consecutive_failures) == (300, 150, 1)
    assert (facts.cpu_s, facts.cost_nano_usd, facts.tokens, facts.cpu_percent) == (300.0, 900, 600, 50.0)
    assert len(facts.recent) == 100
    assert Facts.parse(json.loads(json.dumps(facts.plain()))) == facts


@pytest.mark.parametrize(
    "make",
    [
        lambda: MaxIterations(0),
        lambda: Timeout(float("nan")),
        lambda: Timeout(float("inf")),
        ResourceLimit,
        lambda: ResourceLimit(tokens=-1),
        lambda: ErrorRate(0.0),
        lambda: ErrorRate(0.5, 101),
        lambda: parse_condition({"kind": "of the future"}),
        lambda: parse_condition({"kind": "timeout", "seconds": 3}),
        lambda: parse_condition({"kind": "any", "parts": []}),
    ],
)
def test_conditions_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(ConfigurationError):
        make()  # type: ignore[operator]
