"""Where several were at work side by side, told by the order of their operations."""

from dataclasses import replace

import pytest

from chaos.trace.model import Ack, Kind, Op, Trace
from chaos.trace.overlaps import overlaps


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
