"""Races: episodes a second with three processes, and how soon a cold start finds two well-known races."""

import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from chaos.child.target import PythonTarget
from chaos.oracles.exclusive import exclusive
from chaos.race.exploring import Search
from chaos.race.stage import Played, Players, Stage
from chaos.scenario.runner.interleaving import live_run
from tests.benchmarks.figures import Figure, interleave, spread

__all__ = ["measure"]

RACERS = 3
LEAST_PER_S = 100.0
SOONEST_S = 2.0
SHELF = Path(__file__).resolve().parents[2] / "scenarios"


def players(subject: str, worker: str, setup: str = "") -> Players:
    folder = str(SHELF / subject)
    return Players(
        workers=[PythonTarget(ref=f"targets:{worker}", search=(folder,))] * RACERS,
        setup=PythonTarget(ref=f"targets:{setup}", search=(folder,)) if setup else None,
    )


LOCKED = players("lock_races", "staying")
UNLINKED = players("lock_races", "unlinking")
NAIVE = players("lost_updates", "naive", "setup")


def episodes_per_s(racers: Players, count: int) -> float:
    with Stage(racers) as stage:
        search = iter(Search(stage, seed=0, participants=RACERS))
        list(islice(search, 10))  # warm-up
        began = time.monotonic()
        list(islice(search, count))
        return count / (time.monotonic() - began)


def two_inside(played: Played) -> bool:
    return exclusive(live_run(played).said) is not None


def same_answer(played: Played) -> bool:
    answers = [one.value for one in live_run(played).said if one.text.startswith(")")]
    return len({result for _, result in answers}) < len(answers)


def found_after_s(racers: Players, wrong: Callable[[Played], bool]) -> float:
    began = time.monotonic()
    with Stage(racers) as stage:
        for played in Search(stage, seed=0, participants=RACERS):
            if wrong(played):
                break
    return time.monotonic() - began


def measure(quick: bool) -> list[Figure]:
    """Rates of a correct lock, and seconds from nothing to the first finding."""
    count, rounds = (50, 1) if quick else (300, 5)
    rates = interleave({"locked": lambda: episodes_per_s(LOCKED, count)}, rounds)["locked"]
    finds = interleave(
        {
            "lock unlinked on release": lambda: found_after_s(UNLINKED, two_inside),
            "lost update of a JSON counter": lambda: found_after_s(NAIVE, same_answer),
        },
        rounds,
    )
    median, low, high = spread(rates)
    figures = [
        Figure(
            name=f"race of {RACERS} processes",
            unit="episodes/s",
            value=median,
            low=low,
            high=high,
            aim=f"{LEAST_PER_S:.0f} episodes/s",
            holds=median >= LEAST_PER_S,
        )
    ]
    for name, samples in finds.items():
        median, low, high = spread(samples)
        aim = f"within {SOONEST_S:.0f} s"
        figures.append(
            Figure(name=f"{name}, found", unit="s", value=median, low=low, high=high, aim=aim, holds=high <= SOONEST_S)
        )
    return figures
