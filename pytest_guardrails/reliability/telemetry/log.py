"""`EventLog`: events, written in the transaction of the change that they report, and read by number.

**Guarantees.** An event is there exactly if its change is: a recovery neither loses nor doubles one. Numbers are dense
and only grow. Room is bounded: the log holds the newest events, and a reader that comes too late is told how many it
missed.
**Does not** send anything anywhere: that is `relay.py`, which nobody has to wait for.
**Threads and processes.** As the store's.

Layout: key `event-head` holds the next number and the capacity; number n lies in the key `event/(n mod capacity)`.
"""

from collections.abc import Iterator
from typing import NamedTuple, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import check_whole
from pytest_guardrails.reliability.state import Incident, StateStore, Transaction
from pytest_guardrails.reliability.telemetry.events import Draft, Event, Severity
from pytest_guardrails.reliability.telemetry.formats import known_format

__all__ = ["Batch", "EventLog"]

_FORMAT = 1
_HEAD = "event-head"
_INCIDENTS = "event-incidents"  # how many of the store's were told
_CAPACITY = 2000  # a day of a busy loop, and small enough for the json backend
_READ_AT_A_TIME = 200


@final
class Batch(NamedTuple):
    """What a reader gets.

    Attributes:
        events: in order.
        position: number of the last event that is behind the reader now.
        missed: events that were overwritten before they were read.
    """

    events: tuple[Event, ...]
    position: int
    missed: int


@final
class EventLog:
    """The events of one store.

    Args:
        store: where they lie.
        capacity: how many are kept; the log's first writer decides.
        clock: for the time of an event.
    """

    def __init__(self, store: StateStore, *, capacity: int = _CAPACITY, clock: Clock | None = None) -> None:
        check_whole("capacity", capacity, 1)
        self.store = store
        self._capacity = capacity
        self._clock = clock or SystemClock()

    def append(self, transaction: Transaction, *drafts: Draft) -> tuple[Event, ...]:
        """Write events into a transaction; they are told when it commits, and never were when it does not.

        Raises:
            JsonRefusedError: a detail can't be stored; names the path to the culprit.
        """
        if not drafts:
            return ()
        head = transaction.get(_HEAD) or {"format": _FORMAT, "next": 1, "capacity": self._capacity}
        known_format(head, _FORMAT, "the event log")
        at, first = self._clock.wall(), int(head["next"])
        events = tuple(
            Event.of(draft, sequence=number, at=at, writer=transaction.id) for number, draft in enumerate(drafts, first)
        )
        for event in events:
            transaction.put(_slot(event.sequence, head["capacity"]), event.plain(), keep_versions=1)
        transaction.put(_HEAD, {**head, "next": first + len(events)}, keep_versions=1)
        return events

    def emit(self, *drafts: Draft) -> tuple[Event, ...]:
        """Write events that report no change of the store, in a transaction of their own."""
        with self.store.transaction() as transaction:
            return self.append(transaction, *drafts)

    def tell_incidents(self) -> tuple[Event, ...]:
        """Write an event for each time that the store was found damaged and restored, unless that was done already."""
        found = self.store.incidents()
        if len(found) <= self.store.get(_INCIDENTS, 0):
            return ()
        with self.store.transaction() as transaction:
            told = transaction.get(_INCIDENTS, 0)
            transaction.put(_INCIDENTS, max(told, len(found)), keep_versions=1)
            return self.append(transaction, *(_incident_draft(incident) for incident in found[told:]))

    def last(self) -> int:
        """Number of the newest event; 0 when there is none."""
        return int((self.store.get(_HEAD) or {"next": 1})["next"]) - 1

    def read(self, after: int, limit: int = _READ_AT_A_TIME) -> Batch:
        """The events that follow a number, oldest first.

        Args:
            after: number of the last event that the reader knows; 0 for all.
            limit: how many at most.
        """
        head = self.store.get(_HEAD)
        if head is None:
            return Batch((), after, 0)
        known_format(head, _FORMAT, "the event log")
        end, capacity = head["next"], head["capacity"]
        begin = max(after + 1, end - capacity)
        events = []
        for number in range(begin, min(end, begin + limit)):
            found = self.store.get(_slot(number, capacity))
            # Read after the head, a slot may hold a newer event already: what it held is missed.
            if found is not None and found["sequence"] == number:
                events.append(Event.parse(found))
        position = min(end, begin + limit) - 1
        if position <= after:
            return Batch((), after, 0)
        return Batch(tuple(events), position, position - after - len(events))

    def newest(self, count: int = _READ_AT_A_TIME) -> tuple[Event, ...]:
        """The last events, oldest first."""
        return self.read(max(0, self.last() - count), count).events

    def __iter__(self) -> Iterator[Event]:
        position = 0
        while (batch := self.read(position)).position > position:
            yield from batch.events
            position = batch.position


def _incident_draft(incident: Incident) -> Draft:
    lost = "nothing could be restored" if incident.lost_commits is None else f"{incident.lost_commits} commits are lost"
    return Draft(
        source="store",
        kind="store.damaged",
        severity=Severity.CRITICAL,
        message=f"{incident.reason}; {lost}; the damaged files are in {incident.quarantine}",
        detail={"restored_version": incident.restored_version, "witnessed_version": incident.witnessed_version},
    )


def _slot(number: int, capacity: int) -> str:
    return f"event/{number % capacity:06d}"
