"""Three processes append to one log, one `write` a line, each line synced before it is acknowledged."""

import os
from collections.abc import Callable
from pathlib import Path

LOG = "log.txt"
PROCESSES, LINES = 3, 4


def setup(disk: Path) -> None:
    (disk / LOG).write_bytes(b"")


def workload(disk: Path, ack: Callable[[object], None]) -> None:
    children = [_spawn(disk, ack, process) for process in range(PROCESSES)]
    for child in children:
        _, status = os.waitpid(child, 0)
        if status:
            raise RuntimeError(f"an appender ended with status {status}")


def recover(disk: Path) -> list[str]:
    content = (disk / LOG).read_bytes()
    whole = content[: content.rfind(b"\n") + 1]  # a line without its end was never acknowledged
    return [line.decode() for line in whole.splitlines()]


def recover_and_cut(disk: Path) -> list[str]:
    """As `recover`, and cuts off what a crash has left of a last line, so that nothing is appended to it."""
    lines = recover(disk)
    log = os.open(disk / LOG, os.O_WRONLY)
    os.ftruncate(log, sum(len(line) + 1 for line in lines))
    os.fsync(log)
    os.close(log)
    return lines


def check(value: list[str], acked: list[str]) -> None:
    missing = sorted(set(acked) - set(value))
    assert not missing, f"acknowledged lines are gone: {missing}"
    damaged = [line for line in value if not line.startswith("process ")]
    assert not damaged, f"damaged lines: {damaged}"


def _spawn(disk: Path, ack: Callable[[object], None], process: int) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _append_all(disk, ack, process)
            code = 0
        finally:
            os._exit(code)
    return child


def _append_all(disk: Path, ack: Callable[[object], None], process: int) -> None:
    log = os.open(disk / LOG, os.O_WRONLY | os.O_APPEND)
    for number in range(LINES):
        line = f"process {process} line {number}"
        os.write(log, line.encode() + b"\n")
        os.fsync(log)
        ack(line)
