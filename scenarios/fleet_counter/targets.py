"""Several processes count in one place: a JSON file rewritten by hand, and the stack's store."""

import fcntl
import json
import os
import time
from pathlib import Path

from chaos.child.witness import Witness
from pytest_guardrails.reliability.state import open_store

_PAUSE_S = 0.001


def setup_json(disk: Path) -> None:
    (disk / "count.json").write_text(json.dumps({"count": 0, "notes": "x" * 20_000}))


def unlocked(disk: Path, witness: Witness) -> None:
    """Reads, adds, and replaces the file: whole at every moment, and two who read the same number count once."""
    while True:
        with witness.call("add", 1):
            document = json.loads((disk / "count.json").read_text())
            document["count"] += 1
            fresh = disk / f"count.json.{os.getpid()}"
            fresh.write_text(json.dumps(document))
            fresh.replace(disk / "count.json")
        time.sleep(_PAUSE_S)


def in_place(disk: Path, witness: Witness) -> None:
    """Counts under a lock, and writes over the file: who is killed meanwhile leaves half a document."""
    while True:
        with open(disk / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with witness.call("add", 1):
                document = json.loads((disk / "count.json").read_text())
                document["count"] += 1
                (disk / "count.json").write_text(json.dumps(document))
        time.sleep(_PAUSE_S)


def recover_json(disk: Path) -> int:
    return int(json.loads((disk / "count.json").read_text())["count"])


def setup_store(disk: Path) -> None:
    with open_store(disk / "state") as store:
        store.put("count", 0)


def store(disk: Path, witness: Witness) -> None:
    """The stack's store: read, changed and written in one step, whoever is killed."""
    with open_store(disk / "state") as opened:
        while True:
            with witness.call("add", 1) as call:
                call.result = opened.update("count", lambda count: count + 1)
            time.sleep(_PAUSE_S)


def recover_store(disk: Path) -> int:
    with open_store(disk / "state") as opened:
        return int(opened.get("count"))
