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

__all__ = ["Impatient", "Pct", "Policy", "Preemptions", "RandomWalk", "Switches", "follower", "in_turn", "policy_for"]


class Policy(Protocol):
    """Chooses one participant at each step."""

    def choose(self, step: int, ready: Sequence[int], last: int, early: Sequence[int] = ()) -> int:
        """One of `ready`, which is rising and never empty, or of `early`.

        Args:
            step: from 0; asked again at the same step when the one chosen could not move.
            ready: who can be chosen.
            last: who went before, -1 at first.
            early: who sleeps, and may be woken all the same.
        """
        ...


@final
class RandomWalk:
    """Anyone, with equal chance."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)  # noqa: S311 - reproducible on purpose

    def choose(self, step: int, ready: Sequence[int], last: int, early: Sequence[int] = ()) -> int:  # noqa: ARG002
        """See `Policy`."""
        return self._random.choice(ready)


@final
class Pct:
    """Random priorities with `depth - 1` random changes within the first `length` steps."""

    def __init__(self, seed: str, *, participants: int, depth: int, length: int) -> None:
        random = Random(seed)  # noqa: S311 - reproducible on purpose
        priorities = [depth + number for number in range(participants)]
        random.shuffle(priorities)
        self._priorities = priorities
        at = random.sample(range(max(length, depth)), depth - 1)
        self._changes = {step: priority for priority, step in enumerate(at)}

    def choose(self, step: int, ready: Sequence[int], last: int, early: Sequence[int] = ()) -> int:  # noqa: ARG002
        """See `Policy`."""
        leader = max(ready, key=self._priority)
        if step in self._changes:
            self._priorities[leader % len(self._priorities)] = self._changes.pop(step)
            leader = max(ready, key=self._priority)
        return leader

    def _priority(self, number: int) -> tuple[int, int]:
        return self._priorities[number % len(self._priorities)], -number  # a child has that of its racer


@final
class Preemptions:
    """Whoever ran goes on, but for `count` switches at random among the first `length` steps."""

    def __init__(self, seed: str, *, participants: int, count: int, length: int) -> None:
        self._racers = participants
        self._random = Random(seed)  # noqa: S311 - reproducible on purpose
        self._at = set(self._random.sample(range(max(length, count)), count))

    def choose(self, step: int, ready: Sequence[int], last: int, early: Sequence[int] = ()) -> int:  # noqa: ARG002
        """See `Policy`."""
        default = follower(ready, last, self._racers)
        others = [number for number in ready if number % self._racers != last % self._racers]
        if step == 0 or (step in self._at and others):
            return self._random.choice(others or ready)
        return default


@final
class Impatient:
    """As another policy, to which sleepers are as ready as others: as if those were stopped while they slept."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def choose(self, step: int, ready: Sequence[int], last: int, early: Sequence[int] = ()) -> int:
        """See `Policy`."""
        return self._policy.choose(step, sorted((*ready, *early)), last)


@final
class Switches:
    """A schedule given as the steps at which somebody else goes on, and who.

    A switch to someone who is not ready is passed over; who waits is followed by the next in number.
    """

    def __init__(self, switches: Mapping[int, int], *, participants: int) -> None:
        self._switches, self._racers = switches, participants

    def choose(self, step: int, ready: Sequence[int], last: int, early: Sequence[int] = ()) -> int:
        """See `Policy`."""
        wanted = self._switches.get(step, -1)
        return wanted if wanted in ready or wanted in early else follower(ready, last, self._racers)


def follower(ready: Sequence[int], last: int, racers: int) -> int:
    """Who goes on by default: whoever ran, else another process of the same racer, else the next racer."""
    if last < 0:
        return ready[0]
    return min(ready, key=lambda number: ((number - last) % racers, number != last, number))


def in_turn(ready: Sequence[int], last: int) -> int:
    """The next in number, round about."""
    return next((number for number in ready if number > last), ready[0])


def policy_for(seed: int, number: int, *, participants: int, length: int) -> Policy:
    """The policy of one episode: all families in turn, each with its own draw, half of the time impatient.

    Args:
        seed: of the run.
        number: of the episode, from 0.
        participants: how many race at first.
        length: how many steps an episode takes, about.
    """
    draw = f"{seed} {number}"
    policy = _drawn(number, draw, participants, length)
    return Impatient(policy) if number // 4 % 2 else policy


def _drawn(number: int, draw: str, participants: int, length: int) -> Policy:
    family = number % 4
    if family == 0:
        return RandomWalk(draw)
    if family == 1:
        return Preemptions(draw, participants=participants, count=1 + number // 4 % 3, length=length)
    return Pct(draw, participants=participants, depth=family, length=length)
