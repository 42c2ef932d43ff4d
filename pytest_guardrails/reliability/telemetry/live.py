"""`LiveServer`: a page that shows what happens while it happens, on this host only, from the store itself.

    with LiveServer(store, views={"loops": lambda: overview(store)}) as server:
        print(server.url)

    /         the page            /events    server-sent events, from `?after=N` or the header Last-Event-ID on
    /state    views and metrics   /metrics   for Prometheus
    /livez    is it alive?        /readyz    can it be given work?   (200 or 503, with the checks' answers)

It only reads. It listens on loopback alone, answers no other host name (so that no foreign page reads it through a name
of its own that points here), and serves so many streams at a time and no more.
"""

import json
import secrets
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, final

from pytest_guardrails.errors import ConfigurationError, GuardrailsError
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry.checks import HealthChecks, Purpose, store_answers
from pytest_guardrails.reliability.telemetry.log import EventLog
from pytest_guardrails.reliability.telemetry.metrics import MetricKind, Metrics, Series
from pytest_guardrails.reliability.telemetry.page import PAGE
from pytest_guardrails.reliability.telemetry.prometheus import CONTENT_TYPE, render

__all__ = ["LiveServer", "View"]

View = Callable[[], Sequence[Mapping[str, Any]]]
_STREAMS = 16
_POLL_S = 0.3
_COMMENT_EVERY = 30  # polls; keeps proxies and dead clients honest
_SHOWN = 100  # events that a page begins with
_IDLE_S = 30.0  # a client that sends no request for so long is let go
_NAMES = {"127.0.0.1", "localhost", "::1", "[::1]"}


@final
class LiveServer:
    """See the module.

    Args:
        store: whose events and metrics.
        views: tables shown on top, by title; called for each request, may raise.
        checks: for /livez and /readyz; whether the store answers, if None.
        host: a loopback address.
        port: 0 for any that is free.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        views: Mapping[str, View] | None = None,
        checks: HealthChecks | None = None,
        host: Literal["127.0.0.1", "localhost"] = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if host not in _NAMES:
            raise ConfigurationError(f"the live page is for this host alone: {host!r} is no loopback address")
        self.log = EventLog(store)
        self.metrics = Metrics(store)
        self.views = dict(views or {})
        self.checks = checks or HealthChecks([store_answers(store)])
        self.ending = threading.Event()
        self.streams = threading.BoundedSemaphore(_STREAMS)
        self._server = _Server((host, port), _Handler, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.live = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)
        self._started = False

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}/"

    def start(self) -> None:
        """Serve, in the background."""
        self._started = True
        self._thread.start()

    def close(self) -> None:
        """Serve no more; streams end."""
        self.ending.set()
        if self._started:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> "LiveServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def state(self) -> dict[str, Any]:
        """What the page shows besides events."""
        views = {name: _rows(view) for name, view in self.views.items()}
        return {"views": views, "metrics": [_metric_row(series) for series in self.metrics.series()]}

    def follow(self, after: int | None) -> Iterator[bytes]:
        """The stream's bytes, until the server ends.

        Args:
            after: number of the last event that the client has; None begins with the last hundred.
        """
        position = max(0, self.log.last() - _SHOWN) if after is None else after
        quiet = 0
        yield b"retry: 1000\n\n"
        while not self.ending.is_set():
            position = min(position, self.log.last())  # a store that was restored counts on from an older number
            batch = self.log.read(position)
            if batch.missed:
                yield f": {batch.missed} events were missed\n\n".encode()
            for event in batch.events:
                yield f"id: {event.sequence}\ndata: {json.dumps(event.plain())}\n\n".encode()
            if batch.position == position:
                quiet += 1
                if quiet % _COMMENT_EVERY == 0:
                    yield b": still here\n\n"
                self.ending.wait(_POLL_S)
            position = batch.position


@final
class _Server(ThreadingHTTPServer):
    live: LiveServer
    allow_reuse_address = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


@final
class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "guardrails"
    sys_version = ""
    timeout = _IDLE_S

    def do_GET(self) -> None:
        """Answer one request."""
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in _NAMES:
            self._send(403, "text/plain", b"this page answers to loopback names alone\n")
            return
        address = urllib.parse.urlsplit(self.path)
        try:
            self._route(address.path, urllib.parse.parse_qs(address.query))
        except GuardrailsError as error:
            self._send(503, "text/plain", f"{error}\n".encode(errors="backslashreplace"))

    def _route(self, path: str, query: Mapping[str, list[str]]) -> None:
        live = self.server.live
        if path == "/":
            nonce = secrets.token_urlsafe(16)
            policy = (
                f"default-src 'none'; style-src 'unsafe-inline'; script-src 'nonce-{nonce}'; connect-src 'self'; "
                "base-uri 'none'; frame-ancestors 'none'"
            )
            self._send(200, "text/html; charset=utf-8", PAGE.replace("NONCE", nonce).encode(), policy)
        elif path == "/state":
            self._send(200, "application/json", finite_json.dumps(live.state()).encode())
        elif path == "/metrics":
            self._send(200, CONTENT_TYPE, render(live.metrics.series()).encode())
        elif path in ("/livez", "/readyz"):
            self._health("liveness" if path == "/livez" else "readiness")
        elif path == "/events":
            self._stream(self.headers.get("Last-Event-ID") or next(iter(query.get("after", [])), None))
        else:
            self._send(404, "text/plain", b"there is nothing here\n")

    def _health(self, purpose: Purpose) -> None:
        report = self.server.live.checks.run(purpose)
        rows = [
            {"name": found.name, "status": found.status.name.lower(), "message": found.message}
            for found in report.results
        ]
        body = finite_json.dumps({"holds": report.holds(purpose), "checks": rows}, indent=2).encode() + b"\n"
        self._send(200 if report.holds(purpose) else 503, "application/json", body)

    def _stream(self, after: str | None) -> None:
        live = self.server.live
        if after is not None and not (after.isascii() and after.isdecimal() and len(after) < 18):
            self._send(400, "text/plain", b"an event's number is wanted\n")
            return
        if not live.streams.acquire(blocking=False):
            self._send(503, "text/plain", b"too many streams at a time\n")
            return
        try:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            for data in live.follow(None if after is None else int(after)):
                self.wfile.write(data)
                self.wfile.flush()
        except OSError:
            pass  # the client went away
        finally:
            live.streams.release()

    def _send(self, status: int, kind: str, body: bytes, policy: str = "default-src 'none'") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Requests are no events."""


def _rows(view: View) -> list[dict[str, Any]]:
    try:
        return [dict(row) for row in view()]
    except Exception as error:  # noqa: BLE001 - the edge to code of others: it is shown in its place
        return [{"error": finite_json.printable(f"{type(error).__name__}: {error}")}]


def _metric_row(series: Series) -> list[Any]:
    labels = " ".join(f"{name}={value}" for name, value in sorted(series.labels.items()))
    if series.kind is MetricKind.HISTOGRAM:
        count = series.buckets[-1]
        return [series.name, series.source, labels, count, f"mean {series.value / count:.4g}" if count else ""]
    return [series.name, series.source, labels, series.value, ""]
