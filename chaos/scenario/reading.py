"""Check a parsed TOML table against fields; collect every problem with its line.

The one place where shapes meet lines. Values that are wrong are left out of the result, so that the rest can still
be checked; the caller must look at `problems` before it uses the result. Read `loader.py` next.
"""

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cached_property
from typing import Any, final

from chaos.scenario.positions import Place
from chaos.scenario.problems import Problem, shown
from chaos.scenario.shapes import Field, Mismatch, Table, Tables

__all__ = ["Reader"]


_ALMOST = 0.8  # how like each other two keys are of which one may be meant though the other has a home elsewhere


@final
class Reader:
    """Reads the tables of one file.

    Args:
        file: as the user named it.
        locate: says where everything stands, by `positions.locate`; asked only when something is wrong.
        homes: for each known key, the table that it belongs in ("" = top level), for keys in the wrong table.
    """

    def __init__(self, file: str, locate: Callable[[], Mapping[Place, int]], homes: Mapping[str, str]) -> None:
        self.file, self.homes = file, homes
        self._locate = locate
        self.problems: list[Problem] = []
        self._wrong: list[Place] = []

    @cached_property
    def _lines(self) -> Mapping[Place, int]:
        return self._locate()

    def report(self, place: Place, message: str, hint: str = "") -> None:
        """Note what is wrong with right values together, at `place` or at the nearest place around it that has a line.

        Where something at or below `place` is wrong by itself, this may come of that, and is not told.
        """
        if not any(wrong[: len(place)] == place for wrong in self._wrong):
            self._note(place, message, hint)

    def _note(self, place: Place, message: str, hint: str = "") -> None:
        self._wrong.append(place)
        known = next(place[:size] for size in range(len(place), -1, -1) if place[:size] in self._lines)
        key = _dotted(place)
        self.problems.append(Problem(file=self.file, line=self._lines[known], key=key, message=message, hint=hint))

    def table(self, raw: object, place: Place, fields: Sequence[Field]) -> dict[str, Any]:
        """The typed values of the keys that are there and right."""
        if not isinstance(raw, dict):
            name = place[-1] if place else "document"
            self._note(place, f"expected a table, got {shown(raw)}", f"write [{name}] and its keys below it")
            return {}
        known = {field.key: field for field in fields}
        for key in raw:
            if key not in known:
                self._note((*place, key), "unknown key", self._suggest(key, place, list(known)))
        for field in fields:
            if field.required and field.key not in raw:
                self._note(place, f'"{field.key}" is missing', f"add {field.example}")
        return {
            key: value
            for key, field in known.items()
            if key in raw and (value := self._value(raw[key], (*place, key), field)) is not None
        }

    def _value(self, raw: object, place: Place, field: Field) -> Any:
        shape = field.shape
        if isinstance(shape, Table):
            return self.table(raw, place, shape.fields)
        if isinstance(shape, Tables):
            return self._tables(raw, place, shape.fields)
        try:
            return shape.parse(raw)
        except Mismatch as mismatch:
            hint = (
                mismatch.hint
                or _listed(field.key, mismatch, shape.schema)
                or _near(mismatch.value, shape.schema)
                or _example(field)
            )
            self._note((*place, *mismatch.inside), f"expected {mismatch.expected}, got {shown(mismatch.value)}", hint)
            return None

    def _tables(self, raw: object, place: Place, fields: Sequence[Field]) -> list[dict[str, Any]] | None:
        if not isinstance(raw, list):
            self._note(place, f"expected an array of tables, got {shown(raw)}", f"write [[{place[-1]}]]")
            return None
        return [self.table(element, (*place, index), fields) for index, element in enumerate(raw)]

    def _suggest(self, key: str, place: Place, known: list[str]) -> str:
        if key in self.homes and self.homes[key] != _dotted(place):
            home = self.homes[key]
            move = f"move it below [{home}]" if home else "move it to the top of the file, above the first [table]"
            close = get_close_matches(key, known, n=1, cutoff=_ALMOST)
            return f'{move}, or write "{close[0]}" here' if close else move
        close = get_close_matches(key, known, n=1)
        return f'did you mean "{close[0]}"?' if close else f"known keys here: {', '.join(known)}"


def _listed(key: str, mismatch: Mismatch, schema: Mapping[str, Any]) -> str:
    """How one name is written where a list of names is wanted."""
    if mismatch.inside or not isinstance(mismatch.value, str) or schema.get("type") != "array":
        return ""
    return f"write it as a list: {key} = [{shown(mismatch.value)}]"


def _near(value: object, schema: Mapping[str, Any]) -> str:
    """The name that was probably meant, where a name had to be chosen."""
    one = schema.get("items", schema)
    names = one.get("enum") or one.get("anyOf", [{}])[0].get("enum") or []
    close = get_close_matches(value, names, n=1) if isinstance(value, str) else []
    return f'did you mean "{close[0]}"?' if close else ""


def _example(field: Field) -> str:
    return f"write it like {field.example}" if field.example else "`chaos schema` prints the format"


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
