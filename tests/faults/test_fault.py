"""Faults as data: what a table may say, and one clear error for each that makes no sense."""

from typing import Any

import pytest

from chaos.errors import UsageError
from chaos.faults.fault import CALLS, FAMILIES, Deed, Fault, parse_fault
from chaos.syscalls.tables import ARCHITECTURES, READS

TABLES: list[dict[str, Any]] = [
    {"call": "write", "path": "*.json", "nth": 3, "errno": "ENOSPC"},
    {"call": ["pwrite64", "write"], "process": 0, "every": 2, "short": 5},
    {"short": "half"},
    {"call": "sync", "probability": 0.25, "delay": 0.5},
    {"call": "fsync", "nth": 1, "hang": True},
    {"call": "rename", "after_ack": 2, "pause": 1.5},
    {"lie": True, "every": 1},
    {"full": 4096, "path": "*.db"},
    {"nth": 2, "onwards": True, "errno": "EROFS"},
    {"nth": 7, "kill": "inside", "bytes": 0, "reach": "process"},
]


@pytest.mark.parametrize("table", TABLES, ids=str)
def test_a_fault_says_the_same_as_a_table_and_back(table: dict[str, Any]) -> None:
    fault = parse_fault(table)
    assert fault.table() == table
    assert parse_fault(fault.table()) == fault
    assert fault.words()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "does nothing"),
    ({"nth": 1}, "does nothing"),
    ({"errno": "EIO", "hang": True}, "errno and hang"),
    ({"errno": "ENOSPACE"}, "no errno 'ENOSPACE'.*ENOSPC"),
    ({"errno": "EIO", "cal": "write"}, "no key 'cal'.*did you mean call"),
    ({"errno": "EIO", "call": "wirte"}, "no call 'wirte'.*write"),
    ({"errno": "EIO", "nth": 0}, "nth is 0"),
    ({"errno": "EIO", "nth": True}, "nth is True"),
    ({"errno": "EIO", "every": 0}, "every is 0"),
    ({"errno": "EIO", "after_ack": -1}, "after_ack is -1"),
    ({"errno": "EIO", "process": -1}, "process is -1"),
    ({"errno": "EIO", "probability": 0}, "probability is 0"),
    ({"errno": "EIO", "probability": 1.5}, "probability is 1.5"),
    ({"errno": "EIO", "nth": 1, "every": 2}, "nth and every are given"),
    ({"errno": "EIO", "every": 2, "onwards": True}, "onwards goes with nth"),
    ({"errno": "EIO", "call": "ack"}, "acknowledgement can't fail"),
    ({"short": 0}, "short is 0"),
    ({"short": 5, "call": "rename"}, "short can't be done to rename"),
    ({"lie": True, "call": "write"}, "lie can't be done to"),
    ({"lie": False}, "lie is False"),
    ({"full": -1}, "full is -1"),
    ({"full": 10, "nth": 1}, "full does not go with nth"),
    ({"delay": 0}, "delay is 0"),
    ({"pause": float("nan")}, "pause is nan"),
    ({"kill": "later"}, "kill is 'later'"),
    ({"kill": "before", "reach": "all"}, "reach is 'all'"),
    ({"errno": "EIO", "reach": "tree"}, "belong to kill"),
]


@pytest.mark.parametrize(("table", "words"), WRONG, ids=str)
def test_a_table_that_makes_no_sense_is_refused_with_one_message(table: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=f"(?s){words}"):
        parse_fault(table)


def test_without_a_choice_a_fault_is_for_each_call_in_turn() -> None:
    assert parse_fault({"errno": "EIO"}).is_each
    assert not parse_fault({"errno": "EIO"}).at(3).is_each
    assert not parse_fault({"full": 10}).is_each


def test_families_hold_calls_that_the_supervisor_knows() -> None:
    known = {"ack", "open_read"}.union(*(set(one.numbers) for one in ARCHITECTURES.values()), *READS.values())
    assert {call for family in FAMILIES.values() for call in family} <= known
    assert set(FAMILIES) < set(CALLS)
    assert Fault(deed=Deed.LIE).names() == frozenset(FAMILIES["sync"])
