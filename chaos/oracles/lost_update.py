"""The oracle `no_lost_update`: what is there in the end adds up to what was acknowledged. Pure.

An update is a call `add` of a history (`witness.call("add", 1)`), of some key or of none. What is there in the end is
what the user's check returns: a number, or a number for each key. Updates whose answer nobody knows may count or not.
And an update that answers with the new value must not get the same answer as another one that added to the same value.
Read `linearizable/` for the oracle that needs more of a history and tells more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, final

from chaos.history import Answer as Said
from chaos.history import Operation
from chaos.observations import Damage

__all__ = ["Miscount", "lost_update"]


@final
class Miscount(NamedTuple):
    """What does not add up, in words, and what that is: lost, or, where there is too much of it, silently wrong."""

    words: str
    damage: Damage = Damage.LOST


def lost_update(history: Iterable[Operation], there: Any, *, initial: Any = 0) -> Miscount | None:
    """What was lost, or counted without an update; None when all is there, once.

    Args:
        history: the calls; others than `add` do not count.
        there: what is there in the end: a number, a mapping from keys to numbers, or None when nobody looked.
        initial: what was there at first, likewise.

    Raises:
        TypeError: `there` or an argument is no number.
    """
    updates = [operation for operation in history if operation.name == "add" and operation.answer is not Said.FAIL]
    for key in dict.fromkeys(operation.key for operation in updates):
        own = [operation for operation in updates if operation.key == key]
        found = _same_answer(own) or (None if there is None else _missing(own, _of(there, key), _of(initial, key)))
        if found:
            return found if key is None else found._replace(words=f"{found.words} (key {key!r})")
    return None


def _same_answer(updates: list[Operation]) -> Miscount | None:
    answers = [operation.result for operation in updates if operation.answer is Said.OK]
    if not all(isinstance(answer, int) for answer in answers) or any(operation.argument <= 0 for operation in updates):
        return None
    answer, times = Counter(answers).most_common(1)[0] if answers else (None, 0)
    if times < 2:
        return None
    return Miscount(f"{times} updates were answered with the same new value {answer}: one of them is lost")


def _missing(updates: list[Operation], there: Any, initial: Any) -> Miscount | None:
    sure = sum(operation.argument for operation in updates if operation.answer is Said.OK)
    doubtful = [operation.argument for operation in updates if operation.answer is Said.UNKNOWN]
    least = initial + sure + sum(min(0, amount) for amount in doubtful)
    most = initial + sure + sum(max(0, amount) for amount in doubtful)
    if least <= there <= most:
        return None
    legal = f"{least}" if least == most else f"{least} to {most}"
    times = sum(operation.answer is Said.OK for operation in updates)
    words = f"it is {there} in the end, and {times} acknowledged updates make it {legal}"
    return Miscount(f"{words}: some count more than once", Damage.SILENT) if there > most else Miscount(words)


def _of(numbers: Any, key: Any) -> Any:
    if not isinstance(numbers, Mapping):
        return numbers
    return numbers.get(key, 0)
