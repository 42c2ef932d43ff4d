"""The oracle `no_lost_update`: what is there in the end adds up to what was acknowledged. Pure.

An update is a call `add` of a history (`witness.call("add", 1)`), of some key or of none. What is there in the end is
what the user's check returns: a number, or a number for each key. Updates whose answer nobody knows may count or not.
And an update that answers with the new value must not get the same answer as another one that added to the same value.
Read `linearizable/` for the oracle that needs more of a history and tells more.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from chaos.history import Answer as Said
from chaos.history import Operation

__all__ = ["lost_update"]


def lost_update(history: Iterable[Operation], final: Any, *, initial: Any = 0) -> str:
    """What was lost, in words; "" when all is there.

    Args:
        history: the calls; others than `add` do not count.
        final: what is there in the end: a number, a mapping from keys to numbers, or None when nobody looked.
        initial: what was there at first, likewise.

    Raises:
        TypeError: `final` or an argument is no number.
    """
    updates = [operation for operation in history if operation.name == "add" and operation.answer is not Said.FAIL]
    for key in dict.fromkeys(operation.key for operation in updates):
        own = [operation for operation in updates if operation.key == key]
        told = _same_answer(own) or ("" if final is None else _missing(own, _of(final, key), _of(initial, key)))
        if told:
            return told if key is None else f"{told} (key {key!r})"
    return ""


def _same_answer(updates: list[Operation]) -> str:
    answers = [operation.result for operation in updates if operation.answer is Said.OK]
    if not all(isinstance(answer, int) for answer in answers) or any(operation.argument <= 0 for operation in updates):
        return ""
    answer, times = Counter(answers).most_common(1)[0] if answers else (None, 0)
    return f"{times} updates were answered with the same new value {answer}: one of them is lost" if times > 1 else ""


def _missing(updates: list[Operation], final: Any, initial: Any) -> str:
    sure = sum(operation.argument for operation in updates if operation.answer is Said.OK)
    doubtful = [operation.argument for operation in updates if operation.answer is Said.UNKNOWN]
    least = initial + sure + sum(min(0, amount) for amount in doubtful)
    most = initial + sure + sum(max(0, amount) for amount in doubtful)
    if least <= final <= most:
        return ""
    legal = f"{least}" if least == most else f"{least} to {most}"
    times = sum(operation.answer is Said.OK for operation in updates)
    return f"it is {final} in the end, and {times} acknowledged updates make it {legal}"


def _of(numbers: Any, key: Any) -> Any:
    if not isinstance(numbers, Mapping):
        return numbers
    return numbers.get(key, 0)
