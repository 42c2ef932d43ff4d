"""From how a fleet went to what the oracles judge, and to the lines that people read about it."""

import json
import re
from collections import deque
from functools import partial
from typing import Any

from chaos.child import values
from chaos.child.chronicle import HARNESS
from chaos.fleet.settings import Course
from chaos.fleet.telling import statements, told
from chaos.observations import Bounds
from chaos.oracles.fleets import Aftermath

__all__ = ["aftermath_of", "timeline"]

_DIGITS = re.compile(r"\d+")
_BEFORE, _AFTER = 8, 10  # lines shown around the statement that decides
_LINE = 110


def aftermath_of(course: Course, bounds: Bounds, *, calm: Course | None = None) -> Aftermath:
    """What a fleet left, as its oracles see it.

    Args:
        course: how it went.
        bounds: what may not be exceeded.
        calm: how the same fleet went with no faults, all of it returning: the files that it left are no leftovers.
    """
    workers = course.plan.workers
    return Aftermath(
        said=partial(told, course.chronicle, workers),
        recovery=course.recovery,
        initial=course.initial,
        interrupted=sum(one.lives - one.returned for one in course.crew),
        stuck={worker: course.crew[worker].last_failure for worker in course.stuck},
        unfinished={worker: course.crew[worker].last_failure for worker in course.unfinished},
        strays=course.strays,
        left=None if calm is None else _left(course, calm),
        peaks=tuple(one.peak_bytes for one in course.crew),
        sizes=course.sizes,
        bounds=bounds,
    )


def _left(course: Course, calm: Course) -> tuple[str, ...]:
    usual = {_DIGITS.sub("#", name) for name in calm.sizes}
    return tuple(sorted(name for name in course.sizes if _DIGITS.sub("#", name) not in usual))


def timeline(chronicle: str, position: int | None) -> tuple[str, ...]:
    """What was stated around a position, one line each; the end of everything when there is none."""
    before: deque[str] = deque(maxlen=_BEFORE if position is not None else _BEFORE + _AFTER)
    lines: list[str] = []
    for where, worker, life, text in statements(chronicle):
        if position is None or where < position:
            before.append(_line(worker, life, text))
        elif where == position:
            lines = [*before, f"{_line(worker, life, text)}   <- this one"]
        else:
            lines.append(_line(worker, life, text))
            if len(lines) >= _BEFORE + _AFTER:
                break
    return tuple(lines or before)


def _line(worker: int, life: int, text: str) -> str:
    if worker == HARNESS:
        return _shortened(f"    ------  {_harness_words(text)}")
    return _shortened(f"    {f'{worker}.{life}':>6}  {_words(text)}")


def _harness_words(text: str) -> str:
    what = json.loads(text[1:])
    if text[:1] == "~":
        return f"worker {what['worker']} {what['how']}"
    who = what.get("workers")
    return str(what["what"]) + (f" worker {', '.join(map(str, who))}" if who else "")


def _words(text: str) -> str:
    kind, rest = text[:1], text[1:]
    if kind == "^":
        return f"begins, process {rest}"
    if kind == "!":
        report = json.loads(rest)
        return f"fails: {report.get('error_type', '')}: {report.get('error', '')}"
    value: Any = values.decode(rest) if kind != ":" else rest
    if kind == "(":
        number, name, argument, key = value
        arguments = ", ".join(repr(one) for one in (key, argument) if one is not None)
        return f"call {number}: {name}({arguments})"
    if kind in ")/?":
        number, result = value
        return f"call {number}: {'-> ' + repr(result) if kind == ')' else 'failed' if kind == '/' else 'unknown'}"
    words = {"a": "acknowledges", "+": "enters", "-": "leaves", ".": "returns", ":": "has done command"}
    return f"{words.get(kind, kind)} {value!r}" if value != "" else words.get(kind, kind)


def _shortened(line: str) -> str:
    return line if len(line) <= _LINE else line[: _LINE - 3] + "..."
