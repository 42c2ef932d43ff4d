"""What a loop is told round after round."""

import re
from itertools import islice, pairwise

import pytest

from chaos.errors import UsageError
from chaos.faults.feedback import Feedback, FeedbackKind, rounds


def said(kind: FeedbackKind, *texts: str, seed: int = 0, count: int = 20) -> list[str]:
    return list(islice(rounds(Feedback(kind=kind, texts=texts, seed=seed)), count))


def test_identical_feedback_is_one_text_for_ever() -> None:
    assert said(FeedbackKind.IDENTICAL, "no", count=1000) == ["no"] * 1000


def test_cyclic_feedback_comes_round() -> None:
    assert said(FeedbackKind.CYCLIC, "a", "b", "c", count=7) == ["a", "b", "c", "a", "b", "c", "a"]


def test_almost_identical_feedback_differs_in_numbers_and_dates_alone() -> None:
    texts = said(FeedbackKind.ALMOST, "2026-11-21: attempt 1007 scored 0.5", count=50)
    assert len(set(texts)) == 50
    assert all(re.fullmatch(r"\d{4}-\d{2}-\d{2}: attempt \d{4} scored \d\.\d", text) for text in texts)


def test_drifting_feedback_changes_by_one_word_a_round() -> None:
    texts = [text.split() for text in said(FeedbackKind.DRIFTING, "the plan is not good enough")]
    assert [sum(a != b for a, b in zip(one, next_, strict=True)) for one, next_ in pairwise(texts)] == [1] * 19


def test_honest_feedback_ends() -> None:
    assert said(FeedbackKind.HONEST, "two left", "one left", "done") == ["two left", "one left", "done"]


@pytest.mark.parametrize("kind", [FeedbackKind.ALMOST, FeedbackKind.DRIFTING])
def test_the_seed_decides(kind: FeedbackKind) -> None:
    first = said(kind, "step 100 of many", seed=1)
    assert said(kind, "step 100 of many", seed=1) == first
    assert said(kind, "step 100 of many", seed=2) != first


@pytest.mark.parametrize(
    ("kind", "texts", "reason"),
    [
        (FeedbackKind.IDENTICAL, (), "takes 1 text, not 0"),
        (FeedbackKind.IDENTICAL, ("a", "b"), "takes 1 text, not 2"),
        (FeedbackKind.CYCLIC, ("a",), "takes 2 texts or more, not 1"),
        (FeedbackKind.CYCLIC, ("a", "a"), "all the same"),
        (FeedbackKind.ALMOST, ("no change",), "no number and no date"),
        (FeedbackKind.DRIFTING, (" ",), "words"),
        (FeedbackKind.HONEST, (), "takes 1 text or more, not 0"),
    ],
)
def test_feedback_that_can_not_be_made_is_refused(kind: FeedbackKind, texts: tuple[str, ...], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Feedback(kind=kind, texts=texts)


def test_feedback_of_the_wrong_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="such as FeedbackKind"):
        Feedback(kind="identical", texts=("a",))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="texts must be a tuple of texts, not 'abc'"):
        Feedback(kind=FeedbackKind.HONEST, texts="abc")  # type: ignore[arg-type]
