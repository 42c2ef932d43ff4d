"""What the kinds that run live processes say while they run: how far they are, what they found, when it is enough.

Read `racing.py`, `fleeting.py` and `agent.py` for who says it.
"""

from dataclasses import dataclass
from typing import final

from chaos.oracles.jury import Objected
from chaos.report import News
from chaos.scenario.model import Budget

__all__ = ["Pace", "is_spent", "news_of"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How far it is; see `Advance`."""

    done: int
    total: int | None
    states_per_s: float
    seconds_left: float | None


def is_spent(budget: Budget, done: int, spent_s: float) -> bool:
    """Whether a budget is used up by so many runs in so many seconds."""
    return (budget.states is not None and done >= budget.states) or (
        budget.duration_s is not None and spent_s >= budget.duration_s
    )


def news_of(objected: Objected, model: str, state: str, point: int) -> News:
    """An objection as it is told at once, before anything is shrunk."""
    return News(
        title=objected.message,
        oracle=objected.oracle,
        damage=objected.damage,
        model=model,
        state=state,
        point=point,
    )
