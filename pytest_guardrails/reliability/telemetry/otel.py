"""Events as OpenTelemetry spans without duration, through the stable tracing API. Needs the extra `opentelemetry`.

The program sets up its own provider and exporter; where it did not, OpenTelemetry drops the spans by itself.
"""

import json
from collections.abc import Sequence
from typing import Any, final

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.telemetry.events import Event, Severity

__all__ = ["OpenTelemetrySink"]

_NANO = 1_000_000_000


@final
class OpenTelemetrySink:
    """Hands each event to a tracer.

    Args:
        tracer: an OpenTelemetry tracer; that of the global provider when None.
    """

    def __init__(self, tracer: Any = None) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise ConfigurationError(
                'OpenTelemetry is not there: pip install "pytest-guardrails[opentelemetry]"'
            ) from error
        self._tracer = tracer or trace.get_tracer("pytest_guardrails")
        self._failed = trace.Status(trace.StatusCode.ERROR)

    def write(self, events: Sequence[Event]) -> None:
        """See `Sink.write`."""
        for event in events:
            at = int(event.at * _NANO)
            span = self._tracer.start_span(event.kind, start_time=at, attributes=_attributes(event))
            if event.severity >= Severity.ERROR:
                span.set_status(self._failed)
            span.end(end_time=at)


def _attributes(event: Event) -> dict[str, str | int]:
    return {
        "event.id": event.id,
        "event.sequence": event.sequence,
        "event.source": event.source,
        "event.severity": event.severity.name.lower(),
        "event.scope": event.scope,
        "event.message": event.message,
        "event.detail": json.dumps(dict(event.detail), ensure_ascii=False),
    }
