"""The fixture `loop_guard` at work: it is told what each round of a loop brought, and fails one that gets nowhere.

Read `guards.py` for the fixture, `chaos/oracles/repetition.py` for what counts as the same.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import ParamSpec, TypeVar, final

import pytest

from chaos.child import values
from chaos.errors import UsageError
from chaos.oracles.repetition import period_of, skeleton

__all__ = ["LoopGuard"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_REPEATS = 3  # as many as an agent may need to see that it was told the same
_ALIKE = 10  # a number that changes may be progress, so texts that differ in numbers have longer
_ROUNDS = 1000
_PERIOD = 8
_SHOWN = 200


@final
class LoopGuard:
    """What the fixture `loop_guard` gives: call it with what each round brought.

    It fails the test with an exception that `except Exception` does not catch, as `pytest.fail` does.

    Attributes:
        count: how many rounds there were.
    """

    def __init__(self) -> None:
        self.count = 0
        self._repeats, self._alike, self._rounds, self._period = _REPEATS, _ALIKE, _ROUNDS, _PERIOD
        self._texts: deque[str] = deque()
        self._skeletons: deque[str] = deque()

    def limits(
        self,
        *,
        repeats: int | None = None,
        alike: int | None = None,
        rounds: int | None = None,
        period: int | None = None,
    ) -> "LoopGuard":
        """Set what is allowed; what is not given stays.

        Args:
            repeats: how many times the same may come in a row, or the same few in turn; 3 at first.
            alike: the same for texts that differ in numbers, dates and ids alone; 10 at first.
            rounds: how many rounds there may be in all; 1000 at first.
            period: the longest cycle that is looked for; 8 at first.

        Returns:
            this guard.
        """
        __tracebackhide__ = True
        given = {"repeats": repeats, "alike": alike, "rounds": rounds, "period": period}
        for name, value in given.items():
            if value is not None and not (type(value) is int and value >= 1):
                raise UsageError(f"loop_guard.limits({name}=...): expected 1 or more, got {value!r}")
            if value is not None:
                setattr(self, f"_{name}", value)
        return self

    def __call__(self, news: _T) -> _T:
        """Tell what a round brought, any plain value; returned as it is."""
        __tracebackhide__ = True
        self.count += 1
        text = news if isinstance(news, str) else values.encode(news)
        self._keep(text)
        self._object(list(self._texts), self._repeats, text, "the same")
        # What is the same is alike as well, so being more patient with the one is being so with the other.
        alike = max(self._alike, self._repeats)
        self._object(list(self._skeletons), alike, text, "the same but for numbers, dates and ids")
        if self.count > self._rounds:
            _fail(
                f"this is round {self.count}, and {self._rounds} are allowed",
                f"the last one brought {text[:_SHOWN]!r}",
                "let the loop stop by itself, or allow more: loop_guard.limits(rounds=...)",
            )
        return news

    def each(self, rounds: Iterable[_T]) -> Iterator[_T]:
        """Iterate, and be told each element."""
        __tracebackhide__ = True
        for one in rounds:
            yield self(one)

    def watch(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """The same function, with each of its answers told."""

        @wraps(function)
        def watched(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            __tracebackhide__ = True
            return self(function(*args, **kwargs))

        return watched

    def _keep(self, text: str) -> None:
        for kept, one, times in (
            (self._texts, text, self._repeats),
            (self._skeletons, skeleton(text), max(self._alike, self._repeats)),
        ):
            kept.append(one)
            while len(kept) > self._period * (times + 1):
                kept.popleft()

    def _object(self, kept: list[str], allowed: int, text: str, what: str) -> None:
        __tracebackhide__ = True
        period = period_of(kept, allowed + 1, longest=self._period)
        if period is None:
            return
        first = self.count - period * (allowed + 1) + 1
        cycle = "" if period == 1 else f", {period} in turn,"
        name = "repeats" if what == "the same" else "alike"
        _fail(
            f"rounds {first} to {self.count} brought {what}{cycle} {allowed + 1} times; {allowed} are allowed",
            f"the last one brought {text[:_SHOWN]!r}",
            f"let the loop stop when it learns nothing new, or allow more: loop_guard.limits({name}=...)",
        )


def _fail(what: str, last: str, hint: str) -> None:
    __tracebackhide__ = True
    pytest.fail(f"loop_guard: {what}\n  {last}\n  next: {hint}")
