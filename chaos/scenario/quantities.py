"""Durations, sizes and budgets as people write them: "60s", "512MB", 1000.

Pure. Every function takes what TOML or a command line gave and returns the value, or raises `ValueError` whose text
completes "expected ...". Read `layout.py` next.
"""

import math
import re

from chaos.scenario.model import DEPTHS, Budget

__all__ = ["DURATION_PATTERN", "SIZE_PATTERN", "budget", "count_from_1", "depth", "duration_s", "size_bytes"]

# Twelve digits are more than any machine has of either; the bound keeps arithmetic exact and finite.
_NUMBER = r"[0-9]{1,12}(\.[0-9]{1,9})?"
DURATION_PATTERN = rf"^{_NUMBER} ?(ms|s|m|h)$"
SIZE_PATTERN = rf"^{_NUMBER} ?(B|kB|MB|GB|KiB|MiB|GiB)$"

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_DURATION = 'a duration above 0 such as "500ms", "10s" or "2m"'
_SIZE = 'a size above 0 such as "64MB" or "1GiB"'
_DEPTH = f"a depth from {DEPTHS[0]} to {DEPTHS[-1]}"
_BUDGET = 'a number of states of at least 1, or a duration such as "60s"'


def duration_s(value: object) -> float:
    """Seconds above 0, from a text with a unit or from a number of seconds."""
    seconds = _number(value)
    if isinstance(value, str):
        seconds = _with_unit(value, DURATION_PATTERN, _SECONDS)
    if not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(_DURATION)
    return seconds


def size_bytes(value: object) -> int:
    """Whole bytes above 0, from a text with a unit."""
    size = _with_unit(value, SIZE_PATTERN, _BYTES) if isinstance(value, str) else math.nan
    if not size >= 1:
        raise ValueError(_SIZE)
    return int(size)


def budget(value: object) -> Budget:
    """A budget, from a whole number of states (also as digits) or from a duration with a unit."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Budget(states=value)
    if isinstance(value, str):
        try:
            return Budget(duration_s=duration_s(value))
        except ValueError:
            pass
    raise ValueError(_BUDGET)


def depth(value: object) -> int:
    """How many crashes one after the other: 1 or 2."""
    if isinstance(value, int) and not isinstance(value, bool) and value in DEPTHS:
        return value
    raise ValueError(_DEPTH)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _with_unit(text: str, pattern: str, units: dict[str, float] | dict[str, int]) -> float:
    if re.fullmatch(pattern, text) is None:
        return math.nan
    number, unit = re.fullmatch(r"([0-9.]+) ?([A-Za-z]+)", text).groups()  # type: ignore[union-attr]
    return float(number) * units[unit]


def count_from_1(value: object) -> int:
    """Which one of several, counted from 1.

    Raises:
        ValueError: completes "expected ...".
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a number from 1")
    return value
