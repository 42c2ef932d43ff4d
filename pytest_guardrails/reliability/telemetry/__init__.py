"""What the stack tells: events and metrics, written with the change that they report, and who is told of them.

Exported here is what writes; it loads fast. What sends is imported from its own module: `relay.py` (the store's events
to a sink, each at least once), `channel.py` and `emitter.py` (events of programs without a store), `sinks.py`,
`webhook.py`, `otel.py`; what shows: `prometheus.py`, `live.py`; what judges: `anomalies.py`, `checks.py`.
"""

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
