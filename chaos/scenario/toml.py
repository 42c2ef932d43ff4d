"""The TOML parser of this Python: the standard library's, or `tomli` before 3.11.

Nothing but the choice is made here. Read `positions.py` next.
"""

import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["TOMLDecodeError", "parse_toml"]

TOMLDecodeError = tomllib.TOMLDecodeError


def parse_toml(text: str) -> dict[str, Any]:
    """The document as plain values; raises `TOMLDecodeError`."""
    return tomllib.loads(text)
