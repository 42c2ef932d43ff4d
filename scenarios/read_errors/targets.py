"""A file that can't be read just now is not a file that is not there: whoever mixes them up saves over everything."""

import json
from collections.abc import Callable
from pathlib import Path

ITEMS = "items.json"
Ack = Callable[[object], None]


def setup(disk: Path) -> None:
    (disk / ITEMS).write_text(json.dumps(["first"]))


def recover(disk: Path) -> list[str]:
    return list(json.loads((disk / ITEMS).read_text()))


def starting_afresh(disk: Path, ack: Ack) -> None:
    _add(disk, ack, OSError)


def careful(disk: Path, ack: Ack) -> None:
    _add(disk, ack, FileNotFoundError)


def _add(disk: Path, ack: Ack, missing: type[OSError]) -> None:
    for name in ("second", "third"):
        try:
            items = recover(disk)
        except missing:
            items = []
        temporary = disk / "items.tmp"
        temporary.write_text(json.dumps([*items, name]))
        temporary.replace(disk / ITEMS)
        ack(name)
