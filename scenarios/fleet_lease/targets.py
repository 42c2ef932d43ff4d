"""One writer at a time by a lease, and one that is paused beyond it: by hand, and with the stack's fenced lease."""

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos.child.witness import Witness
from pytest_guardrails.reliability.durability import (
    Fence,
    FencedError,
    Lease,
    LeaseHeldError,
    LeaseLostError,
    write_atomic,
)

_TTL_S = 0.2
_WORK_S = 0.01


def setup(disk: Path) -> None:
    (disk / "count").write_text("0")
    (disk / "lease.json").write_text(json.dumps({"holder": None, "until": 0.0}))


def by_hand(disk: Path, witness: Witness) -> None:
    """Whoever finds the lease run out takes it; a holder that slept beyond its own does not notice, and writes."""
    me = f"{witness.number}.{witness.life}"
    while True:
        if _taken(disk, me):
            with witness.section("writing"), witness.call("add", 1):
                count = int((disk / "count").read_text())
                time.sleep(_WORK_S)
                write_atomic(disk / "count", str(count + 1).encode(), durability="process")
            _given_back(disk, me)
        time.sleep(_WORK_S)


def fenced(disk: Path, witness: Witness) -> None:
    """Reads and writes behind a fence: a holder that slept beyond its lease is refused where the data is."""
    lease, fence = Lease(disk / "lease", ttl_s=_TTL_S), Fence(disk / "fence")
    while True:
        try:
            token = lease.acquire()
        except LeaseHeldError:
            time.sleep(_WORK_S)
            continue
        with witness.call("add", 1) as call:
            try:
                with fence.guard(token):
                    count = int((disk / "count").read_text())
                time.sleep(_WORK_S)
                with fence.guard(token), witness.section("writing"):
                    write_atomic(disk / "count", str(count + 1).encode(), durability="process")
            except FencedError:
                call.failed = True
        try:
            lease.release()
        except LeaseLostError:
            continue
        time.sleep(_WORK_S)


def recover(disk: Path) -> int:
    return int((disk / "count").read_text())


def _taken(disk: Path, me: str) -> bool:
    with _record(disk) as record:
        if record["holder"] is not None and time.monotonic() < record["until"]:
            return False
        record.update(holder=me, until=time.monotonic() + _TTL_S)
        return True


def _given_back(disk: Path, me: str) -> None:
    with _record(disk) as record:
        if record["holder"] == me:
            record.update(holder=None)


@contextmanager
def _record(disk: Path) -> Iterator[dict[str, Any]]:
    with open(disk / "lease.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        record = json.loads((disk / "lease.json").read_text())
        yield record
        write_atomic(disk / "lease.json", json.dumps(record).encode(), durability="process")
