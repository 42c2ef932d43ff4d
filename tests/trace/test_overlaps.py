"""Where several were at work side by side, told by the order of their operations."""

from dataclasses import replace

import pytest

from chaos.trace.model import Ack, Kind, Op, Trace
from chaos.trace.overlaps import beside, halfway, overlaps, without_implied, writers


def ran(order: str, *, processes: bool = False) -> Trace:
    """One operation a letter, by that actor; a bar is an acknowledgement."""
    ops: list[Op] = []
    acks: list[Ack] = []
    for letter in order:
        if letter == "|":
            acks.append(Ack(after=len(ops), process=0, value=str(len(acks))))
            continue
        actor = "abcd".index(letter)
        op = Op(seq=len(ops), kind=Kind.WRITE, call="write", node=1, path="f", data=b"x")
        ops.append(replace(op, process=actor) if processes else replace(op, thread=actor))
    return Trace(engine="script", command="script", initial=(), ops=tuple(ops), acks=tuple(acks))


@pytest.mark.parametrize("processes", [False, True], ids=["threads", "processes"])
@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("aaaa|aa", ()),
        ("aabb|", ()),
        ("abca|", ()),
        ("abaca|", ()),  # one command after the other
        ("abba|", ()),
        ("abab|", ((0, 4),)),
        ("aab|b", ()),
        ("a|babb|a", ()),
        ("a|baba|a", ((1, 5),)),
        ("ccababcc|", ((2, 6),)),
        ("abab|cdcd", ((0, 4), (4, 8))),
        ("ababcdcd|", ((0, 4), (4, 8))),
        ("abcabc|", ((0, 6),)),
    ],
)
def test_who_takes_turns_twice_is_at_work_side_by_side(
    order: str, found: tuple[tuple[int, int], ...], processes: bool
) -> None:
    assert overlaps(ran(order, processes=processes)) == found


def told(order: str) -> Trace:
    """As `ran`; a capital letter is an acknowledgement by the process of that letter."""
    trace = ran("".join(letter for letter in order if letter.islower()), processes=True)
    acks: list[Ack] = []
    after = 0
    for letter in order:
        if letter.islower():
            after += 1
        else:
            acks.append(Ack(after=after, process="ABCD".index(letter), value=str(len(acks))))
    return replace(trace, acks=tuple(acks))


@pytest.mark.parametrize(
    ("order", "count"),
    [
        ("aab", 0),
        ("aAaA", 1),
        ("aAabBb", 1),  # one command after the other
        ("aAbBaA", 2),
        ("abAB", 2),
        ("aABb", 1),
        ("ABA", 2),
        ("baAab", 1),  # b works on, and acknowledges nothing
    ],
)
def test_who_acknowledges_after_another_has_ended_is_no_second_writer(order: str, count: int) -> None:
    assert writers(told(order)) == count


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("aabbABaabbAB", ((0, 4), (4, 8))),  # both steps are under way at once, also where one is through first
        ("abaAB", ((0, 3),)),
        ("aaAbbB", ()),  # one after the other
        ("aabbA", ()),  # b tells nothing: a may well have waited for it
    ],
)
def test_two_that_acknowledge_by_themselves_are_at_work_side_by_side_in_whatever_order(
    order: str, found: tuple[tuple[int, int], ...]
) -> None:
    assert overlaps(told(order)) == found


@pytest.mark.parametrize(
    ("order", "numbers"),
    [("aAaA", set()), ("abAb", {1}), ("abAaBb", {1}), ("abAaBba", {1, 2}), ("abAB", set()), ("bAabA", {1})],
)
def test_an_acknowledgement_while_another_has_begun_and_not_ended_is_halfway(order: str, numbers: set[int]) -> None:
    assert halfway(told(order)) == numbers


@pytest.mark.parametrize(
    ("values", "left"),
    [
        ((("0", 1), ("1", 1)), ["0", "1"]),  # nobody else
        ((("7", 0), ("0", 1), ("8", 0), ("1", 1)), ["7", "8"]),
        ((("0", 0), ("0", 1), ("1", 1)), ["0"]),
        ((("0", 1), ("1", 1), ("1", 0)), ["0", "1", "1"]),  # not the one who runs them: that one is the last
    ],
)
def test_the_ends_of_commands_count_where_nobody_else_acknowledges(
    values: tuple[tuple[str, int], ...], left: list[str]
) -> None:
    trace = replace(ran("a"), acks=tuple(Ack(after=1, process=process, value=value) for value, process in values))
    assert [ack.value for ack in without_implied(trace, 2).acks] == left


def test_whoever_acknowledged_before_the_crash_is_no_writer_of_the_run_after_it() -> None:
    later = told("BaAbB")  # the first acknowledgement stands ahead: process 1 of another run made it
    assert (beside(later).writers, beside(later, 1).writers) == (2, 1)
    both = beside(told("BabAB"), 1)
    assert (both.writers, both.halfway) == (2, halfway(told("BabAB")))
