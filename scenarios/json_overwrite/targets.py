"""A counter kept by `json.dump` straight over the old file: the way most small programs lose their state."""

import json
from collections.abc import Callable
from pathlib import Path

STATE = "state.json"


def setup(disk: Path) -> None:
    (disk / STATE).write_text(json.dumps({"count": 0, "log": []}))


def workload(disk: Path, ack: Callable[[object], None]) -> None:
    for _ in range(3):
        state = recover(disk)
        state["count"] += 1
        state["log"].append("step " + "x" * 40)
        with (disk / STATE).open("w") as file:
            json.dump(state, file)
        ack(state["count"])


def recover(disk: Path) -> dict:
    with (disk / STATE).open() as file:
        return json.load(file)
