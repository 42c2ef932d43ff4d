"""Which messages say the same: groups of equal and of nearly equal wordings, bounded in number.

Likeness is counted, not learned: the share of pairs of words that two messages have in common. An index from
each pair to the group that used it last finds the likeliest group without comparing with all of them, so the cost of
a message grows with its own length alone. A group follows its newest message, so that slow drift stays one group.

A group also keeps the *measures* of its messages (see `wording.py`) and tells when one of them reached a value that
was never reached before: that is how a repeated message that advances is told from one that stands still.
Read `repetition.py` for what is counted of groups.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, final

from pytest_guardrails.reliability.loops.wording import Role, Wording

__all__ = ["Likeness", "Match"]

_LEAST_WORDS = 6  # below, one changed word is another message
_ALIKE = 0.45  # one changed word in seven, two in twelve; one in six or three in twelve are another message


@final
class Match(NamedTuple):
    """What is known of a message.

    Attributes:
        group: number of its group; never used twice.
        new: it is like no message that is remembered.
        exact: it equals the group's last message, variable parts aside.
        advanced: one of its measures reached a new best.
        moved: any of its numbers differs from the last time.
    """

    group: int
    new: bool
    exact: bool
    advanced: bool
    moved: bool


@final
class _Group:
    __slots__ = ("best", "last", "number", "pairs", "roles", "steady", "words")

    def __init__(self, number: int, wording: Wording, pairs: frozenset[object]) -> None:
        self.number = number
        self.words = wording.words
        self.pairs = pairs
        self.roles = wording.roles
        self.last = self.best = wording.measures
        self.steady = (0,) * len(wording.measures)  # which way a plain number went so far; 2: both ways


@final
class Likeness:
    """The groups of one detector.

    Args:
        capacity: how many groups are kept, the most recently used.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._groups: OrderedDict[int, _Group] = OrderedDict()
        self._by_words: dict[tuple[str, ...], int] = {}
        self._owners: dict[object, int] = {}  # the group that used a pair last, while it has it
        self._next = 1

    def match(self, wording: Wording, *, failing: bool) -> Match:
        """Put a message into its group, a new one if it is like no other.

        Args:
            wording: the message.
            failing: it reports a failure, so that only measures with an end are progress.
        """
        number = self._by_words.get(wording.words)
        if number is not None:
            self._groups.move_to_end(number)
            return Match(number, False, True, *_measure(self._groups[number], wording, failing=failing, exact=True))
        pairs = frozenset(_pairs(wording.words))
        number = self._nearest(pairs)
        if number is None:
            return Match(self._found(wording, pairs), True, True, False, False)
        group = self._groups[number]
        self._groups.move_to_end(number)
        self._by_words.pop(group.words, None)
        self._disown(group, group.pairs - pairs)
        group.words, group.pairs = wording.words, pairs
        self._index(group)
        return Match(number, False, False, *_measure(group, wording, failing=failing, exact=False))

    def plain(self) -> dict[str, Any]:
        """All groups as JSON knows them, least recently used first."""
        return {"next": self._next, "groups": [self._plain_group(group) for group in self._groups.values()]}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """The inverse of `plain`."""
        self._groups.clear()
        self._by_words.clear()
        self._owners.clear()
        for number, words, roles, last, best, steady, lost in plain["groups"]:
            wording = Wording(tuple(words.split()), tuple(Role(role) for role in roles), tuple(last))
            pairs = _pairs(wording.words)
            group = self._groups[number] = _Group(number, wording, frozenset(pairs))
            group.best, group.steady = tuple(best), tuple(steady)
            self._by_words[group.words] = number
            self._owners.update((pair, number) for index, pair in enumerate(pairs) if index not in lost)
        self._next = plain["next"]

    def _plain_group(self, group: _Group) -> list[Any]:
        lost = [i for i, pair in enumerate(_pairs(group.words)) if self._owners.get(pair) != group.number]
        words = " ".join(group.words)
        return [group.number, words, list(group.roles), list(group.last), list(group.best), list(group.steady), lost]

    def _found(self, wording: Wording, pairs: frozenset[object]) -> int:
        group = _Group(self._next, wording, pairs)
        self._next += 1
        self._groups[group.number] = group
        self._index(group)
        if len(self._groups) > self._capacity:
            _, oldest = self._groups.popitem(last=False)
            self._by_words.pop(oldest.words, None)
            self._disown(oldest, oldest.pairs)
        return group.number

    def _index(self, group: _Group) -> None:
        self._by_words[group.words] = group.number
        self._owners.update(dict.fromkeys(group.pairs, group.number))

    def _disown(self, group: _Group, pairs: Iterable[object]) -> None:
        for pair in pairs:
            if self._owners.get(pair) == group.number:
                del self._owners[pair]

    def _nearest(self, pairs: frozenset[object]) -> int | None:
        """The group that shares the most pairs, the newest of several, if it is alike."""
        votes: dict[int, int] = {}
        best = most = 0
        for pair in pairs:
            owner = self._owners.get(pair)
            if owner is not None:
                count = votes[owner] = votes.get(owner, 0) + 1
                if count > most or (count == most and owner > best):
                    most, best = count, owner
        if not best:
            return None
        others = self._groups[best].pairs
        common = len(pairs & others)
        return best if common >= _ALIKE * (len(pairs) + len(others) - common) else None


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    """Neighbouring words; of a short message none, so that it is like no other."""
    return list(pairwise(words)) if len(words) >= _LEAST_WORDS else []


def _measure(group: _Group, wording: Wording, *, failing: bool, exact: bool) -> tuple[bool, bool]:
    """Whether a measure advanced and whether any number moved; keeps what was reached.

    A number without an end, or that nothing near it explains, counts only where all other words are the same.
    """
    endless = exact and not failing
    new = wording.measures
    if wording.roles != group.roles:
        group.roles, group.last, group.best = wording.roles, new, new
        group.steady = (0,) * len(new)
        return False, True
    if new == group.last:
        return False, False
    old, best, steady = group.last, list(group.best), list(group.steady)
    advanced = False
    for index, role in enumerate(group.roles):
        way = (new[index] > old[index]) - (new[index] < old[index])
        if role is Role.PLAIN:
            if way:
                steady[index] = way if steady[index] in (0, way) else 2
            advanced |= bool(way) and steady[index] != 2 and exact and (way < 0 or endless)
        elif role is Role.FALLING:
            advanced |= new[index] < best[index]
            best[index] = min(best[index], new[index])
        else:
            advanced |= new[index] > best[index] and (role is Role.BOUNDED or endless)
            best[index] = max(best[index], new[index])
    group.last, group.best, group.steady = new, tuple(best), tuple(steady)
    return advanced, True
