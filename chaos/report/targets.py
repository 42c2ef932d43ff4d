"""Targets in replay files: names and command lines, never code.

Read `replay.py` and `live_replay.py` for the files.
"""

from typing import Any

from chaos.child.target import CallableTarget, CommandTarget, PythonTarget, Target
from chaos.errors import UsageError
from chaos.report.plain import from_plain, to_plain

__all__ = ["target_data", "target_from"]


def target_data(target: Target | None) -> Any:
    """A target as plain data; of a test's function only its name."""
    if target is None:
        return None
    if isinstance(target, CallableTarget):
        return {"kind": "callable", "name": getattr(target.function, "__qualname__", repr(target.function))}
    kind = "python" if isinstance(target, PythonTarget) else "commands"
    return {"kind": kind, **to_plain(target)}


def target_from(data: Any, place: str, origin: str) -> Target | None:
    """A target from plain data.

    Args:
        data: what `target_data` made.
        place: where it stands, for errors.
        origin: the test that it came from, for errors.

    Raises:
        UsageError: it is damaged, or a function inside a test.
    """
    if data is None:
        return None
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind == "python":
        return from_plain(PythonTarget, data, place)
    if kind == "commands":
        return from_plain(CommandTarget, data, place)
    if kind == "callable":
        where = f" ({origin})" if origin else ""
        raise UsageError(f"{place} is a function inside a test{where}", "run that test again to replay the finding")
    raise UsageError(f"{place} has the unknown kind {kind!r}", "the file is damaged")
