"""Every stored record says in which form it was written, so that an older program does not misread a newer one's."""

from collections.abc import Mapping
from typing import Any

from pytest_guardrails.errors import NewerFormatError

__all__ = ["known_format"]


def known_format(plain: Mapping[str, Any], newest: int, what: str) -> Mapping[str, Any]:
    """The record, if this program knows its form; one without a number is of the first.

    Args:
        plain: the record as it was stored.
        newest: the newest form that this program knows.
        what: names the record for a person.

    Raises:
        NewerFormatError: it does not.
    """
    found = plain.get("format", 1)
    if found > newest:
        raise NewerFormatError(f"{what} has format {found}, and this program knows {newest}: update it")
    return plain
