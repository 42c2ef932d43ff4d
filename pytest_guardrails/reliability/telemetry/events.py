"""What is told about the stack: an event is data, with an id by which a receiver knows it again.

Read `log.py` for how an event is written together with the change that it reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, final

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.telemetry.formats import known_format

__all__ = ["Draft", "Event", "Severity"]

_FORMAT = 1


@final
class Severity(IntEnum):
    """How bad it is; the numbers are those of `logging`."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40
    CRITICAL = 50


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event before it is written.

    Attributes:
        source: who tells it, such as "loop/nightly".
        kind: what happened, such as "loop.finished"; few different ones.
        severity: how bad it is.
        scope: what it is about, from wide to narrow, such as "run/7/step/3"; "" for the source itself.
        message: for a person.
        detail: for a program; anything of JSON, finite.
    """

    source: str
    kind: str
    severity: Severity = Severity.INFO
    scope: str = ""
    message: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.source or not self.kind:
            raise ConfigurationError(f"an event has a source and a kind, not {self.source!r} and {self.kind!r}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, as it was written.

    Attributes:
        id: of (source, sequence) and the transaction that wrote it: unique, also after a store was restored from an
            older generation and counts on from there.
        sequence: grows by one with each event of the store.
        at: when, in seconds since 1970-01-01 UTC by the wall clock; for people.
        source: see `Draft`, as are the others.
        kind: see there.
        severity: see there.
        scope: see there.
        message: see there.
        detail: see there.
    """

    id: str
    sequence: int
    at: float
    source: str
    kind: str
    severity: Severity
    scope: str
    message: str
    detail: Mapping[str, Any]

    @classmethod
    def of(cls, draft: Draft, *, sequence: int, at: float, writer: str) -> "Event":
        """The event that a draft becomes.

        Args:
            draft: what happened.
            sequence: its number.
            at: the wall clock.
            writer: id of the transaction, or of the process.
        """
        return cls(
            id=f"{draft.source}:{sequence}:{writer[:8]}",
            sequence=sequence,
            at=at,
            source=draft.source,
            kind=draft.kind,
            severity=draft.severity,
            scope=draft.scope,
            message=draft.message,
            detail=draft.detail,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "format": _FORMAT,
            "id": self.id,
            "sequence": self.sequence,
            "at": self.at,
            "source": self.source,
            "kind": self.kind,
            "severity": self.severity.name.lower(),
            "scope": self.scope,
            "message": self.message,
            "detail": dict(self.detail),
        }

    @classmethod
    def parse(cls, plain: Mapping[str, Any]) -> "Event":
        """The inverse of `plain`; fields that a newer program added are left out.

        Raises:
            NewerFormatError: it wrote them in a form that this one does not know.
        """
        known_format(plain, _FORMAT, f"event {plain.get('id')!r}")
        known = {name: plain[name] for name in cls.__slots__}
        return cls(**{**known, "severity": Severity[plain["severity"].upper()]})
