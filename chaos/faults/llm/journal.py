"""What a fake LLM was asked and what became of each request; written by its thread, read by any. `server.py` next."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from threading import Condition
from time import monotonic
from typing import Any, final

from chaos.errors import NotMeasured

__all__ = ["Exchange", "Journal", "LLMStatistics", "Outcome"]


@final
class Outcome(str, Enum):
    """What became of a request, as the server saw it."""

    HELD = "held"  # not answered yet, or never
    ANSWERED = "answered"  # all that the script wanted was sent
    DROPPED = "dropped"  # the server reset the connection, as scripted
    LEFT = "left"  # the client closed the connection before it had all


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and its answer. Headers, and with them the key, are not kept.

    Attributes:
        number: from 1, in the order of arrival.
        path: "/chat/completions", "/embeddings" or "/models".
        body: what was asked, as JSON says it.
        trouble: what the script made of it; "" for an ordinary answer.
        said: the text of the answer.
        status: of HTTP; 0 when none was sent.
        outcome: what became of it.
    """

    number: int
    path: str
    body: Mapping[str, Any]
    trouble: str = ""
    said: str = ""
    status: int = 0
    outcome: Outcome = Outcome.HELD

    @property
    def model(self) -> str:
        """Which model was asked."""
        return str(self.body.get("model", ""))

    @property
    def streamed(self) -> bool:
        """Whether the answer was to come in pieces."""
        return bool(self.body.get("stream"))

    @property
    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """The messages of a chat."""
        return tuple(self.body.get("messages", ()))

    @property
    def asked(self) -> str:
        """The text of the last message, or the input of an embedding."""
        return str(self.messages[-1].get("content", "")) if self.messages else str(self.body.get("input", ""))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LLMStatistics:
    """Counts.

    Attributes:
        requests: those that took a turn of the script.
        injected: how often each trouble was made.
        overrun: how many requests came after the script's end.
        left: how many requests were given up by the client.
    """

    requests: int = 0
    injected: Mapping[str, int] = field(default_factory=dict)
    overrun: int = 0
    left: int = 0


@final
class Journal:
    """Keeps exchanges; every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._exchanges: list[Exchange] = []
        self._overrun = 0

    def begin(self, path: str, body: Mapping[str, Any]) -> int:
        """Note a request, and number it."""
        with self._changed:
            number = len(self._exchanges) + 1
            self._exchanges.append(Exchange(number=number, path=path, body=body))
            self._changed.notify_all()
            return number

    def note(self, number: int, **facts: Any) -> None:
        """Note what becomes of a request."""
        with self._changed:
            self._exchanges[number - 1] = replace(self._exchanges[number - 1], **facts)
            self._changed.notify_all()

    def overran(self) -> None:
        """Note that the script had no turn for a request."""
        with self._changed:
            self._overrun += 1

    def read(self) -> tuple[Exchange, ...]:
        """All requests until now."""
        with self._changed:
            return tuple(self._exchanges)

    def statistics(self) -> LLMStatistics:
        """Counts of now."""
        with self._changed:
            taken = [one for one in self._exchanges if one.path != "/models"]
            return LLMStatistics(
                requests=len(taken) - self._overrun,
                injected=dict(sorted(Counter(one.trouble for one in taken if one.trouble).items())),
                overrun=self._overrun,
                left=sum(one.outcome is Outcome.LEFT for one in taken),
            )

    def wait_requests(self, count: int, deadline_s: float) -> tuple[Exchange, ...]:
        """Block until so many requests have come.

        Raises:
            NotMeasured: they did not within `deadline_s` seconds.
        """
        end = monotonic() + deadline_s
        with self._changed:
            while len(self._exchanges) < count:
                if not self._changed.wait(end - monotonic()) and monotonic() >= end:
                    raise NotMeasured(f"{len(self._exchanges)} of {count} requests came within {deadline_s} s")
            return tuple(self._exchanges)
