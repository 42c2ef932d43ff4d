"""The live page in a real browser: its script runs under its own policy, and shows what the store holds, as text."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_guardrails.reliability.loops import LoopController, MaxIterations, StepKind, StepResult
from pytest_guardrails.reliability.loops.watching import live_server
from pytest_guardrails.reliability.state import StateStore, open_store
from pytest_guardrails.reliability.telemetry.live import LiveServer

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER, reason="no browser is here")]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        loop = LoopController("<i>nightly</i>", opened, stop_when=MaxIterations(9))
        loop.run(lambda step: StepResult(kind=StepKind.RETRY, feedback="the header is missing"))
        yield opened


@contextmanager
def browser(server: LiveServer, folder: Path, *options: str) -> Iterator["subprocess.Popen[str]"]:
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}"]
    with subprocess.Popen(
        [*command, *options, server.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "the browser did not do it in time"
        time.sleep(0.02)


def test_a_browser_shows_loops_events_and_metrics_as_text(store: StateStore, tmp_path: Path) -> None:
    server = live_server(store)
    sent, follow = [b""], server.follow

    def followed(after: int | None) -> Iterator[bytes]:
        for data in follow(after):
            yield data
            sent.append(data)  # the browser has it

    server.follow = followed  # type: ignore[method-assign]
    server.start()
    with browser(server, tmp_path, "--virtual-time-budget=9000", "--dump-dom") as process:
        wait_until(lambda: any(b"loop.aborted" in data for data in sent))
        server.close()  # ends the stream, which is what the browser waits for
        page, _ = process.communicate(timeout=60)
    assert "&lt;i&gt;nightly&lt;/i&gt;" in page
    assert "<i>nightly" not in page
    assert "loop.stuck" in page
    assert "store_lock_wait_seconds" in page
    assert 'the same failure 5 times in a row up to step 5: "the header is missing"' in page


def test_an_open_page_goes_on_by_itself_where_nothing_is_told(store: StateStore, tmp_path: Path) -> None:
    server, asked = live_server(store), [0]

    def count() -> list[dict[str, int]]:
        asked[0] += 1
        return [{"times": asked[0]}]

    server.views["Asked"] = count
    with server, browser(server, tmp_path, "--remote-debugging-port=0"):
        wait_until(lambda: asked[0] >= 4)  # at once, after the first events, and then by the clock
