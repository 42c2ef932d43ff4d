"""The tables `[[fault]]` of a scenario file, for every kind that has them; they become `Fault`s.

Read `chaos/faults/fault.py` for what each key means, `inject.py` next.
"""

from collections.abc import Mapping
from typing import Any

from chaos.errors import UsageError
from chaos.faults.fault import CALLS, MOMENTS, REACHES, Fault, parse_fault
from chaos.scenario.fields.pieces import COUNT, DURATION
from chaos.scenario.quantities import SIZE_PATTERN, size_bytes
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Mismatch, Tables, Value, choice, measured, text

__all__ = ["FAULT", "fault_from", "faults_from"]

_CALL = choice(CALLS)


def _parse_call(value: object) -> Any:
    if isinstance(value, list) and value:
        return tuple(_CALL.parse(one) for one in value)
    return _CALL.parse(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("a whole number from 0")
    return value


def _chance(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1:
        raise ValueError("a number above 0, at most 1")
    return float(value)


def _true(value: object) -> bool:
    if value is not True:
        raise ValueError("true")
    return True


def _bytes(value: object) -> int:
    if isinstance(value, str):
        return size_bytes(value)
    try:
        return _whole(value)
    except ValueError:
        raise ValueError('a number of bytes, or a size such as "64kB"') from None


def _short(value: object) -> int | str:
    if value == "half":
        return "half"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError('a number of bytes from 1, or "half"')
    return value


_WHOLE = {"type": "integer", "minimum": 0}
_TRUE = measured({"const": True}, _true)
_BYTES = measured({"anyOf": [_WHOLE, {"type": "string", "pattern": SIZE_PATTERN}]}, _bytes)
_SHORT = measured({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "half"}]}, _short)
_CALLS = Value(
    schema={"anyOf": [dict(_CALL.schema), {"type": "array", "items": dict(_CALL.schema), "minItems": 1}]},
    parse=_parse_call,
)

_FIELDS = (
    Field(key="call", shape=_CALLS, about="which calls: families or system calls; any that takes effect when left out"),
    Field(key="path", shape=text("a glob pattern", r"^[^\x00]+$"), about="glob that one of the call's paths must fit"),
    Field(key="process", shape=measured(_WHOLE, _whole), about="number of the process that must make it, from 0"),
    Field(key="nth", shape=COUNT, about="that matching call; with no choice at all: each in turn, in a run of its own"),
    Field(key="every", shape=COUNT, about="every so-manieth matching call"),
    Field(
        key="probability",
        shape=measured({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, _chance),
        about="each matching call with that chance, drawn from the seed",
    ),
    Field(key="onwards", shape=_TRUE, about="that call and all matching ones after it"),
    Field(key="after_ack", shape=measured(_WHOLE, _whole), about="only calls after so many acknowledgements count"),
    Field(
        key="errno",
        shape=text('the name of an error, such as "ENOSPC"', r"^E[A-Z0-9]+$"),
        about="the call has no effect and fails; a sync that fails drops the pages that it should have written",
    ),
    Field(key="short", shape=_SHORT, about='only so many bytes of a write are written; "half" for half of them'),
    Field(key="delay", shape=DURATION, about="the caller waits first"),
    Field(key="hang", shape=_TRUE, about="the call never returns"),
    Field(key="pause", shape=DURATION, about="the whole process stands still before the call"),
    Field(key="lie", shape=_TRUE, about="a sync returns 0 and syncs nothing"),
    Field(key="full", shape=_BYTES, about="so many bytes can be written in all, then the disk is full"),
    Field(key="kill", shape=choice(MOMENTS), about="SIGKILL before, inside or after the call"),
    Field(key="bytes", shape=_BYTES, about="where a write that is killed inside is cut; half of it when left out"),
    Field(key="reach", shape=choice(REACHES), about="who is killed: all processes of the program, or the one"),
)

FAULT = Field(
    key="fault",
    shape=Tables(fields=_FIELDS),
    about="what is done to which calls; exactly one of errno, short, delay, hang, pause, lie, full, kill",
    required=True,
    example="[[fault]]",
)


def faults_from(reader: Reader, tables: list[dict[str, Any]], key: str = "fault") -> tuple[Fault, ...]:
    """The faults of a file, which stand below `key`; what a table says that makes no sense is reported at its line."""
    found = []
    for number, table in enumerate(tables):
        if not table or any(problem.key.startswith(f"{key}[{number}]") for problem in reader.problems):
            if not table:
                reader.report((key, number), "it does nothing", 'say what is done, such as errno = "ENOSPC"')
            continue
        try:
            found.append(parse_fault(table))
        except UsageError as error:
            reader.report((key, number), error.message.removeprefix("fault: "), error.hint)
    return tuple(found)


def fault_from(table: Mapping[str, Any]) -> Fault:
    """A fault from values as they stand in a scenario file ("200ms", "64KB"), for other doors.

    Raises:
        UsageError: what is wrong with it.
    """
    shapes = {field.key: field.shape for field in _FIELDS}
    typed = {}
    for key, value in table.items():
        shape = shapes.get(key)
        try:
            given = list(value) if isinstance(value, tuple) else value
            typed[key] = shape.parse(given) if isinstance(shape, Value) else value
        except Mismatch as mismatch:
            raise UsageError(
                f"fault: {key}: expected {mismatch.expected}, got {mismatch.value!r}", mismatch.hint
            ) from None
    return parse_fault(typed)
