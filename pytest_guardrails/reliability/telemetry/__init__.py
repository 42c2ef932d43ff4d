"""What the stack tells."""

from pytest_guardrails.reliability.telemetry.events import Draft, Event, Severity
from pytest_guardrails.reliability.telemetry.log import Batch, EventLog
from pytest_guardrails.reliability.telemetry.metrics import MetricKind, Metrics, Sample, Series, count, gauge, observe

__all__ = [
    "Batch",
    "Draft",
    "Event",
    "EventLog",
    "MetricKind",
    "Metrics",
    "Sample",
    "Series",
    "Severity",
    "count",
    "gauge",
    "observe",
]
