"""What one thing does when it is asked one question at a time: the models that histories are held against.

A model is data and one pure function: `step(state, operation)` gives the state afterwards, or `ILLEGAL` when the thing
could not have answered so in that state. A result that nobody knows (`Answer.UNKNOWN`) is legal whatever it is.
States are hashable. A user's own model is another `Model`.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

from chaos.errors import UsageError
from chaos.history import Answer, Operation
from chaos.oracles.linearizable.frozen import frozen
from chaos.oracles.linearizable.queues import Sign, in_the_order_of_items, sign_of_no_queue

__all__ = [
    "COUNTER",
    "ILLEGAL",
    "MAP",
    "MODELS",
    "QUEUE",
    "REGISTER",
    "SET",
    "Illegal",
    "Model",
    "Step",
    "model_named",
]


@final
class Illegal:
    """The type of `ILLEGAL`."""


ILLEGAL: Final = Illegal()
Step = Callable[[Any, Operation], Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One kind of thing.

    Attributes:
        name: for people.
        initial: its first state.
        step: see the module.
        names: the operations there are.
        reads: those of them that never change the state: with an unknown answer they say nothing.
        idles: whether an answered operation changes nothing in any state that it is legal in.
        initial_of: the first state from what the user gives.
        sign_of: what, without any search, tells that a history is none of this thing's; see `queues.py`.
        preferred: in which order operations that may come next are best tried: numbers, the least one first; a guess
            that is wrong costs time, and nothing else.
    """

    name: str
    initial: Hashable
    step: Step
    names: frozenset[str]
    reads: frozenset[str] = frozenset()
    idles: Callable[[Operation], bool] = lambda _: False
    initial_of: Callable[[Any], Hashable] = frozen
    sign_of: Callable[[Sequence[Operation], Any], Sign | None] | None = None
    preferred: Callable[[Sequence[Operation]], Sequence[float]] | None = None


def model_named(name: str) -> Model:
    """One of `MODELS`.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in MODELS:
        raise UsageError(f"there is no model {name!r}", f"known are: {', '.join(MODELS)}")
    return MODELS[name]


def _answered(operation: Operation, value: Hashable) -> bool:
    return operation.answer is not Answer.OK or frozen(operation.result) == value


def _register(state: Hashable, operation: Operation) -> Any:
    if operation.name == "read":
        return state if _answered(operation, state) else ILLEGAL
    if operation.name == "write":
        return frozen(operation.argument)
    expected, new = map(frozen, operation.argument)  # cas answers whether it took effect
    if state == expected:
        return new if _answered(operation, frozen(True)) else ILLEGAL
    return state if _answered(operation, frozen(False)) else ILLEGAL


def _counter(state: int, operation: Operation) -> Any:
    if operation.name == "read":
        return state if _answered(operation, state) else ILLEGAL
    after = state + operation.argument
    return after if operation.result is None or _answered(operation, after) else ILLEGAL


def _set(state: frozenset[Hashable], operation: Operation) -> Any:
    if operation.name == "read":
        return (
            state if operation.answer is not Answer.OK or state == frozenset(map(frozen, operation.result)) else ILLEGAL
        )
    element = frozen(operation.argument)
    if operation.name == "contains":
        return state if _answered(operation, frozen(element in state)) else ILLEGAL
    return state | {element} if operation.name == "add" else state - {element}


def _queue(state: tuple[Hashable, ...], operation: Operation) -> Any:
    if operation.name == "enqueue":
        return (*state, frozen(operation.argument))
    if not state:  # None: it was empty
        return state if _answered(operation, None) else ILLEGAL
    return state[1:] if _answered(operation, state[0]) else ILLEGAL


def _map(state: Hashable, operation: Operation) -> Any:
    """One key's value; absent is None. `append` joins texts, as an absent one begins with the empty text."""
    if operation.name == "get":
        return state if _answered(operation, state) else ILLEGAL
    if operation.name == "put":
        return frozen(operation.argument)
    if operation.name == "append":
        return ("" if state is None else str(state)) + str(operation.argument)
    return None


REGISTER: Final = Model(
    name="register",
    initial=None,
    step=_register,
    names=frozenset({"read", "write", "cas"}),
    reads=frozenset({"read"}),
    idles=lambda operation: operation.name == "cas" and operation.result is False,
)
COUNTER: Final = Model(
    name="counter",
    initial=0,
    step=_counter,
    names=frozenset({"read", "add"}),
    reads=frozenset({"read"}),
)
SET: Final = Model(
    name="set",
    initial=frozenset(),
    step=_set,
    names=frozenset({"read", "contains", "add", "remove"}),
    reads=frozenset({"read", "contains"}),
    initial_of=lambda given: frozenset(map(frozen, given)),
)
QUEUE: Final = Model(
    name="queue",
    initial=(),
    step=_queue,
    names=frozenset({"enqueue", "dequeue"}),
    idles=lambda operation: operation.name == "dequeue" and operation.result is None,
    initial_of=lambda given: tuple(map(frozen, given)),
    sign_of=sign_of_no_queue,
    preferred=in_the_order_of_items,
)
MAP: Final = Model(
    name="map",
    initial=None,
    step=_map,
    names=frozenset({"get", "put", "append", "delete"}),
    reads=frozenset({"get"}),
)
MODELS: Final = {model.name: model for model in (REGISTER, COUNTER, SET, QUEUE, MAP)}
