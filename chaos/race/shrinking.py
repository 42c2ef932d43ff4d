"""The fewest switches that still go wrong: a schedule is cut down until no switch can be left out.

A schedule is a map from step to participant over the default that whoever ran goes on (`policies.Switches`). Leaving a
switch out changes everything after it, so each attempt is played. Deterministic. Read `exploring.py` next.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from chaos.race.episode import Episode
from chaos.race.policies import follower
from chaos.race.stage import Played

__all__ = ["shrunk", "switches_of"]

_Told = TypeVar("_Told")


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
    switches: Mapping[int, int], play: Callable[[Mapping[int, int]], tuple[Played, _Told] | None]
) -> tuple[dict[int, int], tuple[Played, _Told]]:
    """The smallest schedule found.

    Args:
        switches: one that goes wrong.
        play: plays a schedule; what happened and what is to be said of it when it goes wrong in the same way, else
            None.

    Raises:
        ValueError: the schedule does not go wrong when it is played again.
    """
    best = dict(switches)
    outcome = play(best)
    if outcome is None:
        raise ValueError("the schedule does not go wrong when it is played again")
    size = len(best)
    while size:
        steps = sorted(best)
        for start in range(0, len(steps), size):
            fewer = {step: who for step, who in best.items() if step not in steps[start : start + size]}
            again = play(fewer)
            if again is not None:
                # What was really switched, which may be less: some of what is left may have come to nothing.
                best, outcome = switches_of(again[0].episode), again
                break
        else:
            size //= 2
            continue
        size = min(size, len(best))
    return best, outcome
