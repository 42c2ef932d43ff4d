"""`Breaker` for Python callables: as a decorator, around a block, or for one call; plain and async.

    breaker = Breaker("payments")

    @breaker
    def pay(order): ...          # raises CircuitOpenError instead of calling, while the circuit is open

    with breaker.guarded():
        ...                      # the same for a block; `async with` in coroutines

**Guarantees.** No lock is held while the callable runs. What it returns or raises comes out unchanged. Interrupts and
cancellations (`KeyboardInterrupt`, `SystemExit`, `GeneratorExit`, `CancelledError`) are no failures, and give a probe's
permit back. A call is made once at most, whatever becomes of the bookkeeping.
**Does not** retry, or limit how long a call takes.
**Threads and processes.** Any number of threads and tasks; processes share a circuit with a `StoredKeeper`.

Read `keeping.py` for where the circuit lies, `guard.py` for HTTP and LLM calls.
"""

import asyncio
import concurrent.futures
import functools
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import CoroutineType, TracebackType
from typing import Any, ParamSpec, TypeVar, cast, final

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.keeping import CircuitOpenError, Keeper, MemoryKeeper, Ticket
from pytest_guardrails.reliability.breakers.model import BreakerSettings, Circuit

__all__ = ["Breaker", "Guarded", "Judge", "Verdict", "failed_by_exception", "is_interruption"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
Verdict = float | None
Judge = Callable[[object, BaseException | None], Verdict]


def failed_by_exception(_result: object, error: BaseException | None) -> Verdict:
    """The judge of a plain breaker: a call that raised an `Exception` has failed."""
    return 0.0 if isinstance(error, Exception) else None


@final
class Breaker:
    """See the module.

    Args:
        keeper: where the circuit lies, or a name for one in this process.
        settings: how to decide, for a circuit in this process.
        judge: (result, exception or None) -> None if the call did not fail, else for how many seconds the service
            asked to be left alone (0 if it did not ask). Not asked for interrupts and cancellations. Without one
            every `Exception` is a failure, and no result is.
        ignore: exceptions that are no failures; they count as success, since the service answered.

    Raises:
        ConfigurationError: a named breaker's own keeper was given settings as well.
    """

    def __init__(
        self,
        keeper: Keeper | str,
        settings: BreakerSettings | None = None,
        *,
        judge: Judge = failed_by_exception,
        ignore: tuple[type[Exception], ...] = (),
    ) -> None:
        if not isinstance(keeper, str) and settings is not None:
            raise ConfigurationError("the keeper has settings of its own: give them to it")
        self.keeper: Keeper = MemoryKeeper(keeper, settings) if isinstance(keeper, str) else keeper
        self._judge = judge
        self._judges_results = judge is not failed_by_exception
        self._ignore = ignore

    def __call__(self, function: Callable[_P, _R]) -> Callable[_P, _R]:
        """Decorate a function or a coroutine function, or an object that is called like one.

        Raises:
            ConfigurationError: it is a generator function, whose call does nothing yet, or nothing that can be called.
        """
        if not callable(function):
            raise ConfigurationError(f"{function!r} can't be called: decorate the function itself, beneath others")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"{function!r} makes a generator: use `guarded()` around the loop over it")
        if inspect.iscoroutinefunction(function):
            return self._decorated_async(function)
        keeper, call = self.keeper, self.call

        @functools.wraps(function)
        def guarded(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            if keeper.resting is None and (left_s := keeper.shut_for_s()) > 0.0:
                raise CircuitOpenError(keeper.name, "open", left_s)  # as `call` would, a frame earlier: see there
            return call(function, *args, **kwargs)

        return guarded

    def call(self, function: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Call `function`, if the circuit lets it.

        A coroutine that it returns is judged when it has been awaited.

        Raises:
            CircuitOpenError: it was not called.
        """
        keeper = self.keeper
        resting, ticket = keeper.resting, None
        if resting is None:
            # Raised right here, since each frame that an error passes costs as much as all else that refusing takes;
            # and not from a variable, which would make a cycle of error and frame for the garbage collector.
            if (left_s := keeper.shut_for_s()) > 0.0:
                raise CircuitOpenError(keeper.name, "open", left_s)
            ticket = keeper.ask()
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self._tell(ticket or _resting_ticket(resting), None, error)
            raise
        if type(result) is CoroutineType:
            return cast("_R", self._awaited(result, ticket or _resting_ticket(resting)))
        if keeper.resting is not resting or resting is None or self._judges_results:
            self._tell(ticket or _resting_ticket(resting), result, None)
        return result

    async def call_async(self, function: Callable[_P, Awaitable[_R]], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        """Await what `function` returns, if the circuit lets it; see `call`."""
        keeper = self.keeper
        resting, ticket = keeper.resting, None
        if resting is None:
            if (left_s := keeper.shut_for_s()) > 0.0:
                raise CircuitOpenError(keeper.name, "open", left_s)
            ticket = await self._ask_async()
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            await self._tell_async(ticket or _resting_ticket(resting), None, error)
            raise
        if keeper.resting is not resting or resting is None or self._judges_results:
            await self._tell_async(ticket or _resting_ticket(resting), result, None)
        return result

    def guarded(self) -> "Guarded":
        """For `with` and `async with`: a fresh object for each block."""
        return Guarded(self)

    def ask(self) -> Ticket:
        """For shells of your own: let a call in; `tell` must follow.

        Raises:
            CircuitOpenError: it may not begin.
        """
        resting = self.keeper.resting
        if resting is not None:
            return _resting_ticket(resting)
        if (left_s := self.keeper.shut_for_s()) > 0.0:
            raise CircuitOpenError(self.keeper.name, "open", left_s)
        return self.keeper.ask()

    def tell(self, ticket: Ticket, result: object = None, error: BaseException | None = None) -> None:
        """For shells of your own: how a call ended that `ask` let in."""
        self._tell(ticket, result, error)

    async def _awaited(self, coroutine: Any, ticket: Ticket) -> Any:
        try:
            result = await coroutine
        except BaseException as error:
            await self._tell_async(ticket, None, error)
            raise
        await self._tell_async(ticket, result, None)
        return result

    def _decorated_async(self, function: Callable[_P, Any]) -> Callable[_P, Any]:
        keeper, call = self.keeper, self.call_async

        @functools.wraps(function)
        async def guarded(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            if keeper.resting is None and (left_s := keeper.shut_for_s()) > 0.0:
                raise CircuitOpenError(keeper.name, "open", left_s)
            return await call(function, *args, **kwargs)

        return guarded

    def _tell(self, ticket: Ticket, result: object, error: BaseException | None) -> None:
        if error is None and not self._judges_results:
            resting = self.keeper.resting
            if resting is not None and resting.epoch == ticket.epoch:
                return
        if error is not None and is_interruption(error):
            self.keeper.abandoned(ticket)
            return
        verdict = None if isinstance(error, self._ignore) else self._judge(result, error)
        if verdict is None:
            self.keeper.succeeded(ticket)
        else:
            self.keeper.failed(ticket, _described(result, error), verdict)

    async def _ask_async(self) -> Ticket:
        if not self.keeper.blocks:
            return self.ask()
        asking = asyncio.ensure_future(asyncio.to_thread(self.ask))
        try:
            return await _to_its_end(asking)
        except asyncio.CancelledError:
            if asking.exception() is None:  # nobody will use the permit that came too late
                await _to_its_end(asyncio.ensure_future(asyncio.to_thread(self.keeper.abandoned, asking.result())))
            raise

    async def _tell_async(self, ticket: Ticket, result: object, error: BaseException | None) -> None:
        if self.keeper.blocks:
            await _to_its_end(asyncio.ensure_future(asyncio.to_thread(self._tell, ticket, result, error)))
        else:
            self._tell(ticket, result, error)


@final
class Guarded:
    """One guarded block; see `Breaker.guarded`."""

    __slots__ = ("_breaker", "_ticket")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._ticket: Ticket | None = None

    def __enter__(self) -> None:
        self._ticket = self._breaker.ask()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self._breaker.tell(ticket, None, error)

    async def __aenter__(self) -> None:
        self._ticket = await self._breaker._ask_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            await self._breaker._tell_async(ticket, None, error)


def is_interruption(error: BaseException) -> bool:
    """Whether a call was stopped from outside, which says nothing about the service."""
    return not isinstance(error, Exception) or isinstance(error, concurrent.futures.CancelledError)


def _resting_ticket(resting: Circuit | None) -> Ticket:
    assert resting is not None
    return Ticket(resting.epoch)


def _described(result: object, error: BaseException | None) -> str:
    return f"answer {result!r}" if error is None else f"{type(error).__name__}: {error}"


async def _to_its_end(work: asyncio.Future[_R]) -> _R:
    """Wait for it even if the task is cancelled meanwhile, however often: a permit must not get lost."""
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise
