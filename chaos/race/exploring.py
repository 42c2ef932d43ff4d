"""The search: one episode after the other, each in another order drawn from the seed.

Deterministic: the same seed gives the same episodes. The digest of all that happened shows it; in it a file counts by
when its name first appears, so temporary files with random names do not matter. Read `shrinking.py` next.
"""

from collections.abc import Iterator
from hashlib import blake2b
from typing import final

from chaos.race.episode import Step
from chaos.race.policies import policy_for
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
        self.episodes = self.steps = 0

    def __iter__(self) -> Iterator[Played]:
        """Without end."""
        length = _LENGTH
        while True:
            policy = policy_for(self._seed, self.episodes, participants=self._participants, length=length)
            played = self._stage.play(policy)
            self._count(played)
            length = max(2, len(played.episode.steps))
            yield played

    def _count(self, played: Played) -> None:
        text = "\n".join([*_lines(played.episode.steps), *(outcome.value for outcome in played.outcomes)]).encode()
        self._digest.update(text)
        self._orders.add(blake2b(text, digest_size=8).digest())
        self.episodes += 1
        self.steps += len(played.episode.steps)

    @property
    def digest(self) -> str:
        """Of everything that happened so far."""
        return self._digest.hexdigest()

    @property
    def different(self) -> int:
        """How many different episodes there were."""
        return len(self._orders)


def _lines(steps: list[Step]) -> Iterator[str]:
    names: dict[str, int] = {}
    for step in steps:
        move = step.move
        text = move.text if move.call == "say" else str(names.setdefault(move.text, len(names)))
        yield f"{step.participant} {move.call} {names.setdefault(move.path, len(names))} {text}"
