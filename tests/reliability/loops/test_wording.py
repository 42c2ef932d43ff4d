"""What a message says without its variable parts, and how nearly equal messages and repeats are known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.reliability.loops.likeness import Likeness
from pytest_guardrails.reliability.loops.repetition import Repetition
from pytest_guardrails.reliability.loops.wording import Role, digest, distinct, plain_text, read, read_value

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Build failed at 2026-11-21T10:32:41Z", "build   FAILED at 2025-01-02 "),
        ("request 4f3a9c12 was refused", "request 99ab01cd was refused"),
        ("see /tmp/run-1/out.log", "see /var/folders/x9/out.log"),
        ("error in a.py:12:5", "error in a.py:99:1"),
        ("not there (attempt 3)", "not there"),
        ("not there, attempt 3 of 10", "not there"),
        ("it took 0.43s", "it took 12.9s"),
        ("it took 3 seconds", "it took 4 seconds"),
        ("port 8080 is taken", "port 8081 is taken"),
        ("the 3rd time", "the 4th time"),
        ("test_7 is red", "test_12 is red"),
        ('{"a": 1, "b": "x"}', '{"b": "x", "a": 1}'),
    ],
)
def test_variable_parts_do_not_count(one: str, other: str) -> None:
    assert read_value(one).words == read_value(other).words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("fix the bug in styles.css", "fix the bug in main.py"),
        ("timeout", "refused"),
        ("see /src/parse.py", "see /src/render.py"),
    ],
)
def test_what_is_meant_counts(one: str, other: str) -> None:
    assert read(one).words != read(other).words


@pytest.mark.parametrize(
    ("text", "roles"),
    [
        ("5 tests failed", (Role.FALLING,)),
        ("40% done", (Role.BOUNDED,)),
        ("40 % done", (Role.BOUNDED,)),
        ("7/9 ready", (Role.BOUNDED,)),
        ("page 4", (Role.RISING,)),
        ("answer 42", (Role.PLAIN,)),
        ("rows 41-60", (Role.RISING,)),
        ("step 3/9", (Role.BOUNDED,)),
        ("step 3 of 9", (Role.BOUNDED, Role.BOUNDED)),
        ("failures=3", (Role.FALLING,)),
        ("attempt 3: 5 tests failed", (Role.FALLING,)),
        ("3 attempts left", ()),
        ("job 7 started", ()),
    ],
)
def test_a_number_has_the_role_that_its_neighbours_give_it(text: str, roles: tuple[Role, ...]) -> None:
    assert read(text).roles == roles


@given(st.text() | st.text(alphabet="0123456789.%/:-eE+x ", max_size=60))
def test_any_text_is_read_and_its_measures_are_finite(text: str) -> None:
    found = read_value(text)
    assert all(math.isfinite(value) for value in found.measures)
    assert " ".join(found.words).split() == list(found.words)


def test_a_long_text_is_kept_short_and_its_middle_counts() -> None:
    one, other = (" ".join(["word"] * 30_000 + [middle] + ["word"] * 30_000) for middle in ("alpha", "beta"))
    assert len(read(one).words) < 100
    assert read(one).words != read(other).words


def test_lists_and_texts_that_look_alike_have_several_digests() -> None:
    values = [["x|y"], ["x", "y"], "x|y", '["x|y"]', {"x": "y"}, [["x"], "y"], b"x|y", None, "null", [], ""]
    assert len({digest(value) for value in values}) == len(values)


def test_the_order_of_a_list_of_findings_does_not_count() -> None:
    assert digest(["a", "b"]) == digest(["b", "a"])


@given(ANY_JSON)
def test_every_value_has_one_digest_and_one_text(value: object) -> None:
    assert digest(value) == digest(value)
    plain_text(value).encode()


def test_what_json_lacks_has_a_text_without_an_address() -> None:
    assert "0x" not in plain_text({"error": object(), 1: {2}, (3,): b"x"})
    assert plain_text(ValueError("no")) == '"ValueError: no"'


def test_numbers_of_actions_count_but_ids_do_not() -> None:
    assert distinct({"tool": "list", "page": 1}) != distinct({"tool": "list", "page": 2})
    assert distinct("get 4f3a9c12") == distinct("get 99ab01cd")


def test_a_changed_word_in_ten_is_the_same_group_and_another_message_is_not() -> None:
    likeness = Likeness(8)
    first = likeness.match(read("please mend the broken parser of the header before you go on"), failing=True)
    near = likeness.match(read("please mend the broken reader of the header before you go on"), failing=True)
    other = likeness.match(read("the server did not answer within the time that it had been given"), failing=True)
    assert (first.new, near.group, near.exact, other.new) == (True, first.group, False, True)


def test_a_changed_word_in_a_short_message_makes_it_another_one() -> None:
    likeness = Likeness(8)
    first, second = (likeness.match(read(f"fix the bug in {name}"), failing=True) for name in ("styles", "main"))
    assert second.new
    assert first.group != second.group


def test_only_so_many_groups_are_kept() -> None:
    likeness = Likeness(5)
    for number in range(200):
        likeness.match(
            read(f"{'abcdefghij'[number % 10] * 3} {chr(97 + number // 10) * 4} one two three four"), failing=False
        )
    plain = likeness.plain()
    assert len(plain["groups"]) == 5
    assert len(likeness._owners) <= 5 * 6


def test_falling_failures_advance_and_rising_ones_do_not() -> None:
    likeness = Likeness(8)
    advanced = [likeness.match(read(f"{left} tests failed"), failing=True).advanced for left in (5, 4, 4, 6, 3)]
    assert advanced == [False, True, False, False, True]


def test_a_number_that_goes_both_ways_is_no_progress() -> None:
    likeness = Likeness(8)
    for value in (5, 9):
        likeness.match(read(f"answer {value}"), failing=False)
    assert not any(likeness.match(read(f"answer {value}"), failing=False).advanced for value in (3, 10, 2, 11))


def naive_rounds(marks: list[str], period: int) -> int:
    fitted = 0
    while fitted + period < len(marks) and marks[-1 - fitted] == marks[-1 - fitted - period]:
        fitted += 1
    return fitted // period + 1


@given(st.lists(st.sampled_from("abc"), max_size=40), st.integers(4, 12))
def test_repeats_are_counted_as_by_looking_at_the_whole_window(marks: list[str], window: int) -> None:
    repetition = Repetition(window)
    for number, mark in enumerate(marks, 1):
        seen = repetition.push(mark)
        last = marks[max(0, number - window) : number]
        assert seen.times == last.count(mark)
        if seen.period:
            assert seen.rounds >= min(2, naive_rounds(marks[:number], seen.period))
            assert seen.rounds <= naive_rounds(marks[:number], seen.period)
        assert repetition.last(window) == last


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 100))
def test_a_cycle_of_any_period_is_seen_in_every_round(period: int, rounds: int, seed: int) -> None:
    marks = [f"m{number}" for number in range(period)]
    random.Random(seed).shuffle(marks)
    repetition = Repetition(64)
    for mark in marks * rounds:
        seen = repetition.push(mark)
    assert (seen.period, seen.rounds) == (period, rounds)
