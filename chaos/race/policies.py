"""Who goes next: schedule policies, deterministic functions of a seed.

`random walk` takes anyone ready with equal chance. `PCT` (Burckhardt and others, ASPLOS 2010) gives participants
random priorities and lowers the leader's at `depth - 1` random steps, so a bug that needs `depth` orderings is met with
a chance known beforehand. `preemptions` runs each participant until it waits, but for a few random switches.
`Switches` repeats a recorded schedule; it is also the form in which schedules are shrunk: the default is to let the one
who ran go on, so a schedule is the list of steps at which somebody else was taken.
"""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Protocol, final

__all__ = ["Pct", "Policy", "Preemptions", "RandomWalk", "Switches", "follower", "policy_for"]


class Policy(Protocol):
    """Chooses one participant at each step."""

    def choose(self, ready: Sequence[int], last: int | None) -> int:
        """One of `ready` (rising, never empty); `last` is who went before, None at first."""
        ...


@final
class RandomWalk:
    """Anyone, with equal chance."""

    def __init__(self, seed: int | str) -> None:
        self._random = Random(seed)  # noqa: S311 - reproducible on purpose

    def choose(self, ready: Sequence[int], last: int | None) -> int:  # noqa: ARG002 - see `Policy`
        """See `Policy`."""
        return self._random.choice(ready)


@final
class Pct:
    """Random priorities with `depth - 1` random changes within the first `length` steps."""

    def __init__(self, seed: int | str, *, participants: int, depth: int, length: int) -> None:
        random = Random(seed)  # noqa: S311 - reproducible on purpose
        self._priorities = [depth + number for number in range(participants)]
        random.shuffle(self._priorities)
        at = random.sample(range(1, max(length, depth) + 1), depth - 1)
        self._changes = {step: priority for priority, step in enumerate(at)}
        self._step = 0

    def choose(self, ready: Sequence[int], last: int | None) -> int:  # noqa: ARG002 - see `Policy`
        """See `Policy`."""
        self._step += 1
        leader = max(ready, key=self._priority)
        if self._step in self._changes:
            self._priorities[leader] = self._changes[self._step]
            leader = max(ready, key=self._priority)
        return leader

    def _priority(self, number: int) -> int:
        while number >= len(self._priorities):  # a thread or a child that came later
            self._priorities.append(-len(self._priorities))
        return self._priorities[number]


@final
class Preemptions:
    """Whoever ran goes on, but for `count` switches at random among the first `length` steps."""

    def __init__(self, seed: int | str, *, count: int, length: int) -> None:
        self._random = Random(seed)  # noqa: S311 - reproducible on purpose
        self._at = set(self._random.sample(range(1, max(length, count) + 1), count))
        self._step = 0

    def choose(self, ready: Sequence[int], last: int | None) -> int:
        """See `Policy`."""
        self._step += 1
        others = [number for number in ready if number != last]
        if last is not None and last in ready and (self._step not in self._at or not others):
            return last
        return self._random.choice(others)


@final
class Switches:
    """A schedule given as the steps at which somebody else goes on, and who.

    A switch to someone who is not ready is passed over; who waits is followed by the next in number.
    """

    def __init__(self, switches: Mapping[int, int]) -> None:
        self._switches = switches
        self._step = -1

    def choose(self, ready: Sequence[int], last: int | None) -> int:
        """See `Policy`."""
        self._step += 1
        wanted = self._switches.get(self._step)
        if wanted is not None and wanted in ready:
            return wanted
        return follower(ready, last)


def follower(ready: Sequence[int], last: int | None) -> int:
    """Who goes on by default."""
    if last is None:
        return ready[0]
    return last if last in ready else next((number for number in ready if number > last), ready[0])


def policy_for(seed: int, number: int, *, participants: int, length: int) -> Policy:
    """The policy of one episode: all families in turn, each with its own draw.

    Args:
        seed: of the run.
        number: of the episode, from 0.
        participants: how many race at first.
        length: how many steps an episode takes, about.
    """
    draw = f"{seed} {number}"
    family = number % 4
    if family == 0:
        return RandomWalk(draw)
    if family == 1:
        return Preemptions(draw, count=1 + number // 4 % 3, length=length)
    return Pct(draw, participants=participants, depth=family, length=length)
