"""The stuck detector's cost a step, by window and length of history; an iteration's cost; events into a sink."""

import itertools
import logging
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytest_guardrails.reliability.loops import (
    LoopController,
    MaxIterations,
    Step,
    StepKind,
    StepResult,
    StuckDetector,
    StuckSettings,
)
from pytest_guardrails.reliability.state import open_store
from pytest_guardrails.reliability.telemetry import Draft, Event
from pytest_guardrails.reliability.telemetry.channel import Channel
from pytest_guardrails.reliability.telemetry.sinks import JsonLinesSink
from tests.benchmarks.figures import Figure, interleave, spread

__all__ = ["measure"]

WINDOWS = (10, 100, 1000)
AIM_US = 20.0
GROWTH = 1.5  # from the shortest to the longest history, noise included
WORDS = ("header", "table", "found", "parser", "owner", "mend", "first", "because", "of", "this", "was", "its", "has")


def steps(count: int) -> list[Step]:
    """An agent's day: fresh work, the same failure, answers that differ in a number, a cycle of reading and waiting."""
    chance = random.Random(1)
    found = []
    for number in range(count):
        if number % 4 == 0:
            found.append(Step(kind=StepKind.ERROR, action="pytest -q", feedback=f"{number % 9} failed in 0.{number}s"))
        elif number % 4 == 1:
            found.append(Step(action=f"edit file-{number}.py", feedback=" ".join(chance.choices(WORDS, k=14))))
        elif number % 4 == 2:
            found.append(Step(kind=StepKind.WAITING, action="status", feedback=f"job 7 is {number % 100}% done"))
        else:
            found.append(Step(kind=StepKind.RETRY, feedback="please fix the login handler and run the tests again"))
    return found


def measure(quick: bool) -> list[Figure]:
    """Microseconds a step, milliseconds an iteration, events a second."""
    return [*_detector(quick), *_controller(quick), *_sink(quick)]


def _detector(quick: bool) -> list[Figure]:
    """Processor time, since nothing here waits: what else the machine does counts less."""
    count, rounds = (2000, 3) if quick else (10_000, 7)
    day = steps(count)

    def sample(window: int, begin: int, end: int) -> Callable[[], float]:
        def run() -> float:
            detector = StuckDetector(settings=StuckSettings(window=window))
            for step in day[:begin]:
                detector.observe(step)
            began = time.thread_time()
            for step in day[begin:end]:
                detector.observe(step)
            return (time.thread_time() - began) / (end - begin) * 1e6

        return run

    tenth = count // 10
    contestants = {f"window {window}": sample(window, 0, count) for window in WINDOWS}
    contestants["first tenth of a history"] = sample(100, 0, tenth)
    contestants["last tenth of a history"] = sample(100, count - tenth, count)
    found = interleave(contestants, rounds)
    base = spread(found["first tenth of a history"])[0]
    figures = []
    for name, samples in found.items():
        median, low, high = spread(samples)
        last = name.startswith("last")
        figures.append(
            Figure(
                name=f"stuck detector, a step: {name}",
                unit="us",
                value=median,
                low=low,
                high=high,
                aim=f"below {AIM_US:g} us" + (", flat in history" if last else ""),
                holds=median < AIM_US and (not last or median <= GROWTH * base),
                ratios={"first tenth": median / base} if last else {},
            )
        )
    return figures


def _controller(quick: bool) -> list[Figure]:
    """An iteration that does nothing, beside one durable update: what is on top is the controller's own."""
    iterations, rounds = (30, 3) if quick else (100, 7)
    names = itertools.count()
    with tempfile.TemporaryDirectory() as scratch, open_store(Path(scratch) / "state") as store:

        def loop(said: bool) -> Callable[[], float]:
            def run() -> float:
                controller = LoopController(f"loop {next(names)}", store, stop_when=MaxIterations(iterations))
                began = time.perf_counter()
                controller.run(lambda step: StepResult(feedback=f"answer {step.iteration} of {'x' * step.iteration}"))
                return (time.perf_counter() - began) / iterations * 1e3

            def silent() -> float:
                controller = LoopController(f"loop {next(names)}", store, stop_when=MaxIterations(iterations))
                began = time.perf_counter()
                controller.run(lambda step: step.iteration)
                return (time.perf_counter() - began) / iterations * 1e3

            return run if said else silent

        def update() -> float:
            began = time.perf_counter()
            for number in range(iterations):
                store.put("peer", number)
            return (time.perf_counter() - began) / iterations * 1e3

        contestants = {"silent step": loop(False), "step with feedback": loop(True), "store.put": update}
        found = interleave(contestants, rounds)
    base = spread(found["store.put"])[0]
    return [
        Figure(
            name=f"loop iteration: {name}",
            unit="ms",
            value=median,
            low=low,
            high=high,
            ratios={"store.put": median / base},
        )
        for name, (median, low, high) in ((name, spread(samples)) for name, samples in found.items())
    ]


def _sink(quick: bool) -> list[Figure]:
    """Events a second from the caller's side, and until they are in the file; `logging` with a file handler beside."""
    count, rounds = (5000, 3) if quick else (20_000, 7)
    draft = Draft(source="bench", kind="bench.event", message="something happened", detail={"n": 1})
    events = [Event.of(draft, sequence=number, at=0.0, writer="bench") for number in range(count)]
    dropped = []
    with tempfile.TemporaryDirectory() as scratch:
        names = itertools.count()

        def offer(whole: bool) -> Callable[[], float]:
            def run() -> float:
                channel = Channel(JsonLinesSink(Path(scratch) / f"events {next(names)}"), capacity=count)
                began = time.perf_counter()
                for event in events:
                    channel.offer(event)
                took = time.perf_counter() - began
                channel.flush(60.0)
                took = time.perf_counter() - began if whole else took
                channel.close(60.0)
                dropped.append(channel.statistics().dropped)
                return count / took

            return run

        def log() -> float:
            logger = logging.Logger("bench")
            handler = logging.FileHandler(Path(scratch) / f"log {next(names)}")
            logger.addHandler(handler)
            began = time.perf_counter()
            for event in events:
                logger.info("%s %s: %s %s", event.source, event.kind, event.message, event.detail)
            took = time.perf_counter() - began
            handler.close()
            return count / took

        contestants = {"offered": offer(False), "in the file": offer(True), "logging to a file": log}
        found = interleave(contestants, rounds)
    base = spread(found["logging to a file"])[0]
    figures = []
    for name, samples in found.items():
        median, low, high = spread(samples)
        judged = name == "offered"
        figures.append(
            Figure(
                name=f"events into a sink: {name}" + (f", {max(dropped)} dropped" if judged else ""),
                unit="events/s",
                value=median,
                low=low,
                high=high,
                aim="at least logging's" if judged else "",
                holds=median >= base if judged else None,
                ratios={"logging": median / base},
            )
        )
    return figures
