"""One target broken on purpose for each oracle, and its sound twin: the harness must tell them apart.

`broken_*` must be caught by the oracle it is named after, `sound_*` must pass all of them.
"""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

Ack = Callable[[object], None]


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def _read_number(path: Path) -> int:
    return int(path.read_text())


# recovers: start-up must return


def setup_number(disk: Path) -> None:
    (disk / "number").write_text("0")


def broken_recovers(disk: Path, ack: Ack) -> None:
    for _ in range(3):
        number = recover_number(disk) + 1
        (disk / "number").write_text(str(number))
        ack(number)


def sound_recovers(disk: Path, ack: Ack) -> None:
    for _ in range(3):
        number = recover_number(disk) + 1
        _replace(disk / "number", str(number))
        ack(number)


def recover_number(disk: Path) -> int:
    return _read_number(disk / "number")


# atomic: both accounts move together, or neither


def setup_accounts(disk: Path) -> None:
    (disk / "from").write_text("100")
    (disk / "to").write_text("0")
    (disk / "accounts").write_text("100 0")


def broken_atomic(disk: Path, ack: Ack) -> None:
    _replace(disk / "from", "60")
    _replace(disk / "to", "40")
    ack("moved 40")


def recover_two_files(disk: Path) -> dict[str, int]:
    return {"from": _read_number(disk / "from"), "to": _read_number(disk / "to")}


def sound_atomic(disk: Path, ack: Ack) -> None:
    _replace(disk / "accounts", "60 40")
    ack("moved 40")


def recover_one_file(disk: Path) -> dict[str, int]:
    source, destination = (disk / "accounts").read_text().split()
    return {"from": int(source), "to": int(destination)}


# durable: acknowledged means on disk


def broken_durable(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        ack(number)
        _replace(disk / "number", str(number))


def sound_durable(disk: Path, ack: Ack) -> None:
    for number in range(1, 4):
        _replace(disk / "number", str(number))
        ack(number)


# resumable: going on after a crash repeats nothing and ends the same


def setup_journal(disk: Path) -> None:
    (disk / "journal").write_text("")


def recover_journal(disk: Path) -> list[str]:
    content = (disk / "journal").read_text()
    return content[: content.rfind("\n") + 1].splitlines()


def broken_resumable(disk: Path, ack: Ack) -> None:
    _append_from(disk, ack, start=0)


def sound_resumable(disk: Path, ack: Ack) -> None:
    whole = recover_journal(disk)
    _replace(disk / "journal", "".join(line + "\n" for line in whole))
    _append_from(disk, ack, start=len(whole))


def _append_from(disk: Path, ack: Ack, *, start: int) -> None:
    for number in range(start, 3):
        with (disk / "journal").open("a") as file:
            file.write(f"step {number}\n")
        ack(number)


# finite: no NaN gets onto the disk


def setup_mean(disk: Path) -> None:
    (disk / "mean.json").write_text('{"mean": 0.0}')


def recover_mean(disk: Path) -> dict[str, float]:
    return json.loads((disk / "mean.json").read_text())


def broken_finite(disk: Path, ack: Ack) -> None:
    for losses in ([1.0, 2.0], [float("inf"), float("-inf")]):
        _replace(disk / "mean.json", json.dumps({"mean": sum(losses) / len(losses)}))
        ack(len(losses))


def sound_finite(disk: Path, ack: Ack) -> None:
    for losses in ([1.0, 2.0], [3.0, 4.0]):
        _replace(disk / "mean.json", json.dumps({"mean": sum(losses) / len(losses)}, allow_nan=False))
        ack(sum(losses))


# clean: a crash leaves nothing behind that nobody will ever remove


def broken_clean(disk: Path, ack: Ack) -> None:
    for number in range(1, 3):
        handle, name = tempfile.mkstemp(dir=disk, prefix="number-")
        with os.fdopen(handle, "w") as file:
            file.write(str(number))
        Path(name).replace(disk / "number")
        ack(number)


def sound_clean(disk: Path, ack: Ack) -> None:
    for number in range(1, 3):
        _replace(disk / "number", str(number))
        ack(number)


def recover_number_and_clean(disk: Path) -> int:
    for leftover in disk.glob("*.tmp"):
        leftover.unlink()
    return _read_number(disk / "number")


# terminates: fed the same again and again, the program must give up


def broken_terminates(disk: Path, ack: Ack) -> None:
    _insist(disk, ack, rounds=9)


def sound_terminates(disk: Path, ack: Ack) -> None:
    _insist(disk, ack, rounds=3)


def _insist(disk: Path, ack: Ack, rounds: int) -> None:
    for attempt in range(1, rounds + 1):
        ack(attempt)
        try:
            _replace(disk / "number", "1")
        except OSError:
            (disk / "number.tmp").unlink(missing_ok=True)
        else:
            return


def recover_something(disk: Path) -> bool:
    return recover_number(disk) in (0, 1)


# bounded: a log that is started anew does not grow without end


def setup_log(disk: Path) -> None:
    (disk / "log").write_text("")


def broken_bounded(disk: Path, ack: Ack) -> None:
    _log(disk, ack, most_bytes=1 << 30)


def sound_bounded(disk: Path, ack: Ack) -> None:
    _log(disk, ack, most_bytes=1000)


def _log(disk: Path, ack: Ack, most_bytes: int) -> None:
    for number in range(1, 5):
        entry = f"{number} ".ljust(400)
        log = disk / "log"
        _replace(log, entry if log.stat().st_size + len(entry) > most_bytes else log.read_text() + entry)
        ack(number)


def recover_last(disk: Path) -> int:
    return int((disk / "log").read_text().split()[-1]) if (disk / "log").stat().st_size else 0
