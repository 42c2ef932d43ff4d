"""Reading a fleet's chronicle: how far the workers are while it runs, and afterwards all that was stated, in order.

While it runs only counts are kept, so the harness's memory does not grow with the run. Read `chaos/child/chronicle.py`
for the format.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import final

from chaos.child.chronicle import HARNESS, parse_line
from chaos.history import Said

__all__ = ["Told", "process_of", "statements", "told"]

_CHUNK_BYTES = 1 << 18
# What a worker says of work that it has done; that it began, was called or failed is no progress.
_PROGRESS = re.compile(rb"^(\d+) \d+ [a)+.:-]", re.MULTILINE)


@final
class Told:
    """How much each worker has stated so far; reads on from where it was.

    Attributes:
        counts: statements of progress, by worker.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._rest = b""
        self.counts: Counter[int] = Counter()

    def advance(self) -> None:
        """Read what is new."""
        while chunk := os.read(self._file, _CHUNK_BYTES):
            whole, _, self._rest = (self._rest + chunk).rpartition(b"\n")
            self.counts.update(map(int, _PROGRESS.findall(whole)))

    @property
    def total(self) -> int:
        """Of all workers."""
        return self.counts.total()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def statements(path: str) -> Iterator[tuple[int, int, int, str]]:
    """Every whole statement as (position, worker, life, text), in order; what a kill cut short is passed over."""
    position = 0
    with open(path, "rb") as file:
        for line in file:
            if line != b"\n":
                parsed = parse_line(line.rstrip(b"\n"))
                if parsed is not None:
                    yield (position, *parsed)
            position += len(line)


def process_of(worker: int, life: int, workers: int) -> int:
    """One number for each life of each worker: a worker that died is another process when it comes back [Jepsen]."""
    return worker + life * workers


def told(path: str, workers: int) -> Iterator[Said]:
    """What the workers said, each life as a process of its own; who ends inside a critical section leaves it by that.

    It leaves with the last that it said: its end came later, and how much later is not known.
    """
    ends = _ends_inside(path)
    for position, worker, life, text in statements(path):
        if worker == HARNESS:
            continue
        process = process_of(worker, life, workers)
        yield Said(position, process, text)
        if ends.get((worker, life), (-1, []))[0] == position:
            yield Said(position, process, "x")


def _ends_inside(path: str) -> dict[tuple[int, int], tuple[int, list[str]]]:
    """The lives that ended inside sections: where they spoke last, and which sections."""
    found: dict[tuple[int, int], tuple[int, list[str]]] = {}
    for position, worker, life, text in statements(path):
        if worker == HARNESS:
            continue
        sections = found.pop((worker, life), (0, []))[1]
        if text[:1] == "+":
            sections.append(text[1:])
        elif text[:1] == "-" and text[1:] in sections:
            sections.remove(text[1:])
        if sections:
            found[worker, life] = position, sections
    return found
