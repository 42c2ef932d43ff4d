"""The text that names a crash state: `POINT/ACKED:CHOICE`, read together with a trace and a model.

    12/1:all            the first 12 operations, one acknowledgement, everything there
    13/1:cut4096        operation 12 was a write, and its first 4096 bytes got in
    13/1:all-7.0,9.0-3  everything but micro-operation 0 of operation 7 and 0 to 3 of operation 9
    13/1:none+9.0       only what is durable, and micro-operation 0 of operation 9

One state of one crash point has one text: of the two ways to write a choice the shorter list is taken, `all` where
they are equally long. Pure. Read `space.py` next.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from chaos.errors import UsageError

__all__ = ["Choice", "Recipe", "StepId", "choice_text", "parse_recipe"]

# (operation, micro-operation of it)
StepId = tuple[int, int]

_RECIPE = re.compile(r"(\d+)/(\d+):(?:cut(\d+)|(all)((?:-\d[\d.,-]*)?)|(none)((?:\+\d[\d.,-]*)?))")
_RANGE = re.compile(r"(\d+)\.(\d+)(?:-(\d+))?")


class Choice(NamedTuple):
    """What of the issued operations is there.

    Attributes:
        everything: whether `steps` are those missing from all, or those added to what is durable.
        steps: the micro-operations, sorted.
        cut: a write in flight: how many of its bytes got in; `steps` is then empty.
    """

    everything: bool = True
    steps: tuple[StepId, ...] = ()
    cut: int | None = None


class Recipe(NamedTuple):
    """A parsed recipe."""

    point: int
    acked: int
    choice: Choice

    def __str__(self) -> str:
        return f"{self.point}/{self.acked}:{choice_text(self.choice)}"


def choice_text(choice: Choice) -> str:
    """The canonical text of a choice."""
    if choice.cut is not None:
        return f"cut{choice.cut}"
    if not choice.steps:
        return "all" if choice.everything else "none"
    return ("all-" if choice.everything else "none+") + ",".join(_ranges(choice.steps))


def _ranges(steps: Iterable[StepId]) -> list[str]:
    ranges: list[list[int]] = []
    for seq, index in steps:
        if ranges and ranges[-1][0] == seq and ranges[-1][2] == index - 1:
            ranges[-1][2] = index
        else:
            ranges.append([seq, index, index])
    return [f"{seq}.{low}" if low == high else f"{seq}.{low}-{high}" for seq, low, high in ranges]


def parse_recipe(text: str) -> Recipe:
    """Read a recipe.

    Raises:
        UsageError: the text is none.
    """
    match = _RECIPE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} names no crash state", "copy the state's text from the report; e.g. 12/1:all-7.0")
    point, acked, cut, everything, dropped, _, kept = match.groups()
    if cut is not None:
        choice = Choice(cut=int(cut))
    else:
        choice = Choice(everything is not None, tuple(_steps(text, (dropped or kept or "")[1:])))
    return Recipe(int(point), int(acked), choice)


def _steps(recipe: str, text: str) -> Iterable[StepId]:
    for part in text.split(",") if text else ():
        match = _RANGE.fullmatch(part)
        if match is None:
            raise UsageError(
                f"{part!r} in {recipe!r} names no micro-operation", "write OPERATION.INDEX or a range of it"
            )
        seq, low, high = match.groups()
        for index in range(int(low), int(high or low) + 1):
            yield int(seq), index
