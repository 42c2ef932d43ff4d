"""The search: one episode after the other, by turns in an order drawn from the seed and in the next one of all.

Deterministic: the same seed gives the same episodes. The digest of all that happened shows it; in it a file counts by
when its name first appears, so temporary files with random names do not matter. Read `bounded.py` for the systematic
half, `shrinking.py` next.
"""

from collections.abc import Generator, Iterator
from hashlib import blake2b
from typing import final

from chaos.race.bounded import Bounded
from chaos.race.episode import Episode, Step
from chaos.race.policies import Policy, Switches, policy_for
from chaos.race.stage import Played, Stage

__all__ = ["Search"]

_LENGTH = 50  # steps, until an episode has told


@final
class Search:
    """Plays episodes.

    Attributes:
        episodes: how many were played.
        steps: how many calls they were held at.
    """

    def __init__(self, stage: Stage, *, seed: int, participants: int) -> None:
        self._stage, self._seed, self._participants = stage, seed, participants
        self._digest = blake2b(digest_size=8)
        self._orders: set[bytes] = set()
        self._bounded = Bounded(participants)
        self.episodes = self.steps = 0

    def __iter__(self) -> Iterator[Played]:
        """Without end, but for a race so small that every order of it has been played."""
        length, bounded = _LENGTH, self._bounded.schedules()
        schedule: dict[int, int] | None = next(bounded)
        while True:
            systematic = schedule is not None and self.episodes % 2 == 1
            played = self._stage.play(self._policy(schedule if systematic else None, length))
            self._count(played)
            length = max(2, len(played.episode.steps))
            if systematic:
                schedule = _next(bounded, played)
            yield played
            if self._bounded.exhausted:
                return

    def _policy(self, schedule: dict[int, int] | None, length: int) -> Policy:
        if schedule is not None:
            return Switches(schedule, participants=self._participants)
        return policy_for(self._seed, self.episodes // 2, participants=self._participants, length=length)

    def _count(self, played: Played) -> None:
        text = "\n".join([*_lines(played.episode.steps), *(outcome.value for outcome in played.outcomes)])
        history = text.encode("utf-8", "surrogatepass")
        self._digest.update(history)
        self._orders.add(blake2b(history, digest_size=8).digest())
        self.episodes += 1
        self.steps += len(played.episode.steps)

    @property
    def exhausted(self) -> bool:
        """Whether every order there is has been played."""
        return self._bounded.exhausted

    @property
    def switches(self) -> int:
        """Every order with at most so many switches has been played; -1 when not even those without."""
        return self._bounded.switches

    @property
    def digest(self) -> str:
        """Of everything that happened so far."""
        return self._digest.hexdigest()

    @property
    def different(self) -> int:
        """How many different episodes there were."""
        return len(self._orders)


def _next(bounded: Generator[dict[int, int], Episode, None], played: Played) -> dict[int, int] | None:
    try:
        return bounded.send(played.episode)
    except StopIteration:
        return None


def _lines(steps: list[Step]) -> Iterator[str]:
    names: dict[str, int] = {}
    for step in steps:
        move = step.move
        text = move.text if move.call == "say" else str(names.setdefault(move.text, len(names)))
        yield f"{step.participant} {move.call} {names.setdefault(move.path, len(names))} {text}"
