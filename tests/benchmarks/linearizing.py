"""Histories of ten busy clients: how many operations a second are judged, as histories grow, right and wrong ones."""

import time
from dataclasses import replace
from functools import partial

from chaos.history import Operation
from chaos.observations import Verdict
from chaos.oracles.linearizable import linearizable, model_named
from tests.benchmarks.figures import Figure, interleave, spread
from tests.oracles.test_linearizable import concurrent

__all__ = ["measure"]

_SECONDS = 5.0


def rate(history: list[Operation], kind: str, expected: Verdict) -> float:
    """Operations judged in a second."""
    began = time.monotonic()
    judged = linearizable(history, model_named(kind))
    assert judged.verdict is expected
    return len(history) / (time.monotonic() - began)


def with_a_wrong_answer(history: list[Operation]) -> list[Operation]:
    """The history with one answer, late in it, that nobody can have given."""
    reads = ("read", "dequeue")
    place = max(place for place, one in enumerate(history[: len(history) * 3 // 4]) if one.name in reads)
    return [*history[:place], replace(history[place], result=-1), *history[place + 1 :]]


def measure(quick: bool) -> list[Figure]:
    """Rates for registers and queues, correct and broken, at three lengths."""
    lengths, rounds = ([100, 1000], 1) if quick else ([100, 1000, 10_000], 3)
    figures = []
    for kind in ("register", "queue"):
        for wrong in (False, True):
            expected = Verdict.VIOLATED if wrong else Verdict.HOLDS
            made = {calls: concurrent(kind, calls, seed=1) for calls in lengths}
            runs = {
                str(calls): partial(rate, with_a_wrong_answer(one) if wrong else one, kind, expected)
                for calls, one in made.items()
            }
            measured = interleave(runs, rounds)
            for calls in lengths:
                median, low, high = spread(measured[str(calls)])
                figures.append(
                    Figure(
                        name=f"{'broken' if wrong else 'correct'} {kind} judged, 10 clients, {calls} operations",
                        unit="operations/s",
                        value=median,
                        low=low,
                        high=high,
                        aim=f"within {_SECONDS:g} s",
                        holds=calls / median <= _SECONDS,
                    )
                )
    return figures
