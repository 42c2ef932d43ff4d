"""What counts as a repetition."""

from hypothesis import given
from hypothesis import strategies as st

from chaos.oracles.repetition import period_of, skeleton


@given(st.lists(st.integers(0, 3), max_size=20), st.lists(st.integers(0, 3), min_size=1, max_size=5), st.integers(2, 4))
def test_a_cycle_that_comes_often_enough_is_found(before: list[int], cycle: list[int], times: int) -> None:
    period = period_of([*before, *cycle * times], times, longest=5)
    assert period is not None
    assert period <= len(cycle)


@given(st.lists(st.integers(0, 2), max_size=12), st.integers(2, 4))
def test_what_is_found_is_a_cycle(sequence: list[int], times: int) -> None:
    period = period_of(sequence, times, longest=4)
    if period is not None:
        assert sequence[-period * times :] == sequence[-period:] * times


def test_once_too_few_is_not_enough() -> None:
    assert period_of("xaaa", 4, longest=8) is None
    assert period_of("xababab", 4, longest=8) is None
    assert period_of("aaaa", 4, longest=8) == 1
    assert period_of("xabababab", 4, longest=8) == 2


def test_longer_cycles_than_asked_for_are_not_looked_for() -> None:
    assert period_of("abcabc", 2, longest=3) == 3
    assert period_of("abcabc", 2, longest=2) is None


def test_texts_are_alike_but_for_numbers_dates_and_ids() -> None:
    pairs = [
        ("attempt 1 scored 0.5", "attempt 22 scored -1.25e-3"),
        ("2026-11-21T10:00:00Z: no", "2027-01-02T23:59:59.5Z:  no"),
        ("Nov 3, 2026: no", "December 12, 1999: no"),
        ("3 Nov 2026: no", "12 December 1999: no"),
        ("run 0f8fad5b-d9cb-469f-a165-70867728950e", "run 7c9e6679-7425-40de-944b-e07fc1f90ae7"),
        ("commit 9fceb02d0ae598e95dc970b74767f19372d61af8", "commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad"),
        ("<Thing at 0x7ff0cf57c050>", "<Thing at 0x1>"),
    ]
    for one, other in pairs:
        assert skeleton(one) == skeleton(other), one


def test_words_make_a_difference() -> None:
    assert skeleton("attempt 1 failed") != skeleton("attempt 1 passed")
    assert skeleton("it may be 1") != skeleton("it can be 1")
    assert skeleton("decade") == "decade"
    assert skeleton("feedback") == "feedback"
