"""Is a history linearizable, and if not, which few answers refute it?

Each key is judged by itself (a history is linearizable exactly when each key's is). A refutation is made small in
two steps. First its earliest end: the shortest part, up to one answer, that is refuted already. Then other answers are
forgotten, many at once and then fewer, and stay forgotten when the rest is still refuted; an operation whose answer is
forgotten may have happened or not, so what remains is a refutation by itself, whatever the others did.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from chaos.errors import UsageError
from chaos.history import Answer, Operation
from chaos.observations import Verdict
from chaos.oracles.linearizable.models import Model
from chaos.oracles.linearizable.search import GivenUp, NoOrder, order_of

__all__ = ["LIMIT", "Judgement", "linearizable"]

LIMIT = 1_000_000  # configurations a key: some ten seconds, and far more than honest histories need
_SHRINK_LIMIT = 5_000  # for each attempt at a smaller refutation; one that is not decided within stays as it is
_SHRINK_TRIES = 60  # together within a second or two


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What is to be said of a history.

    Attributes:
        verdict: UNKNOWN when the search was given up.
        key: of the refuted or undecided part.
        refutation: the fewest answers found that no order explains, by time of call; empty unless VIOLATED.
        others: how many more operations of that key there were until then; whatever they did explains nothing.
        why: what is to be known beside the answers; mostly nothing.
        order: a legal order for each key; empty unless HOLDS.
    """

    verdict: Verdict
    key: Any = None
    refutation: tuple[Operation, ...] = ()
    others: int = 0
    why: str = ""
    order: tuple[tuple[Any, tuple[Operation, ...]], ...] = ()


def linearizable(history: Iterable[Operation], model: Model, *, initial: Any = None, limit: int = LIMIT) -> Judgement:
    """Judge a history.

    Args:
        history: in any order.
        model: what each key does.
        initial: each key's first value; the model's own when None.
        limit: how many configurations to try for one key.

    Raises:
        UsageError: an operation that the model does not know, or an answer before its call.
    """
    start = model.initial if initial is None else model.initial_of(initial)
    orders: list[tuple[Any, tuple[Operation, ...]]] = []
    undecided: list[Any] = []
    for key, operations in _by_key(history, model).items():
        sign = None if model.sign_of is None else model.sign_of(operations, start)
        if sign is not None:
            others = len(operations) - len(sign.answers)
            name = operations[0].key
            return Judgement(verdict=Verdict.VIOLATED, key=name, refutation=sign.answers, others=others, why=sign.why)
        found = order_of(operations, model, start, limit=limit)
        if isinstance(found, NoOrder):
            fewest, others = _shrunk(_earliest(operations, found.until, model, start), model, start)
            return Judgement(verdict=Verdict.VIOLATED, key=operations[0].key, refutation=fewest, others=others)
        if isinstance(found, GivenUp):
            undecided.append(key)
        else:
            orders.append((operations[0].key, tuple(found)))
    if undecided:
        return Judgement(verdict=Verdict.UNKNOWN, key=undecided[0])
    return Judgement(verdict=Verdict.HOLDS, order=tuple(orders))


def _by_key(history: Iterable[Operation], model: Model) -> dict[str, list[Operation]]:
    parts: dict[str, list[Operation]] = {}
    for operation in history:
        if operation.name not in model.names:
            names = ", ".join(sorted(model.names))
            raise UsageError(f"a {model.name} has no operation {operation.name!r}", f"it has {names}")
        if operation.answer is Answer.OK and (operation.returned is None or operation.returned < operation.called):
            raise UsageError(f"{operation.name} of process {operation.process} was answered before it was called")
        if operation.answer is not Answer.FAIL:
            parts.setdefault(repr(operation.key), []).append(operation)
    return parts


def _shrunk(operations: list[Operation], model: Model, start: Hashable) -> tuple[tuple[Operation, ...], int]:
    kept = _forgotten(operations, model, start)
    known = tuple(sorted((op for op in kept if op.answer is Answer.OK), key=lambda op: op.called))
    return known, len(kept) - len(known)


def _earliest(operations: Sequence[Operation], least: float, model: Model, start: Hashable) -> list[Operation]:
    """The shortest part that is refuted: it ends at `least` or, mostly soon, after it."""
    ends = sorted(op.returned for op in operations if op.returned is not None and op.returned >= least)
    low, high, stride = 0, len(ends) - 1, 1
    while low < high:
        middle = min(low + stride - 1, (low + high) // 2)
        if isinstance(order_of(_until(operations, ends[middle]), model, start, limit=LIMIT), NoOrder):
            high, stride = middle, len(ends)
        else:
            low, stride = middle + 1, 2 * stride
    return _until(operations, ends[low])


def _forgotten(kept: list[Operation], model: Model, start: Hashable) -> list[Operation]:
    """The same operations with as many answers forgotten as were found not to matter [delta debugging, Zeller]."""
    known = [number for number, operation in enumerate(kept) if operation.answer is Answer.OK]
    size, tries = max(1, len(known) - 1), _SHRINK_TRIES
    while size and known:
        for at in range(0, len(known), size):
            attempt = list(kept)
            for number in known[at : at + size]:
                attempt[number] = replace(attempt[number], answer=Answer.UNKNOWN)
            tries -= 1
            if isinstance(order_of(attempt, model, start, limit=_SHRINK_LIMIT), NoOrder):
                kept, known = attempt, known[:at] + known[at + size :]
                break
            if tries <= 0:
                return kept
        else:
            size //= 2
        size = min(size, len(known))
    return kept


def _until(operations: Sequence[Operation], end: float) -> list[Operation]:
    """The history as it was known at a position: later answers are not there yet."""
    return [
        operation if operation.returned is not None and operation.returned <= end else _open(operation)
        for operation in operations
        if operation.called <= end
    ]


def _open(operation: Operation) -> Operation:
    return replace(operation, answer=Answer.UNKNOWN, returned=None)
