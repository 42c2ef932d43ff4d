"""The table: every family of loops is found and shown with evidence, no family of honest work is stopped."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.loops import Level, Step, StepKind, StuckDetector, StuckSettings, Verdict
from tests.reliability.loops.families import HONEST, LOOPS

EXAMPLES = settings(max_examples=25)


def worst(steps: list[Step]) -> Verdict:
    detector = StuckDetector()
    return max((detector.observe(step) for step in steps), key=lambda verdict: verdict.level)


def test_the_table_has_at_least_ten_loops_and_six_honest_families() -> None:
    assert len(LOOPS) >= 10
    assert len(HONEST) >= 6


@pytest.mark.parametrize("family", sorted(LOOPS))
@EXAMPLES
@given(seed=st.integers(0, 10_000))
def test_a_loop_is_found_with_evidence(family: str, seed: int) -> None:
    verdict = worst(LOOPS[family](random.Random(seed)))
    assert verdict.level >= Level.BLOCK
    assert verdict.times >= 3
    assert str(verdict.times) in verdict.evidence
    assert '"' in verdict.evidence


@pytest.mark.parametrize("family", sorted(HONEST))
@EXAMPLES
@given(seed=st.integers(0, 10_000))
def test_honest_work_is_not_stopped(family: str, seed: int) -> None:
    verdict = worst(HONEST[family](random.Random(seed)))
    assert verdict.level < Level.BLOCK, verdict


@pytest.mark.parametrize("family", sorted({**LOOPS, **HONEST}))
@EXAMPLES
@given(seed=st.integers(0, 10_000), window=st.integers(4, 40), groups=st.integers(4, 12))
def test_a_detector_restored_at_every_step_answers_alike(family: str, seed: int, window: int, groups: int) -> None:
    patience = StuckSettings(window=window, groups=groups)
    unbroken, broken = StuckDetector(settings=patience), StuckDetector(settings=patience)
    for step in {**LOOPS, **HONEST}[family](random.Random(seed)):
        state = finite_json.loads(finite_json.dumps(broken.get_state()))
        broken = StuckDetector(settings=patience)
        broken.restore_state(state)
        assert broken.observe(step) == unbroken.observe(step)
    assert broken.get_state() == unbroken.get_state()


STATUS = {
    StepKind.OK: "ok",
    StepKind.RETRY: "needs_changes",
    StepKind.ERROR: "failed",
    StepKind.WAITING: "waiting",
    StepKind.TALK: "talk",
}
# What status and feedback do not show: who only speaks, and whether the files changed.
UNTOLD = {"monologue", "no_progress", "back_and_forth", "moving_tree"}


def aborts(steps: list[Step]) -> bool:
    detector = StuckDetector()
    return any(
        detector.check_retry_loop(STATUS[step.kind], step.feedback, number)[0] for number, step in enumerate(steps, 1)
    )


@pytest.mark.parametrize("family", sorted(set(LOOPS) - UNTOLD))
@EXAMPLES
@given(seed=st.integers(0, 10_000))
def test_status_and_feedback_alone_are_enough_to_find_a_loop(family: str, seed: int) -> None:
    assert aborts(LOOPS[family](random.Random(seed)))


@pytest.mark.parametrize("family", sorted(set(HONEST) - UNTOLD))
@EXAMPLES
@given(seed=st.integers(0, 10_000))
def test_by_status_and_feedback_alone_honest_work_is_not_aborted(family: str, seed: int) -> None:
    assert not aborts(HONEST[family](random.Random(seed)))
