"""What participants do in words, and schedules as text.

Read `shrinking.py` for where schedules come from.
"""

from collections.abc import Mapping

from chaos.child.values import decode, render
from chaos.errors import UsageError
from chaos.race.moves import UNSEEN, Move

__all__ = ["move_words", "recipe_of", "schedule_of"]

_IN_TURN = "in turn"  # a schedule without any switch
_VALUE_LIMIT = 60
_STATEMENTS = {"a": "acknowledges", "+": "enters section", "-": "leaves section", "(": "calls", ")": "is answered"}


def recipe_of(switches: Mapping[int, int]) -> str:
    """A schedule as text: `step>participant`, apart by blanks."""
    return " ".join(f"{step}>{who}" for step, who in sorted(switches.items())) or _IN_TURN


def schedule_of(recipe: str) -> dict[int, int]:
    """A schedule from its text.

    Raises:
        UsageError: it is none.
    """
    if recipe == _IN_TURN:
        return {}
    try:
        pairs = [word.split(">") for word in recipe.split(" ")]
        return {int(step): int(who) for step, who in pairs}
    except ValueError:
        raise UsageError(f"{recipe!r:.100} is not a schedule", 'it looks like "3>1 17>0"') from None


def move_words(move: Move) -> str:
    """What a participant did, in a few words."""
    if move.call == "say":
        kind, text = move.text[:1], move.text[1:]
        return f"{_STATEMENTS.get(kind, 'says')} {_told(kind, text)}"
    if move == UNSEEN:
        return move.call
    return f"{move.call}({', '.join(part for part in (move.path, move.text) if part)})"


def _told(kind: str, text: str) -> str:
    if kind == "(":
        _, name, argument, key = decode(text)
        of = "" if key is None else f" of {key!r}"
        return f"{name}({'' if argument is None else repr(argument)}){of}"
    if kind == ")":
        return repr(decode(text)[1])
    return render(text, _VALUE_LIMIT)
