"""The JSON schema of a scenario file, read off the same table as the loader.

`scenario.schema.json` beside this module is its printed form, for editors; a test holds the two equal. What a
schema can't say, the loader checks alone: that an environment has a command to go to, that an isolation suits the
target, that names are unique among files. Read `layout.py` next.
"""

from collections.abc import Sequence
from typing import Any

from chaos.scenario.layout import COMMON, KINDS
from chaos.scenario.shapes import Field, Shape, Table, Tables

__all__ = ["json_schema"]


def json_schema() -> dict[str, Any]:
    """The schema, in draft 2020-12."""
    (fields,) = KINDS.values()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "chaos scenario",
        "description": "What to hurt, how, what must hold, and what is expected to be found.",
        **_table((*COMMON, *fields)),
    }


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
