"""Breakers for Python callables: sync and async, in memory; what is a failure and what is none."""

import asyncio
import concurrent.futures
import functools
import gc
import pickle
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers import Breaker, BreakerSettings, CircuitOpenError, MemoryKeeper, judge_http
from pytest_guardrails.reliability.breakers.guard import retry_after_s
from pytest_guardrails.reliability.breakers.keeping import Ticket
from pytest_guardrails.reliability.breakers.model import Action, Changed, Hold, Release
from pytest_guardrails.reliability.breakers.model import Control as Held
from tests.reliability.clocks import MovedClock


class Made:
    """A breaker, its clock, and what it told."""

    def __init__(self, **settings: float) -> None:
        self.clock = MovedClock()
        self.told: list[Action] = []
        self.keeper = MemoryKeeper(
            "service",
            BreakerSettings(**settings),  # type: ignore[arg-type]
            clock=self.clock,
            listener=lambda _name, actions: self.told.extend(actions),
        )
        self.breaker = Breaker(self.keeper)

    def fail(self, times: int = 3) -> None:
        for _ in range(times):
            with pytest.raises(ValueError, match="no"):
                self.breaker.call(broken)

    def probe(self) -> None:
        self.fail()
        self.clock.monotonic_s += 300.0


def broken() -> None:
    raise ValueError("no")


def test_what_a_call_returns_and_raises_comes_out_unchanged() -> None:
    breaker = Breaker("service")
    error = KeyError("mine")

    @breaker
    def either(*, well: bool) -> str:
        """Documented."""
        if well:
            return "fine"
        raise error

    assert (either(well=True), either.__name__, either.__doc__) == ("fine", "either", "Documented.")
    with pytest.raises(KeyError) as caught:
        either(well=False)
    assert caught.value is error


def test_an_open_breaker_does_not_call() -> None:
    made = Made()
    made.fail()
    with pytest.raises(CircuitOpenError) as caught:
        made.breaker.call(pytest.fail, "it was called")
    assert (caught.value.name, caught.value.reason, caught.value.retry_in_s) == ("service", "open", 300.0)
    assert "ask again in 300.0 s" in str(caught.value)


def test_the_refusal_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(CircuitOpenError("a", "open", 1.5)))
    assert (copy.name, copy.reason, copy.retry_in_s) == ("a", "open", 1.5)


def test_two_good_probes_close_it_and_each_change_is_told_once() -> None:
    made = Made()
    made.probe()
    made.breaker.call(int)
    made.breaker.call(int)
    changes = [(action.old, action.new) for action in made.told if isinstance(action, Changed)]
    assert changes == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_a_success_resets_the_count_of_failures() -> None:
    made = Made()
    for _ in range(5):
        made.fail(2)
        made.breaker.call(int)
    assert made.keeper.circuit.phase == "closed"


@pytest.mark.parametrize(
    "interruption", [KeyboardInterrupt(), SystemExit(1), asyncio.CancelledError(), concurrent.futures.CancelledError()]
)
def test_interruptions_are_no_failures_and_free_a_probe(interruption: BaseException) -> None:
    made = Made(failure_threshold=1)

    def interrupted() -> None:
        raise interruption

    with pytest.raises(type(interruption)):
        made.breaker.call(interrupted)
    assert made.keeper.circuit.phase == "closed"
    made.fail(1)
    made.clock.monotonic_s += 300.0
    with pytest.raises(type(interruption)):
        made.breaker.call(interrupted)
    assert (made.keeper.circuit.phase, made.keeper.circuit.permits) == ("half_open", ())


def test_ignored_exceptions_show_that_the_service_answers() -> None:
    made = Made()
    breaker = Breaker(made.keeper, ignore=(ValueError,))
    for _ in range(5):
        with pytest.raises(ValueError, match="no"):
            breaker.call(broken)
    assert made.keeper.circuit.phase == "closed"


def test_a_block_is_guarded_like_a_call() -> None:
    made = Made(failure_threshold=1)
    with pytest.raises(ValueError, match="no"), made.breaker.guarded():
        broken()
    with pytest.raises(CircuitOpenError), made.breaker.guarded():
        pytest.fail("it was entered")


def test_a_block_that_was_refused_tells_nothing() -> None:
    made = Made(failure_threshold=1)
    made.fail(1)
    with pytest.raises(CircuitOpenError), made.breaker.guarded():
        pytest.fail("it was entered")
    assert made.keeper.circuit.phase == "open"


def test_generators_are_refused_since_calling_them_does_nothing() -> None:
    def generator() -> Iterator[int]:
        yield 1

    with pytest.raises(ConfigurationError, match="generator"):
        Breaker("service")(generator)


@pytest.mark.parametrize("nothing", [5, property(len), "name"])
def test_what_can_not_be_called_is_refused_at_once(nothing: object) -> None:
    with pytest.raises(ConfigurationError, match="can't be called"):
        Breaker("service")(nothing)  # type: ignore[arg-type]


def test_an_operator_is_heard_in_memory_too() -> None:
    made = Made()
    made.keeper.apply(Hold(Held("isolated", "alice", "maintenance")))
    with pytest.raises(CircuitOpenError, match="isolated"):
        made.breaker.call(int)
    made.keeper.apply(Release())
    assert isinstance(made.keeper.ask(), tuple)


def test_exactly_one_of_many_threads_is_the_probe() -> None:
    made = Made()
    made.probe()
    start, release = threading.Barrier(20), threading.Event()
    ran, refused = [], []

    def run() -> None:
        ran.append(1)
        release.wait(10.0)

    def ask() -> None:
        start.wait(10.0)
        try:
            made.breaker.call(run)
        except CircuitOpenError:
            refused.append(1)
            if len(refused) == 19:
                release.set()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert (len(ran), len(refused)) == (1, 19)


def test_asking_at_the_very_same_moment_admits_one() -> None:
    """The clock lets the others go first: whoever decided on what it had read before would let several in."""
    made = Made()
    made.probe()
    moved, admitted = made.clock.monotonic, []

    def slow() -> float:
        threading.Event().wait(0.005)
        return moved()

    made.keeper._now_s = slow

    def ask() -> None:
        with suppress(CircuitOpenError):
            admitted.append(made.keeper.ask())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert len(admitted) == 1


def test_no_lock_is_held_during_a_call() -> None:
    """Twenty calls meet inside: were one kept waiting by another, the barrier would break."""
    made = Made()
    inside = threading.Barrier(20)
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(made.breaker.call, inside.wait, 10.0) for _ in range(20)]
        assert sorted(call.result() for call in calls) == list(range(20))


def test_a_late_success_of_an_old_call_closes_nothing() -> None:
    made = Made()
    entered, release = threading.Event(), threading.Event()

    def run() -> None:
        entered.set()
        release.wait(10.0)

    thread = threading.Thread(target=made.breaker.call, args=(run,))
    thread.start()
    assert entered.wait(10.0)
    made.fail()
    release.set()
    thread.join(10.0)
    assert made.keeper.circuit.phase == "open"


@pytest.mark.asyncio
async def test_coroutine_functions_are_guarded() -> None:
    made = Made()

    @made.breaker
    async def fetch(*, well: bool) -> str:
        await asyncio.sleep(0)
        if not well:
            raise ValueError("no")
        return "fine"

    assert await fetch(well=True) == "fine"
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await fetch(well=False)
    with pytest.raises(CircuitOpenError):
        await fetch(well=True)


class Service:
    """Called like a function, but a coroutine function to nobody who only looks at it."""

    async def __call__(self) -> None:
        await asyncio.sleep(0)
        raise ValueError("no")


def asked() -> Awaitable[None]:
    return Service()()


@pytest.mark.asyncio
@pytest.mark.parametrize("function", [Service(), functools.partial(Service()), asked])
@pytest.mark.parametrize("is_decorated", [True, False])
async def test_a_coroutine_is_judged_when_it_was_awaited(function: Callable[[], object], is_decorated: bool) -> None:
    made = Made()
    call = made.breaker(function) if is_decorated else functools.partial(made.breaker.call, function)
    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await call()  # type: ignore[misc]
    with pytest.raises(CircuitOpenError):
        await call()  # type: ignore[misc]
    made.clock.monotonic_s += 300.0
    waiting: asyncio.Task[object] = asyncio.create_task(call())  # type: ignore[arg-type]
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert made.breaker.call(lambda: "fine") == "fine"  # the probe's permit was given back


@pytest.mark.asyncio
async def test_a_task_that_is_cancelled_while_it_asks_gives_back_the_permit() -> None:
    made = Made()
    made.probe()
    asks, may_go = threading.Event(), threading.Event()

    class Slow(SimpleNamespace):
        def ask(self) -> Ticket:
            ticket = made.keeper.ask()
            asks.set()
            may_go.wait()
            return ticket

    slow = Slow(
        name="slow", resting=None, blocks=True, shut_for_s=made.keeper.shut_for_s, abandoned=made.keeper.abandoned
    )
    waiting = asyncio.create_task(Breaker(slow).call_async(Service()))
    await asyncio.to_thread(asks.wait)
    try:
        for _ in range(3):
            waiting.cancel()
            await asyncio.sleep(0)
        assert not waiting.done()
    finally:
        may_go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert made.breaker.call(lambda: "fine") == "fine"


@pytest.mark.asyncio
async def test_a_cancelled_task_is_no_failure_and_frees_the_probe() -> None:
    made = Made()
    made.probe()
    inside = asyncio.Event()

    async def hang() -> None:
        inside.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(made.breaker.call_async(hang))
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (made.keeper.circuit.phase, made.keeper.circuit.permits) == ("half_open", ())


@pytest.mark.asyncio
async def test_an_async_block_is_guarded() -> None:
    made = Made(failure_threshold=1)
    with pytest.raises(ValueError, match="no"):
        async with made.breaker.guarded():
            broken()
    with pytest.raises(CircuitOpenError):
        async with made.breaker.guarded():
            pytest.fail("it was entered")


def test_a_call_that_succeeds_at_rest_tells_nothing() -> None:
    made = Made()
    made.breaker.call(int)
    assert made.told == []


def answer(status: int, **headers: str) -> SimpleNamespace:
    return SimpleNamespace(status_code=status, headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, None), (301, None), (400, None), (401, None), (404, None), (408, 0.0), (429, 0.0), (500, 0.0), (503, 0.0)],
)
def test_which_answers_are_failures(status: int, verdict: float | None) -> None:
    assert judge_http(answer(status), None) == verdict


def test_errors_are_judged_by_the_answer_they_carry() -> None:
    refused, overloaded = Exception("400"), Exception("503")
    refused.response = answer(400)  # type: ignore[attr-defined]
    overloaded.response = answer(503, retry_after="7")  # type: ignore[attr-defined]
    assert (judge_http(None, refused), judge_http(None, overloaded)) == (None, 7.0)
    assert judge_http(None, TimeoutError()) == judge_http(None, ConnectionRefusedError()) == 0.0


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("30", 30.0),
        ("1e9", 86_400.0),
        ("-5", 0.0),
        ("nan", 0.0),
        ("soon", 0.0),
        ("Tue, 14 Nov 2023 22:13:50 GMT", 30.0),
    ],
)
def test_retry_after_in_seconds_or_as_a_date(text: str, expected_s: float) -> None:
    now = datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)
    assert retry_after_s(answer(503, Retry_After=text), now) == expected_s


def test_bad_answers_open_a_breaker_without_any_exception() -> None:
    made = Made()
    breaker = Breaker(made.keeper, judge=judge_http)
    for _ in range(3):
        breaker.call(answer, 503, retry_after="900")
    with pytest.raises(CircuitOpenError) as caught:
        breaker.call(answer, 200)
    assert caught.value.retry_in_s == 900.0


def test_refusing_waits_for_no_lock_and_leaves_nothing_to_the_garbage_collector() -> None:
    made = Made()
    guarded = made.breaker(raise_value_error)
    for _ in range(3):
        with suppress(ValueError):
            guarded()
    gc.collect()
    with made.keeper._mutex:
        for _ in range(100):
            with suppress(CircuitOpenError):
                guarded()
            with suppress(CircuitOpenError):
                made.breaker.call(int)
    assert gc.collect() == 0


def raise_value_error() -> None:
    raise ValueError
