"""Everything that can be seen of a store's loops while they run: a live page, and events when something is unusual.

    with live_server(store) as server:
        print(server.url)

    watch = Watch(store)
    watch.tell()  # now and then: an event for each thing that has begun to be unusual

Read `overview.py` and `telemetry/anomalies.py` for what counts as unusual, `telemetry/live.py` for the page.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, final

from pytest_guardrails.reliability.loops.checking import loops_sound
from pytest_guardrails.reliability.loops.overview import anomalies, overview
from pytest_guardrails.reliability.loops.recovery import RecoveryManager
from pytest_guardrails.reliability.state import StateStore
from pytest_guardrails.reliability.telemetry import Draft, Event, EventLog, Metrics, Severity
from pytest_guardrails.reliability.telemetry.anomalies import Anomaly
from pytest_guardrails.reliability.telemetry.checks import Check, HealthChecks, disk_room, store_answers
from pytest_guardrails.reliability.telemetry.formats import known_format
from pytest_guardrails.reliability.telemetry.live import LiveServer
from pytest_guardrails.reliability.telemetry.watching import MetricsWatcher

__all__ = ["Watch", "live_server"]

_FORMAT = 1
_TOLD = "anomalies-told"


@final
class Watch:
    """Looks at loops and metrics.

    Args:
        store: whose.
        expected: by loop, how many iterations are usual; what its earlier runs took, if it is not said.
        every_s: how often metrics are looked at, at most, in seconds.
    """

    def __init__(self, store: StateStore, *, expected: Mapping[str, int] | None = None, every_s: float = 10.0) -> None:
        self._store = store
        self._expected = dict(expected or {})
        self._metrics = MetricsWatcher(Metrics(store), every_s=every_s)
        self._events = EventLog(store)

    def look(self) -> list[Anomaly]:
        """What is unusual now."""
        return [*anomalies(self._store, self._expected), *self._metrics.look()]

    def tell(self) -> tuple[Event, ...]:
        """Write an event for what is unusual now and was not when it was told the last time, by whichever process."""
        now = {f"{found.kind.value}: {found.name}": found for found in self.look()}
        with self._store.transaction() as transaction:
            told = known_format(transaction.get(_TOLD) or {}, _FORMAT, "what was told of anomalies")
            new = [found for name, found in now.items() if name not in told.get("names", ())]
            if sorted(now) != list(told.get("names", ())):
                transaction.put(_TOLD, {**told, "format": _FORMAT, "names": sorted(now)}, keep_versions=1)
            return self._events.append(transaction, *map(_draft, new))


def live_server(
    store: StateStore, *, port: int = 0, expected: Mapping[str, int] | None = None, checks: Sequence[Check] = ()
) -> LiveServer:
    """A page on loopback with the store's loops, recoveries, anomalies, events and metrics; not started yet.

    Args:
        store: whose.
        port: 0 for any that is free.
        expected: see `Watch`.
        checks: for /livez and /readyz, besides the store's own, such as `loop_advances`.
    """
    watch, manager = Watch(store, expected=expected), RecoveryManager(store)
    views = {
        "Loops": lambda: overview(store),
        "Unusual": lambda: [_row(found) for found in watch.look()],
        "Open recoveries": lambda: [
            {"item": found.item, "state": found.state.value, "class": found.error_class.value, "error": found.error}
            for found in manager.open_items()
        ],
    }
    folder = os.path.dirname(getattr(store.backend, "path", "")) or os.curdir
    asked = [store_answers(store), disk_room(folder), loops_sound(store), *checks]
    return LiveServer(store, views=views, checks=HealthChecks(asked), port=port)


def _row(found: Anomaly) -> dict[str, Any]:
    return {"what": found.kind.value, "where": found.name, "score": round(found.score, 2), "said": found.message}


def _draft(found: Anomaly) -> Draft:
    detail = {"kind": found.kind.value, "name": found.name, "score": found.score}
    return Draft(
        source="watch",
        kind="anomaly.found",
        severity=Severity.WARNING,
        message=f"{found.kind.value}: {found.message}",
        detail=detail,
    )
