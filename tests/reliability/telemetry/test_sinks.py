"""Sinks and what feeds them: nobody waits, nothing is lost unseen, and what a slow or broken sink misses is counted."""

import errno
import io
import json
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pytest_guardrails.errors import ConfigurationError, NewerFormatError, StorageError
from pytest_guardrails.reliability.state import StateStore, open_store
from pytest_guardrails.reliability.telemetry import Draft, Event, EventLog, Severity
from pytest_guardrails.reliability.telemetry.channel import Channel
from pytest_guardrails.reliability.telemetry.emitter import Emitter
from pytest_guardrails.reliability.telemetry.relay import Relay
from pytest_guardrails.reliability.telemetry.sinks import JsonLinesSink, LoggingSink
from pytest_guardrails.reliability.telemetry.webhook import WebhookSink
from tests.reliability.processes import Child


class Kept:
    """A sink that a test can block, and that fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.events: list[Event] = []
        self.failures = failures
        self.gate = threading.Event()
        self.gate.set()

    def write(self, events: Sequence[Event]) -> None:
        self.gate.wait(20)
        if self.failures:
            self.failures -= 1
            raise OSError(errno.ENOSPC, "no room")
        self.events += events


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    with open_store(tmp_path / "state") as opened:
        yield opened


def event(number: int, message: str = "m") -> Event:
    return Event.of(Draft(source="t", kind="k", message=message), sequence=number, at=0.0, writer="w")


def wait_until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def test_a_channel_delivers_in_order_and_an_id_once() -> None:
    sink = Kept()
    with Channel(sink) as channel:
        for number in (1, 2, 2, 3, 1):
            assert channel.offer(event(number))
        assert channel.flush(20.0)
        found = channel.statistics()
    assert [seen.sequence for seen in sink.events] == [1, 2, 3]
    assert (found.offered, found.delivered, found.duplicates, found.waiting) == (5, 3, 2, 0)


def test_an_emitter_numbers_events_and_offers_them_to_every_channel() -> None:
    sinks = [Kept(), Kept()]
    channels = [Channel(sink) for sink in sinks]
    emitter = Emitter(channels)
    events = [emitter.emit(Draft(source="s", kind="k")) for _ in range(3)]
    other = Emitter([]).emit(Draft(source="s", kind="k"))
    assert all(channel.close(20.0) for channel in channels)
    assert sinks[0].events == sinks[1].events == events
    assert len({event.id for event in [*events, other]}) == 4


def test_a_sink_that_blocks_makes_nobody_wait_and_what_is_dropped_is_counted() -> None:
    sink = Kept()
    sink.gate.clear()
    channel = Channel(sink, capacity=10)
    accepted = [channel.offer(event(number)) for number in range(200)]
    found = channel.statistics()
    assert found.dropped == accepted.count(False) > 0
    assert found.offered == 200
    sink.gate.set()
    assert channel.close(20.0)
    assert len(sink.events) == accepted.count(True)
    assert not channel.offer(event(999))


def test_a_sink_that_fails_is_tried_again_and_then_counted() -> None:
    sink = Kept(failures=2)
    with Channel(sink, attempts=3) as channel:
        channel.offer(event(1))
        assert channel.flush(20.0)
        assert channel.statistics().delivered == 1
        sink.failures = 99
        channel.offer(event(2))
        assert channel.flush(20.0)
        assert (channel.statistics().failed, "no room" in channel.statistics().last_error) == (1, True)


def test_closing_with_a_deadline_counts_what_the_sink_did_not_take() -> None:
    sink = Kept()
    sink.gate.clear()
    channel = Channel(sink)
    for number in range(600):
        channel.offer(event(number))
    assert not channel.close(0.01)
    assert channel.statistics().dropped >= 100
    sink.gate.set()


@pytest.mark.parametrize("ending", [SystemExit, KeyboardInterrupt])
def test_a_sink_that_wants_to_end_the_program_ends_nothing(ending: type[BaseException]) -> None:
    class Leaves:
        def write(self, events: Sequence[Event]) -> None:
            raise ending("away")

    with Channel(Leaves(), attempts=1) as channel:
        for number in (1, 2):
            channel.offer(event(number))
            assert channel.flush(20.0)
        found = channel.statistics()
    assert (found.failed, "away" in found.last_error) == (2, True)


@pytest.mark.slow
def test_a_forked_child_offers_to_an_empty_channel_whatever_its_parent_was_doing(tmp_path: Path) -> None:
    program = (
        "import os, sys\n"
        "from pytest_guardrails.reliability.telemetry.channel import Channel\n"
        "from pytest_guardrails.reliability.telemetry.sinks import JsonLinesSink\n"
        "from pytest_guardrails.reliability.telemetry import Draft, Event\n"
        "def event(n): return Event.of(Draft(source='t', kind='k'), sequence=n, at=0.0, writer='w')\n"
        "channel = Channel(JsonLinesSink(sys.argv[1]))\n"
        "channel.offer(event(1))\n"
        "with channel._mutex:\n"  # as if another thread were inside at that moment
        "    pid = os.fork()\n"
        "if not pid:\n"
        "    channel.offer(event(2))\n"
        "    os._exit(not channel.flush(20.0) or channel.statistics().offered != 1)\n"
        "sys.exit(os.waitpid(pid, 0)[1] != 0)\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program, str(tmp_path / "log")], check=True, timeout=60)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert sorted(line["sequence"] for line in lines) == [1, 2]


@pytest.mark.slow
def test_a_relay_that_nobody_closed_sends_the_rest_at_exit(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pytest_guardrails.reliability.state import open_store\n"
        "from pytest_guardrails.reliability.telemetry import Draft, EventLog\n"
        "from pytest_guardrails.reliability.telemetry.relay import Relay\n"
        "from pytest_guardrails.reliability.telemetry.sinks import JsonLinesSink\n"
        "log = EventLog(open_store(sys.argv[1] + '/state'))\n"
        "Relay(log, JsonLinesSink(sys.argv[1] + '/log'), name='out', batch=7).start()\n"
        "log.emit(*(Draft(source='t', kind='k') for _ in range(300)))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert len((tmp_path / "log").read_text().splitlines()) == 300


@pytest.mark.slow
def test_what_was_offered_is_flushed_at_exit(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from pytest_guardrails.reliability.telemetry.channel import Channel\n"
        "from pytest_guardrails.reliability.telemetry.sinks import JsonLinesSink\n"
        "from pytest_guardrails.reliability.telemetry import Draft, Event\n"
        "channel = Channel(JsonLinesSink(sys.argv[1]))\n"
        "for n in range(300): channel.offer(Event.of(Draft(source='t', kind='k'), sequence=n, at=0.0, writer='w'))\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "log")], check=True)
    assert len((tmp_path / "log").read_text().splitlines()) == 300


def test_lines_are_whole_json_and_files_rotate(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "log", max_bytes=700, keep=2)
    for number in range(12):
        sink.write([event(number, "x" * 20)])
    files = sorted(tmp_path.glob("log*"))
    names = [path.name for path in files if ".lock" not in path.name]
    assert names == ["log", "log.1", "log.2"]
    numbers = [
        json.loads(line)["sequence"] for name in reversed(names) for line in (tmp_path / name).read_text().splitlines()
    ]
    assert numbers == list(range(numbers[0], 12))
    assert all((tmp_path / name).stat().st_size <= 700 for name in names)


def test_after_half_a_line_the_next_batch_starts_on_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "log").write_text('{"id": "torn')
    JsonLinesSink(tmp_path / "log").write([event(1)])
    lines = (tmp_path / "log").read_text().splitlines()
    assert (lines[0], json.loads(lines[1])["sequence"]) == ('{"id": "torn', 1)


@pytest.mark.parametrize("taken", [None, 7])
def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int | None) -> None:
    sink = JsonLinesSink(tmp_path / "log")
    sink.write([event(1)])
    before = (tmp_path / "log").read_bytes()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if b'"sequence"' not in data:
            return write(descriptor, data)
        if taken is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:taken])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="can't be written"):
        sink.write([event(2)])
    monkeypatch.undo()
    assert (tmp_path / "log").read_bytes() == before


def test_a_file_that_may_grow_no_more_keeps_whole_lines_and_the_caller_goes_on(tmp_path: Path) -> None:
    def tell(say: object) -> tuple[bool, int, int]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))  # the kernel itself refuses, as on a full disk
        channel = Channel(JsonLinesSink(tmp_path / "log"), attempts=1)
        accepted = 0
        for number in range(200):
            accepted += channel.offer(event(number, "z" * 100))
            if number % 20 == 0:
                channel.flush(20.0)
        channel.close(20.0)
        found = channel.statistics()
        return "can't be written" in found.last_error, accepted, found.delivered + found.failed

    refused, accepted, accounted = Child(tell).result()
    assert (refused, accepted, accounted) == (True, 200, 200)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines
    assert all(json.loads(line) for line in lines)


@pytest.mark.slow
def test_several_processes_write_whole_lines_into_one_file(tmp_path: Path) -> None:
    def tell(say: object) -> None:
        sink = JsonLinesSink(tmp_path / "log", max_bytes=20_000, keep=50)
        for number in range(60):
            sink.write([event(number, "y" * 200)])

    for child in [Child(tell) for _ in range(3)]:
        child.result()
    lines = [
        line for path in tmp_path.glob("log*") if ".lock" not in path.name for line in path.read_text().splitlines()
    ]
    assert sorted(json.loads(line)["sequence"] for line in lines) == sorted(list(range(60)) * 3)


def test_the_logging_sink_keeps_severity_and_the_whole_event() -> None:
    stream, logger = io.StringIO(), logging.getLogger("test of the sink")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(event)s"))
    logger.addHandler(handler)
    logger.propagate = False
    try:
        draft = Draft(source="s", kind="k", severity=Severity.ERROR, message="100% bad")
        LoggingSink(logger).write([Event.of(draft, sequence=4, at=0.0, writer="w")])
    finally:
        logger.removeHandler(handler)
    assert "ERROR s k: 100% bad" in stream.getvalue()
    assert "'sequence': 4" in stream.getvalue()


@pytest.fixture
def web() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    bodies: list[dict[str, Any]] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            bodies[-1]["key"] = self.headers["Idempotency-Key"]
            self.send_response(statuses.pop(0) if statuses else 204)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            """Where a redirect leads: somebody who says yes to everything."""
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", bodies, statuses
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_webhook_sends_batches_and_only_a_success_counts(
    web: tuple[str, list[dict[str, Any]], list[int]],
) -> None:
    url, bodies, statuses = web
    sink = WebhookSink(url)
    sink.write([event(1), event(2)])
    assert [found["sequence"] for found in bodies[0]["events"]] == [1, 2]
    assert bodies[0]["key"] == event(2).id
    for status in (500, 302, 404):
        statuses.append(status)
        with pytest.raises(StorageError, match="did not take 1 events"):
            sink.write([event(3)])


def test_a_webhook_that_nobody_serves_is_an_error_and_a_foreign_address_is_refused() -> None:
    with pytest.raises(StorageError):
        WebhookSink("http://127.0.0.1:1/", timeout_s=1.0).write([event(1)])
    with pytest.raises(ConfigurationError):
        WebhookSink("file:///etc/passwd")


def test_a_relay_sends_everything_once_and_goes_on_where_it_was(store: StateStore) -> None:
    log, sink = EventLog(store), Kept()
    log.emit(*(Draft(source="t", kind="k", detail={"n": number}) for number in range(5)))
    assert Relay(log, sink, name="out", batch=2).pump() == 5
    log.emit(Draft(source="t", kind="k", detail={"n": 5}))
    assert Relay(log, sink, name="out").pump() == 1
    assert [seen.detail["n"] for seen in sink.events] == list(range(6))


def test_a_relay_sees_new_events_at_once_and_nobody_waits_for_its_sink(store: StateStore) -> None:
    log, sink = EventLog(store), Kept()
    sink.gate.clear()
    with Relay(log, sink, name="out", poll_s=60.0) as relay:
        for number in range(20):
            log.emit(Draft(source="t", kind="k", detail={"n": number}))
        assert sink.events == []
        sink.gate.set()
        wait_until(lambda: relay.statistics().delivered == 20)
    assert [seen.detail["n"] for seen in sink.events] == list(range(20))


def test_closing_a_relay_sends_the_rest_and_ends_its_thread_at_once(store: StateStore) -> None:
    log, sink = EventLog(store), Kept()
    before = threading.active_count()
    relay = Relay(log, sink, name="out", poll_s=3600.0)
    relay.start()
    wait_until(lambda: relay.statistics().position == log.last())
    log.emit(Draft(source="t", kind="k"))
    assert relay.close(20.0)
    assert (len(sink.events), threading.active_count()) == (1, before)


def test_a_sink_that_is_down_gets_everything_when_it_is_back(store: StateStore) -> None:
    log, sink = EventLog(store), Kept(failures=3)
    with Relay(log, sink, name="out", poll_s=0.01) as relay:
        log.emit(Draft(source="t", kind="k"), Draft(source="t", kind="k"))
        wait_until(lambda: relay.statistics().delivered == 2)
        assert relay.statistics().failures == 3
        assert "no room" in relay.statistics().last_error


def test_what_was_overwritten_before_it_was_sent_is_counted(store: StateStore) -> None:
    log, sink = EventLog(store, capacity=4), Kept()
    log.emit(*(Draft(source="t", kind="k") for _ in range(10)))
    relay = Relay(log, sink, name="out")
    relay.pump()
    assert (relay.statistics().delivered, relay.statistics().missed) == (4, 6)


def test_a_crash_between_sink_and_cursor_sends_again_with_the_same_ids(store: StateStore) -> None:
    log, sink = EventLog(store), Kept()
    log.emit(Draft(source="t", kind="k"))

    class Dies:
        def write(self, events: Sequence[Event]) -> None:
            sink.write(events)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Relay(log, Dies(), name="out").pump()
    Relay(log, sink, name="out").pump()
    assert len(sink.events) == 2
    assert sink.events[0].id == sink.events[1].id


def test_what_a_newer_program_wrote_is_kept_and_a_newer_format_refused_and_nothing_is_lost(store: StateStore) -> None:
    log, sink = EventLog(store), Kept()
    log.emit(Draft(source="t", kind="k"))
    relay = Relay(log, sink, name="../out")
    relay.pump()
    for key in (*store.keys("event-cursor/"), "event-head"):
        store.update(key, lambda found: {**found, "mood": "sunny"})
    log.emit(Draft(source="t", kind="k"))
    relay.pump()
    (cursor,) = store.keys("event-cursor/")
    assert (store.get(cursor)["mood"], store.get("event-head")["mood"]) == ("sunny", "sunny")
    assert relay.statistics().delivered == 2
    for key in (cursor, "event-head", "event/000003"):
        log.emit(Draft(source="t", kind="k"))
        known = store.get(key)
        store.put(key, {**known, "format": 99})
        with pytest.raises(NewerFormatError, match="99"):
            relay.pump()
        store.put(key, {**known, "format": 1})
    relay.pump()
    assert [seen.sequence for seen in sink.events] == [1, 2, 3, 4, 5]


def test_settings_of_feeders_that_make_no_sense_are_refused(store: StateStore, tmp_path: Path) -> None:
    for make in (
        lambda: Channel(Kept(), capacity=0),
        lambda: Relay(EventLog(store), Kept(), name="x", poll_s=0),
        lambda: JsonLinesSink(tmp_path / "x", max_bytes=0),
        lambda: WebhookSink("http://127.0.0.1", timeout_s=0),
    ):
        with pytest.raises(ConfigurationError):
            make()
