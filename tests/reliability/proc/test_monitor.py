"""What a process uses, its limits, trends and leaks."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.processes import Exceeded, Limits, ProcessMonitor, Sample
from pytest_guardrails.reliability.processes.monitor import exceeded, leaks, trend


def samples(*rss: int) -> list[Sample]:
    return [Sample(float(at), 0.0, 0.0, value, 10, 1, 0) for at, value in enumerate(rss)]


def test_a_sample_says_what_this_process_uses() -> None:
    monitor = ProcessMonitor()
    before = monitor.sample()
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    after = monitor.sample()
    for file in files:
        os.close(file)
    assert before is not None
    assert after is not None
    assert after.descriptors == before.descriptors + 5
    assert after.rss_bytes > 1_000_000
    assert after.cpu_time_s >= before.cpu_time_s > 0


def test_a_process_that_has_ended_gives_no_sample() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monitor = ProcessMonitor(process.pid)
    assert monitor.sample() is not None
    process.communicate(b"\n")
    assert monitor.sample() is None


def test_children_are_counted() -> None:
    monitor = ProcessMonitor()
    before = monitor.sample()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        during = monitor.sample()
        process.communicate(b"\n")
    assert before is not None
    assert during is not None
    assert during.children == before.children + 1


def test_exceeded_limits_are_named() -> None:
    assert exceeded(samples(100)[0], Limits(rss_bytes=99, threads=1)) == (Exceeded("rss_bytes", 100, 99),)


def test_only_so_many_samples_are_remembered() -> None:
    monitor = ProcessMonitor(remember=3, limits=Limits(threads=0))
    assert monitor.check() == ()
    for _ in range(5):
        monitor.sample()
    assert len(monitor.samples) == 3
    assert monitor.check()[0].metric == "threads"


@pytest.mark.parametrize("limits", [Limits(rss_bytes=float("nan")), Limits(threads=-1), Limits(children=float("inf"))])
def test_limits_must_be_numbers(limits: Limits) -> None:
    with pytest.raises(ConfigurationError, match="the limit of"):
        ProcessMonitor(limits=limits)


def test_steady_growth_is_a_leak() -> None:
    assert leaks(samples(*range(1000, 2000, 100))) == ("rss_bytes",)
    assert trend(samples(*range(1000, 2000, 100)), "rss_bytes") == 100.0


@pytest.mark.parametrize(
    "rss",
    [
        [1000] * 10,
        [1000, 1300] * 5,
        [1000, 1000, 1000, 1000, 9000, 9000, 9000, 9000, 9000, 9000],
        list(range(10_000, 10_100, 10)),
        [1000, 1100, 1200],
    ],
    ids=["level", "sawtooth", "one jump", "little", "too few"],
)
def test_what_is_no_leak(rss: list[int]) -> None:
    assert leaks(samples(*rss)) == ()


@given(st.lists(st.integers(0, 10**12), max_size=30))
def test_trends_are_finite_whatever_was_seen(rss: list[int]) -> None:
    assert abs(trend(samples(*rss), "rss_bytes")) <= 10**12
