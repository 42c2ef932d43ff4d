"""The JSON schema of a scenario file, read off the same table as the loader.

`scenario.schema.json` beside this module is its printed form, for editors; a test holds the two equal. What a
schema can't say, the loader checks alone: that an environment has a command to go to, that an isolation suits the
target, that names are unique among files. Read `layout.py` next.
"""

from collections.abc import Sequence
from typing import Any

from chaos.scenario.layout import COMMON, DEFAULT_KIND, KINDS
from chaos.scenario.shapes import Field, Shape, Table, Tables

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """The schema, in draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "chaos scenario",
        "description": "What to hurt, how, what must hold, and what is expected to be found.",
        "oneOf": [_kind(name) for name in KINDS],
    }


def _kind(name: str) -> dict[str, Any]:
    """The table of one kind; only the default one need not be named."""
    table = _table((*COMMON, *KINDS[name].fields))
    table["properties"]["kind"]["enum"] = [name]
    if name != DEFAULT_KIND:
        table["required"].append("kind")
    return {"title": name, **table, **KINDS[name].rule}


def _table(fields: Sequence[Field]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {field.key: {"description": field.about, **_shape(field.shape)} for field in fields},
        "required": [field.key for field in fields if field.required],
        "additionalProperties": False,
    }


def _shape(shape: Shape) -> dict[str, Any]:
    if isinstance(shape, Table):
        return _table(shape.fields)
    if isinstance(shape, Tables):
        return {"type": "array", "items": _table(shape.fields)}
    return dict(shape.schema)
