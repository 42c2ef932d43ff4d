"""The stuck detector's original contract, its ladder, and what it does not forget or keep."""

import json
import tracemalloc

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.loops import Ladder, Level, Pattern, Step, StepKind, StuckDetector, StuckSettings


def fresh(number: int) -> Step:
    return Step(action=f"write part {number}", feedback=f"{chr(97 + number % 26) * (number + 3)} was written")


def test_identical_feedback_twice_aborts() -> None:
    detector = StuckDetector(max_consecutive_retries=2)
    assert detector.check_retry_loop("needs_changes", ["Fix bug"], 1) == (False, None)
    abort, reason = detector.check_retry_loop("needs_changes", ["Fix bug"], 2)
    assert abort
    assert reason is not None
    assert "2 times consecutively" in reason
    assert "Fix bug" in reason


def test_different_feedback_begins_anew() -> None:
    detector = StuckDetector(max_consecutive_retries=2)
    for feedback in (["a"], ["b"], ["a"], ["c"]):
        assert detector.check_retry_loop("needs_changes", feedback, 1) == (False, None)
    assert detector.get_state()["consecutive_retry_count"] == 1


def test_an_approval_forgets_everything() -> None:
    detector = StuckDetector(max_consecutive_retries=2)
    detector.check_retry_loop("needs_changes", ["a"], 1)
    detector.check_retry_loop("approved", [], 2)
    assert detector.get_state()["consecutive_retry_count"] == 0
    assert detector.check_retry_loop("needs_changes", ["a"], 3) == (False, None)


def test_a_failure_in_between_forgets_nothing_of_the_contract() -> None:
    detector = StuckDetector(max_consecutive_retries=2)
    detector.check_retry_loop("needs_changes", ["a"], 1)
    detector.check_retry_loop("failed", ["crash"], 2)
    assert detector.check_retry_loop("needs_changes", ["a"], 3)[0]


def test_the_last_round_aborts_when_changes_are_still_asked_for() -> None:
    detector = StuckDetector()
    assert detector.check_retry_loop("needs_changes", ["a"], 4, max_rounds=5) == (False, None)
    abort, reason = detector.check_retry_loop("needs_changes", ["b"], 5, max_rounds=5)
    assert abort
    assert "round 5 of 5" in (reason or "")


def test_joined_texts_are_not_a_list_of_texts() -> None:
    detector = StuckDetector(max_consecutive_retries=2)
    assert detector.check_retry_loop("needs_changes", ["x|y"], 1) == (False, None)
    assert detector.check_retry_loop("needs_changes", ["x", "y"], 2) == (False, None)


def test_the_two_fields_of_an_old_checkpoint_are_enough_to_go_on() -> None:
    old = StuckDetector()
    old.check_retry_loop("needs_changes", ["a"], 1)
    kept = {key: old.get_state()[key] for key in ("consecutive_retry_count", "last_retry_feedback_hash")}
    detector = StuckDetector()
    detector.restore_state(json.loads(json.dumps(kept)))
    assert detector.check_retry_loop("needs_changes", ["a"], 2)[0]


def test_feedback_that_alternates_aborts_although_it_always_differs() -> None:
    detector = StuckDetector()
    answers = [detector.check_retry_loop("needs_changes", [text], n) for n, text in enumerate("abababab", 1)]
    assert answers[5][0]
    assert "cycle of 2" in (answers[5][1] or "")


def test_the_ladder_is_climbed_rung_by_rung() -> None:
    detector = StuckDetector()
    step = Step(kind=StepKind.ERROR, action="make", feedback="no rule to make target all")
    levels = [detector.observe(step).level for _ in range(5)]
    assert levels == [Level.NONE, Level.NOTE, Level.WARN, Level.BLOCK, Level.STOP]


def test_a_new_progress_mark_begins_every_count_anew() -> None:
    detector = StuckDetector()
    for number in range(30):
        verdict = detector.observe(Step(kind=StepKind.ERROR, feedback="still red", progress=f"tree {number // 3}"))
        assert verdict.level <= Level.WARN


def test_a_mark_that_was_there_before_is_no_progress() -> None:
    detector = StuckDetector()
    verdicts = [detector.observe(Step(feedback=f"{'abcdefgh'[n % 8] * n}", progress=n % 2)) for n in range(1, 24)]
    assert verdicts[-1].pattern is Pattern.NO_PROGRESS


def test_what_recurs_rarely_is_never_blocked() -> None:
    detector = StuckDetector()
    verdicts = []
    for number in range(60):
        step = Step(action="read MANUAL", feedback="how it works") if number % 5 == 0 else fresh(number)
        verdicts.append(detector.observe(step))
    assert max(verdict.times for verdict in verdicts) >= 10
    assert max(verdict.level for verdict in verdicts) is Level.WARN


def test_several_actions_that_meet_one_failure_have_more_patience_than_one_action() -> None:
    same, several = StuckDetector(), StuckDetector()
    for number in range(4):
        one = same.observe(Step(kind=StepKind.ERROR, action="make", feedback="disk is away"))
        other = several.observe(Step(kind=StepKind.ERROR, action=f"make {number}", feedback="disk is away"))
    assert (one.level, other.level) == (Level.BLOCK, Level.NOTE)


def test_nearly_equal_failures_have_more_patience_than_equal_ones() -> None:
    detector = StuckDetector()
    for word in ("now", "soon", "please", "again"):
        text = f"the parser of the header must be mended {word} before you go on"
        verdict = detector.observe(Step(kind=StepKind.RETRY, feedback=text))
    assert (verdict.level, verdict.times) == (Level.NOTE, 4)
    assert "nearly the same" in verdict.evidence


def test_pauses_between_two_questions_are_part_of_the_waiting() -> None:
    detector = StuckDetector()
    for _ in range(20):
        detector.observe(Step(kind=StepKind.WAITING, feedback="not yet"))
        assert detector.observe(Step(action="sleep 5", feedback="")).level is Level.NONE


def test_the_evidence_of_a_cycle_shows_its_steps_in_order() -> None:
    detector = StuckDetector()
    for text in "xyz" * 4:
        verdict = detector.observe(Step(kind=StepKind.RETRY, feedback=text))
    assert '"x" -> "y" -> "z"' in verdict.evidence


def test_memory_is_bounded_however_long_and_large_the_history_is() -> None:
    detector = StuckDetector()
    sizes = []
    tracemalloc.start()
    try:
        for number in range(1200):
            detector.observe(
                Step(feedback=f"{number} " + chr(97 + number % 26) * 3000, action=[number], progress=number)
            )
            if number in (400, 1199):
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert sizes[1] < sizes[0] * 1.5
    assert len(finite_json.dumps(detector.get_state())) < 400_000


def test_feedback_that_can_not_be_stored_as_it_is_leaves_a_state_that_can() -> None:
    detector = StuckDetector()
    detector.observe(Step(feedback="lone \ud800 surrogate", action={"x": float("nan")}, progress=object()))
    finite_json.dumps(detector.get_state())


def test_a_newer_state_is_refused() -> None:
    with pytest.raises(NewerFormatError, match="format 99"):
        StuckDetector().restore_state({**StuckDetector().get_state(), "format": 99})


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="cycle must be four counts"):
        StuckSettings(cycle=Ladder(3, 2, 4, 5))
    with pytest.raises(ConfigurationError, match="window"):
        StuckSettings(window=2)
    with pytest.raises(ConfigurationError, match="least_share"):
        StuckSettings(least_share=0.0)
    with pytest.raises(ConfigurationError, match="max_consecutive_retries"):
        StuckDetector(0)
