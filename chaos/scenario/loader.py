"""From a TOML file to a `Scenario`, or to all that is wrong with the file.

A scenario file is data: loading it imports and runs nothing. Read `layout.py` for the format, `discovery.py` for
which files are loaded, `fields/` for each kind.
"""

import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from chaos.observations import Damage
from chaos.scenario.layout import COMMON, DEFAULT_KIND, KINDS
from chaos.scenario.model import Expectation, Profile, Scenario
from chaos.scenario.positions import locate
from chaos.scenario.problems import Problem, ScenarioError
from chaos.scenario.reading import Reader
from chaos.scenario.shapes import Field, Table, Tables
from chaos.scenario.toml import TOMLDecodeError, parse_toml

__all__ = ["load", "parse"]


def load(path: str | os.PathLike[str]) -> Scenario:
    """Read the scenario file at `path`.

    Raises:
        ScenarioError: with every problem of the file.
    """
    name = os.fspath(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise _whole_file(name, f"can't be read: {reason}", "check the path and its permissions") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problem = Problem(file=name, line=line, key="", message="not UTF-8 text", hint="save the file as UTF-8")
        raise ScenarioError([problem]) from None
    return parse(text, file=name, folder=Path(path).resolve().parent)


def parse(text: str, *, file: str, folder: Path) -> Scenario:
    """Read a scenario from `text`.

    Args:
        text: the TOML document.
        file: what to call it in messages.
        folder: where `module:object` targets are looked for first.

    Raises:
        ScenarioError: with every problem of the text.
    """
    text = text.replace("\r\n", "\n")
    try:
        raw = parse_toml(text)
    except TOMLDecodeError as error:
        raise ScenarioError([_syntax_problem(text, file, str(error))]) from None
    except RecursionError:
        raise _whole_file(file, "nested too deeply", "write it flat") from None
    name = raw.get("kind", DEFAULT_KIND)
    kind = KINDS.get(name if isinstance(name, str) else "", KINDS[DEFAULT_KIND])
    fields = (*COMMON, *kind.fields)
    reader = Reader(file, partial(locate, text), _homes(fields))
    values = reader.table(raw, (), fields)
    drive = kind.build(reader, values, folder)
    if reader.problems or drive is None:
        raise ScenarioError(sorted(reader.problems, key=lambda problem: problem.line))
    return Scenario(
        name=values["name"],
        description=values.get("description", ""),
        drive=drive,
        budget=values.get("budget"),
        profile=Profile(values.get("profile", Profile.QUICK)),
        expect=tuple(_expectation(entry) for entry in values.get("expect", [])),
        origin=file,
    )


def _expectation(entry: Mapping[str, Any]) -> Expectation:
    damage = entry.get("damage")
    return Expectation(
        oracle=entry["oracle"],
        model=entry.get("model"),
        damage=Damage(damage) if damage is not None else None,
        source=entry.get("source"),
    )


def _homes(fields: Sequence[Field], table: str = "") -> dict[str, str]:
    """In which table each key belongs; the outermost wins."""
    homes: dict[str, str] = {}
    for field in fields:
        if isinstance(field.shape, (Table, Tables)):
            inner = f"{table}.{field.key}" if table else field.key
            for key, home in _homes(field.shape.fields, inner).items():
                homes.setdefault(key, home)
    return homes | {field.key: table for field in fields}


def _syntax_problem(text: str, file: str, message: str) -> Problem:
    found = re.search(r" \(at line (\d+), column \d+\)$", message)
    line = int(found.group(1)) if found else text.count("\n") + 1
    what = message[: found.start()] if found else message.removesuffix(" (at end of document)")
    return Problem(
        file=file, line=line, key="", message=f"not valid TOML: {what}", hint="mend the line, or see https://toml.io"
    )


def _whole_file(file: str, message: str, hint: str) -> ScenarioError:
    return ScenarioError([Problem(file=file, line=0, key="", message=message, hint=hint)])
