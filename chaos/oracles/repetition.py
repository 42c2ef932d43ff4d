"""Whether a sequence repeats itself: the same thing over and over, or the same few things in a cycle.

Pure. Two texts are *alike* when they differ in numbers, dates and ids alone: that is what a loop that gets nowhere is
told by clocks and counters. Read `terminates.py` for runs that never end.
"""

import re
from collections.abc import Sequence

__all__ = ["period_of", "skeleton"]

_MONTH = (
    r"\b(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b"
)
_VARYING = re.compile(
    r"\b0x[0-9a-f]+\b"
    r"|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\b(?=[0-9a-f]*\d)[0-9a-f]{8,}\b"
    rf"|{_MONTH}\.?(?= \d)|(?<=\d ){_MONTH}"
    r"|[+-]?\d[\d.,:]*(?:t\d[\d.:]*z?)?(?:e[+-]?\d+)?",
    re.IGNORECASE,
)
_SPACE = re.compile(r"\s+")


def skeleton(text: str) -> str:
    """What stays of a text without its numbers, dates, ids, and the width of its spaces."""
    return _SPACE.sub(" ", _VARYING.sub("#", text)).strip()


def period_of(sequence: Sequence[object], times: int, *, longest: int) -> int | None:
    """The length of the shortest cycle with which a sequence ends, if it comes so many times in a row.

    Args:
        sequence: the newest last.
        times: how many times the cycle must come, 2 or more.
        longest: the longest cycle that is looked for.

    Returns:
        1 when the last ones are all the same, 2 when two take turns, ...; None when nothing repeats itself.
    """
    for period in range(1, min(longest, len(sequence) // times) + 1):
        tail = sequence[-period * times :]
        if all(one == tail[place % period] for place, one in enumerate(tail)):
            return period
    return None
