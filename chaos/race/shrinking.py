"""The fewest switches that still go wrong: a schedule is cut down until nothing that is tried makes it smaller.

A schedule is a map from step to participant over the default that whoever ran goes on (`policies.Switches`). Tried are
leaving switches out, many at once and then one by one, and letting a participant do two of its turns in one, earlier or
later. Either changes everything after it, so each attempt is played. Deterministic. Read `exploring.py` next.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from math import inf
from time import monotonic
from typing import TypeVar

from chaos.race.episode import Episode
from chaos.race.policies import follower
from chaos.race.stage import Played

__all__ = ["shrunk", "switches_of"]

_Told = TypeVar("_Told")
_TRIES = 250  # plays for one finding: some seconds


def switches_of(episode: Episode) -> dict[int, int]:
    """The steps of an episode at which somebody other than by default was taken."""
    found: dict[int, int] = {}
    last = -1
    for number, (step, ready) in enumerate(zip(episode.steps[: episode.free], episode.ready, strict=False)):
        if step.participant != follower(ready, last, episode.racers):
            found[number] = step.participant
        last = step.participant
    return found


def shrunk(
    switches: Mapping[int, int],
    play: Callable[[Mapping[int, int]], tuple[Played, _Told] | None],
    *,
    limit_s: float = inf,
) -> tuple[dict[int, int], tuple[Played, _Told]]:
    """The smallest schedule found.

    Args:
        switches: one that goes wrong.
        play: plays a schedule; what happened and what is to be said of it when it goes wrong in the same way, else
            None.
        limit_s: for how long schedules are tried at most, in seconds; what takes that long is not deterministic.

    Raises:
        ValueError: the schedule does not go wrong when it is played again.
    """
    give_up = monotonic() + limit_s
    outcome = play(switches)
    if outcome is None:
        raise ValueError("the schedule does not go wrong when it is played again")
    tries = _TRIES
    best = switches_of(outcome[0].episode)
    candidates = _smaller(best, outcome[0].episode)
    while tries > 0 and monotonic() < give_up and (candidate := next(candidates, None)) is not None:
        tries -= 1
        again = play(candidate)
        fewer = best if again is None else switches_of(again[0].episode)
        if again is not None and len(fewer) < len(best):
            best, outcome = fewer, again
            candidates = _smaller(best, outcome[0].episode)
    return best, outcome


def _smaller(switches: Mapping[int, int], episode: Episode) -> Iterator[dict[int, int]]:
    """Schedules that may be smaller, the boldest first."""
    steps, size = sorted(switches), len(switches)
    while size:
        for start in range(0, len(steps), size):
            left_out = steps[start : start + size]
            yield {step: who for step, who in switches.items() if step not in left_out}
        size //= 2
    turns = [(who, len(list(group))) for who, group in groupby(step.participant for step in episode.steps)]
    for first in range(len(turns)):
        for second in range(first + 1, len(turns)):
            if turns[first][0] == turns[second][0]:
                yield _schedule(_joined(turns, first, second, at=first))
                yield _schedule(_joined(turns, first, second, at=second))
                break


def _joined(turns: list[tuple[int, int]], first: int, second: int, *, at: int) -> list[tuple[int, int]]:
    """The turns with two of one participant made one."""
    whole = (turns[first][0], turns[first][1] + turns[second][1])
    kept = [whole if number == at else turn for number, turn in enumerate(turns)]
    del kept[second if at == first else first]
    return kept


def _schedule(turns: list[tuple[int, int]]) -> dict[int, int]:
    return dict(enumerate(who for who, length in turns for _ in range(length)))
