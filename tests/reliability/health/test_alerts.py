"""Alerts: told once, not too often, and that it is well again; senders fail alone."""

import json
import logging
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.health import (
    Alert,
    AlertPolicy,
    Alerts,
    Level,
    to_command,
    to_file,
    to_log,
    to_webhook,
)
from pytest_guardrails.reliability.health.alerts import AlertMemory, decide
from tests.reliability.clocks import MovedClock

ALERT = Alert("agent a\ud800", Level.CRITICAL, Level.HEALTHY, "it\nfell", 2, 1.7e9)


class Told:
    def __init__(self, policy: AlertPolicy | None = None) -> None:
        self.clock = MovedClock()
        self.alerts: list[Alert] = []
        self.sender = Alerts([self.alerts.append], policy, clock=self.clock)

    def tell(self, level: Level, key: str = "agent", times: int = 1) -> None:
        for _ in range(times):
            self.sender.tell(key, level)
        assert self.sender.flush()

    def levels(self) -> list[Level]:
        assert self.sender.flush()
        return [alert.level for alert in self.alerts]


def test_the_same_level_is_told_once() -> None:
    told = Told()
    told.tell(Level.CRITICAL, times=100)
    assert told.levels() == [Level.CRITICAL]


def test_being_well_from_the_beginning_is_not_told() -> None:
    told = Told()
    told.tell(Level.HEALTHY, times=3)
    assert told.levels() == []


def test_recovery_is_told_once() -> None:
    told = Told()
    told.tell(Level.CRITICAL)
    told.tell(Level.HEALTHY, times=3)
    assert told.levels() == [Level.CRITICAL, Level.HEALTHY]
    assert told.alerts[-1].before is Level.CRITICAL


def test_unknown_is_told() -> None:
    told = Told()
    told.tell(Level.UNKNOWN)
    assert told.levels() == [Level.UNKNOWN]


def test_lasting_trouble_is_told_again_after_an_hour() -> None:
    told = Told()
    told.tell(Level.CRITICAL)
    told.clock.monotonic_s += 3600.0
    told.tell(Level.CRITICAL)
    assert told.levels() == [Level.CRITICAL] * 2


def test_a_flapping_thing_is_told_so_often_a_minute_and_what_was_held_back_is_counted() -> None:
    told = Told(AlertPolicy(most=2))
    for _ in range(3):
        told.tell(Level.CRITICAL)
        told.tell(Level.HEALTHY)
    assert told.levels() == [Level.CRITICAL, Level.HEALTHY]
    told.clock.monotonic_s += 60.0
    told.tell(Level.CRITICAL)
    assert told.levels()[-1] is Level.CRITICAL
    assert told.alerts[-1].held_back == 2
    assert told.sender.statistics().held_back == 2


def test_keys_are_told_apart() -> None:
    told = Told()
    told.tell(Level.CRITICAL, "one")
    told.tell(Level.CRITICAL, "other")
    assert [alert.key for alert in told.alerts] == ["one", "other"]


@given(st.lists(st.tuples(st.sampled_from(Level), st.floats(0.0, 100.0)), max_size=60))
def test_no_more_than_allowed_ever_goes_out(run: list[tuple[Level, float]]) -> None:
    policy, memory, now_s = AlertPolicy(most=3, window_s=60.0, repeat_after_s=10.0), AlertMemory(), 0.0
    sent: list[float] = []
    for level, passed_s in run:
        now_s += passed_s
        memory, told = decide(memory, policy, level, now_s)
        if told:
            sent.append(now_s)
        assert sum(now_s - at_s < policy.window_s for at_s in sent) <= policy.most


def test_a_sender_that_fails_holds_up_nobody_and_is_counted() -> None:
    got: list[Alert] = []

    def fail(alert: Alert) -> None:
        raise OSError("no")

    alerts = Alerts([fail, got.append])
    assert alerts.tell("a", Level.CRITICAL)
    assert alerts.flush(20.0)
    assert (len(got), alerts.statistics()) == (1, (1, 1, 0, 0))


def test_a_sender_that_hangs_holds_up_no_caller() -> None:
    hang = threading.Event()
    alerts = Alerts([lambda _alert: hang.wait(60.0)])
    for number in range(1500):
        alerts.tell(f"agent {number}", Level.CRITICAL)
    assert not alerts.flush(0.01)
    assert alerts.statistics().dropped >= 400
    hang.set()


def test_a_policy_must_make_sense() -> None:
    with pytest.raises(ConfigurationError):
        Alerts([], AlertPolicy(window_s=float("nan")))


def test_a_log_gets_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        to_log(logging.getLogger("x"))(ALERT._replace(key="agent a"))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "agent a is critical (was healthy): it\nfell")
    ]


def test_a_file_gets_a_line_of_json_each(tmp_path: Path) -> None:
    send = to_file(tmp_path / "alerts.jsonl")
    send(ALERT)
    send(ALERT)
    lines = [json.loads(line) for line in (tmp_path / "alerts.jsonl").read_text().splitlines()]
    assert [line["level"] for line in lines] == ["critical", "critical"]
    assert lines[0]["key"] == "agent a\\ud800"


def test_a_command_gets_json_on_its_input_and_its_failure_is_told(tmp_path: Path) -> None:
    code = f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())"
    to_command([sys.executable, "-c", code])(ALERT)
    assert json.loads((tmp_path / "got").read_text())["message"] == "it\nfell"
    with pytest.raises(Exception, match="non-zero"):
        to_command(["false"])(ALERT)


@pytest.fixture
def server() -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/", got
        http.shutdown()
        thread.join()


def test_a_webhook_gets_a_post_of_json(server: tuple[str, list[bytes]]) -> None:
    url, got = server
    to_webhook(url)(ALERT)
    assert json.loads(got[0])["before"] == "healthy"


def test_a_webhook_must_be_http() -> None:
    with pytest.raises(ConfigurationError, match="http"):
        to_webhook("file:///etc/passwd")
