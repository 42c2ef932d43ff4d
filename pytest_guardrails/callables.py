"""What users hand over to be called, where nobody would await or iterate over what comes of it.

A coroutine function called like a plain one does nothing at all, and what it gives looks like success: a callback that
never flushed, an alert that was never sent. `plain` refuses it when it is handed over, `finished` what slips through.
"""

import functools
from types import CoroutineType

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.hints import Any, TypeVar

__all__ = ["finished", "plain"]

_Function = TypeVar("_Function")
_Value = TypeVar("_Value")


def plain(function: _Function, what: str) -> _Function:
    """The function, whose call must do its work.

    Args:
        function: a function, a method, or an object that is called like one.
        what: how a message names it.

    Raises:
        ConfigurationError: it can't be called, or calling it makes a coroutine or a generator, and does nothing yet.
    """
    import inspect  # noqa: PLC0415 - a third of what the stack costs to import, for what is handed over seldom

    if not callable(function):
        raise ConfigurationError(f"{what} can't be called: {function!r}")
    body: Any = function
    while isinstance(body, functools.partial):
        body = body.func
    for called in (body, type(body).__call__):
        if inspect.iscoroutinefunction(called):
            raise ConfigurationError(f"{what} is a coroutine function, which nobody awaits here: {_NEXT}")
        if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
            raise ConfigurationError(f"{what} makes a generator, which nobody iterates over here: {function!r}")
    return function


def finished(value: _Value, what: str) -> _Value:
    """What a call gave, which must not be a coroutine.

    Args:
        value: anything.
        what: how a message names what was called.

    Raises:
        ConfigurationError: it is a coroutine, which is closed.
    """
    if isinstance(value, CoroutineType):
        value.close()
        raise ConfigurationError(f"{what} gave a coroutine, which nobody awaits here: {_NEXT}")
    return value


_NEXT = "run it by `asyncio.run`, or hand it to the loop by `asyncio.run_coroutine_threadsafe(...).result()`"
