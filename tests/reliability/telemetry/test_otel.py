"""Events as OpenTelemetry spans, seen by the SDK's own exporter."""

import sys
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.state import open_store
from pytest_guardrails.reliability.telemetry import Draft, Event, EventLog, Severity
from pytest_guardrails.reliability.telemetry.otel import OpenTelemetrySink
from pytest_guardrails.reliability.telemetry.relay import Relay


def test_events_become_spans() -> None:
    provider, spans = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    draft = Draft(source="s", kind="loop.failed", severity=Severity.ERROR, message="m", detail={"n": 1})
    OpenTelemetrySink(provider.get_tracer("t")).write([Event.of(draft, sequence=4, at=12.5, writer="w")])
    (span,) = spans.get_finished_spans()
    assert (span.name, span.start_time, span.end_time) == ("loop.failed", 12_500_000_000, 12_500_000_000)
    assert span.attributes == {
        "event.id": "s:4:w",
        "event.sequence": 4,
        "event.source": "s",
        "event.severity": "error",
        "event.scope": "",
        "event.message": "m",
        "event.detail": '{"n": 1}',
    }
    assert not span.status.is_ok


def test_a_relay_feeds_opentelemetry_in_order(tmp_path: Path) -> None:
    provider, spans = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with open_store(tmp_path / "state") as store:
        log = EventLog(store)
        log.emit(*(Draft(source="t", kind=f"k{number}") for number in range(5)))
        Relay(log, OpenTelemetrySink(provider.get_tracer("t")), name="otel", batch=2).pump()
    found = spans.get_finished_spans()
    assert [span.name for span in found] == [f"k{number}" for number in range(5)]
    assert all(span.status.status_code is StatusCode.UNSET for span in found)


def test_without_the_extra_the_sink_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pytest-guardrails\[opentelemetry\]"):
        OpenTelemetrySink()
