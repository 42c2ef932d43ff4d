"""Oracles over how long programs run and how much they take: terminates, bounded; and what struck runs leave."""

from dataclasses import replace

import pytest

from chaos.observations import Bounds, Damage, Ending, Observation, Outcome, Verdict
from chaos.oracles.bounded import bounded, undamaged_excess
from chaos.oracles.clean import clean
from chaos.oracles.in_time import in_time, undamaged_rounds
from tests.oracles.making import reference, returned, seen

HUNG = Outcome(ending=Ending.HUNG, error_type="deadline", error="was killed at its deadline of 2 s")
COUNTER = reference(0, 1, 2, 2)


def struck(run: Outcome, outcome: Outcome | None = None) -> Observation:
    return replace(seen(1 if outcome is None else outcome), run=run)


# terminates


@pytest.mark.parametrize("run", [returned(None), Outcome(ending=Ending.RAISED, error_type="TimeoutError")])
def test_a_workload_that_ends_terminates_however_it_ends(run: Outcome) -> None:
    assert in_time(struck(run), COUNTER).verdict is Verdict.HOLDS


def test_a_workload_recovery_or_resumed_run_that_hangs_does_not() -> None:
    for observation, words in (
        (struck(HUNG), "the workload did not end before its deadline (was killed at its deadline of 2 s)"),
        (replace(seen(1), outcome=HUNG), "recovery did not return before its deadline"),
        (replace(seen(1), resumed=HUNG), "run on, the workload did not end before its deadline"),
    ):
        answer = in_time(observation, COUNTER)
        assert (answer.verdict, answer.damage, answer.message) == (Verdict.VIOLATED, Damage.STUCK, words)


def test_more_rounds_than_allowed_are_a_loop() -> None:
    three = replace(returned(None), acks=("1", "2", "3"))
    allowed = replace(COUNTER, bounds=Bounds(rounds=3))
    assert in_time(struck(three), allowed).verdict is Verdict.HOLDS
    assert in_time(struck(replace(three, acks=("1",) * 4)), allowed).damage is Damage.STUCK


def test_rounds_of_a_run_that_nothing_hurt_are_counted_as_well() -> None:
    assert undamaged_rounds(replace(COUNTER, bounds=Bounds(rounds=len(COUNTER.acks)))) == ()
    (objection,) = undamaged_rounds(replace(COUNTER, bounds=Bounds(rounds=1)))
    assert (objection.step, objection.damage) == (len(COUNTER.steps) - 1, Damage.STUCK)


# bounded

LIMITS = Bounds(memory_bytes=1000, file_bytes=2000, recovery_s=3.0)
BOUNDED = replace(COUNTER, bounds=LIMITS)
AT_MOST = replace(returned(1), memory_bytes=1000, file_bytes=2000, duration_s=3.0)


def test_what_is_at_the_bound_is_within() -> None:
    assert bounded(struck(replace(AT_MOST, memory_bytes=9999), AT_MOST), BOUNDED).verdict is Verdict.HOLDS


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"memory_bytes": 3 << 20}, "recovery took 3 MiB of memory, above its 1000 bytes"),
        ({"file_bytes": 2048}, "recovery left a file of 2 KiB, above its 1.953 KiB"),
        ({"duration_s": 3.25}, "recovery took 3.25 s, above its 3 s"),
    ],
)
def test_each_bound_is_held(more: dict[str, float], words: str) -> None:
    answer = bounded(replace(seen(1), outcome=replace(AT_MOST, **more)), BOUNDED)  # type: ignore[arg-type]
    assert (answer.verdict, answer.damage, answer.message) == (Verdict.VIOLATED, Damage.EXCESS, words)


def test_a_file_that_the_workload_left_counts_as_well() -> None:
    answer = bounded(struck(replace(AT_MOST, file_bytes=2001), AT_MOST), BOUNDED)
    assert answer.message == "the workload left a file of 1.954 KiB, above its 1.953 KiB"


def test_without_a_bound_it_is_unknown() -> None:
    assert bounded(seen(1), replace(COUNTER, bounds=Bounds(rounds=1))).verdict is Verdict.UNKNOWN


def test_steps_of_a_run_that_nothing_hurt_are_within_bounds_too() -> None:
    greedy = replace(BOUNDED, steps=(*BOUNDED.steps[:2], replace(AT_MOST, memory_bytes=1001), BOUNDED.steps[3]))
    assert undamaged_excess(BOUNDED) == ()
    assert [objection.step for objection in undamaged_excess(greedy)] == [2]


# clean


def test_a_process_that_the_workload_left_is_unclean() -> None:
    left = replace(returned(None), leftovers=("process still running: helper",))
    answer = clean(struck(left), replace(COUNTER, names=frozenset({"a"})))
    assert (answer.damage, answer.message) == (
        Damage.UNCLEAN,
        "the workload left behind: process still running: helper",
    )
