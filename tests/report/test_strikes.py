"""Findings in struck runs, in words."""

from dataclasses import replace

import pytest

from chaos.child import values
from chaos.observations import Damage, Ending, Finding, Observation, Outcome, Reference, Violation
from chaos.report.strikes import (
    Strike,
    blamed_strike,
    strike_signature,
    struck_finding,
    told_with_strikes,
    workload_words,
)
from chaos.trace.model import Ack, Frame, Kind, Op, Trace

SAVE, OPEN = (Frame("/home/me/store.py", line, "save") for line in (7, 5))
LIBRARY = Frame("/usr/lib/python3.11/pathlib.py", 1, "write")
WRITE = Strike(call="write", path="f", done="failed with ENOSPC", fault=0, acked=1, after=3, source=(LIBRARY, SAVE))
AGAIN = replace(WRITE, call="openat", acked=2, source=(OPEN,))
TRACE = Trace(
    engine="syscalls",
    command="save",
    initial=(),
    ops=tuple(Op(seq=seq, kind=Kind.WRITE, call="write", path="f", data=b"x", source=(SAVE,)) for seq in range(20)),
    acks=tuple(Ack(after=after, process=0, value=str(number)) for number, after in enumerate((3, 3, 4), start=1)),
)
RAISED = Outcome(ending=Ending.RAISED, error_type="json.JSONDecodeError", error="half a document")
REFERENCE = Reference(
    steps=tuple(Outcome(ending=Ending.RETURNED, value=values.encode(n)) for n in range(5)), acks=TRACE.acks, writers=1
)
SEEN = Observation(
    state="plan",
    model="injected fault",
    point=20,
    acked=3,
    outcome=RAISED,
    again=RAISED,
    run=Outcome(ending=Ending.RAISED, error_type="OSError", error="No space left"),
)
LOUD = Violation(oracle="recovers", damage=Damage.LOUD, message="recovery raised it", state="plan", point=20)


def finding(*strikes: Strike, seen: Observation = SEEN, violation: Violation = LOUD) -> Finding:
    return struck_finding("one", "injected fault", TRACE, strikes, (seen, violation), REFERENCE)


def test_the_first_strike_of_the_fault_that_struck_last_is_blamed() -> None:
    other = replace(WRITE, fault=1, path="other")
    assert blamed_strike([WRITE, AGAIN]) is WRITE
    assert blamed_strike([other, WRITE, AGAIN]) is WRITE
    assert blamed_strike([WRITE, AGAIN, other]) is other
    assert finding(WRITE, AGAIN).source == SAVE


def test_a_finding_says_where_what_and_what_became_of_it() -> None:
    found = finding(WRITE)
    assert found.title == "store.py:7 save: write() of f failed with ENOSPC, and recovery raises JSONDecodeError"
    assert found.explanation == (
        "store.py:7 in save: write() of f failed with ENOSPC",
        "the workload raised OSError: No space left",
        "3 acknowledgements had been made, the last of 3",
        "then recovery raised it",
        "a second start fails in the same way",
    )


def test_without_source_lines_the_call_is_named() -> None:
    bare = replace(WRITE, source=())
    assert finding(bare).title == "write() of f failed with ENOSPC, and recovery raises JSONDecodeError"
    assert strike_signature(bare) == "write f"
    assert strike_signature(WRITE) == "/home/me/store.py:7"


def test_the_timeline_has_strikes_and_acknowledgements_in_their_order() -> None:
    rows = [row.strip() for row in finding(WRITE, AGAIN, AGAIN).timeline]
    begin = rows.index("acknowledged 1")
    assert rows[begin : begin + 4] == [
        "acknowledged 1",
        "<- write() of f failed with ENOSPC",
        "acknowledged 2",
        "<- openat() of f failed with ENOSPC",
    ]
    assert rows[begin - 1].startswith("2 write")
    assert rows[begin + 4].startswith("3 write")
    assert rows[-2:] == ["... 12 more", "the workload raised OSError: No space left"]


def test_many_strikes_are_told_by_number() -> None:
    many = [replace(WRITE, path=f"f{number}") for number in range(5)]
    assert finding(*many).explanation[3] == "and 2 more calls were struck"


def test_one_cause_has_one_id_and_another_place_or_fault_another() -> None:
    assert finding(WRITE).id == finding(replace(WRITE, after=9, path="g")).id
    elsewhere = finding(replace(WRITE, source=(OPEN,)))
    assert len({finding(WRITE).id, elsewhere.id, finding(replace(WRITE, done="failed with EIO")).id}) == 3


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (Outcome(ending=Ending.RETURNED), "went on to its end"),
        (Outcome(ending=Ending.KILLED, detail=9), "was killed by signal 9"),
        (Outcome(ending=Ending.RAISED, error_type="E", error="one\ntwo"), "raised E: one"),
    ],
)
def test_how_the_workload_ended_is_told(run: Outcome, words: str) -> None:
    assert workload_words(run) == words


def test_a_crash_after_a_strike_is_told_with_it() -> None:
    crash = replace(finding(WRITE), title="a state is lost", explanation=("gone",))
    told = told_with_strikes(crash, "plan text", [WRITE], Outcome(ending=Ending.RETURNED))
    assert told.title == "a state is lost (after write() of f failed with ENOSPC)"
    assert told.explanation == (WRITE.sentence, "the workload went on to its end", "gone")
    assert told.extra["plan"] == "plan text"
    assert told.id not in (crash.id, told_with_strikes(crash, "", [AGAIN], Outcome(ending=Ending.RETURNED)).id)
