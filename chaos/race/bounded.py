"""All schedules with no switch, then all with one, then all with two: systematic, where policies draw by chance.

Each played episode tells who could have gone instead at each step after its last switch; each such choice is a schedule
of the next level. No order comes twice. When a level has no next one, every order there is has been played. Read
`exploring.py` for who plays them.
"""

from collections.abc import Generator
from typing import final

from chaos.race.episode import Episode
from chaos.race.moves import Form

__all__ = ["Bounded"]

_MOST = 20_000  # schedules kept for the next level: some megabytes


@final
class Bounded:
    """The schedules of one race.

    Attributes:
        switches: every order with at most so many switches was played; -1 when not even those without.
        exhausted: every order there is was played.
    """

    def __init__(self, racers: int) -> None:
        self._racers = racers
        self._whole = True  # nothing was left out on the way
        self.switches = -1
        self.exhausted = False

    def schedules(self) -> Generator[dict[int, int], Episode, None]:
        """The schedules; send in the episode that each gave. Who begins is free, and no switch."""
        level, is_cut = [{0: racer} for racer in range(self._racers)], False
        while level:
            following: list[dict[int, int]] = []
            for schedule in level:
                episode = yield schedule
                self._whole = self._whole and _is_all_chosen(episode)
                following += ({**schedule, step: other} for step, other in _others(episode, after=max(schedule)))
                is_cut = is_cut or len(following) > _MOST
                del following[_MOST:]
            self.switches += 1
            if is_cut:
                return
            level = following
        self.exhausted = self._whole


def _others(episode: Episode, *, after: int) -> list[tuple[int, int]]:
    """At which steps who else could have gone."""
    chosen = enumerate(zip(episode.steps[: episode.free], episode.ready, strict=False))
    return [
        (number, other)
        for number, (step, ready) in chosen
        if number > after
        for other in ready
        if other != step.participant
    ]


def _is_all_chosen(episode: Episode) -> bool:
    """Whether every step could be chosen freely: after a sleep others go first, and a long tail goes in turn."""
    return episode.free == len(episode.steps) and all(
        step.move.form not in (Form.SLEEP, Form.WAIT) for step in episode.steps
    )
