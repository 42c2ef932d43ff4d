"""Which states of a first crash a second run starts from: those on which all was well, each tree once.

A state that violates something is a finding already, and what follows from it would only tell that again. States that
the budget of the first crash cut off are not known to be right. Read `second.py` next.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.disk import StateSpace
from chaos.explore.second import FirstState
from chaos.explore.settings import Settings
from chaos.observations import Damage, Observation, Violation
from chaos.trace.model import Trace

__all__ = ["FirstStates", "Judged"]

_STRETCH = 1000  # states are run in the order of enumeration: so many unknown ones in a row are a budget's end


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStates:
    """Where second runs start, in order of interest.

    Attributes:
        states: distinct trees on which recovery was right.
        wrong: how many distinct trees are left out because something is wrong already.
        complete: no state of the models is missing because the first crash's budget was spent.
    """

    states: tuple[FirstState, ...]
    wrong: int
    complete: bool


@final
class Judged:
    """Remembers which states were right, while those of the first crash are judged."""

    def __init__(self) -> None:
        self._right: dict[tuple[str, str], bool] = {}

    def add(self, observation: Observation, violations: Sequence[Violation]) -> None:
        """Take in one judged state; self-healed damage is right in the end."""
        right = all(one.damage is Damage.SELF_HEALED for one in violations)
        self._right[observation.model, observation.state] = right

    def first_states(self, trace: Trace, settings: Settings) -> FirstStates:
        """Enumerate the states once more, and pick those from which a second run starts.

        Of a tree that several models allow, or that goes with several numbers of acknowledgements, one state stands
        for all: the first one, with the most acknowledgements under its own model, because nothing more may get lost.
        """
        known: dict[tuple[bytes, int], bool] = {}
        picked = self._picked(trace, settings, known)
        # Models take turns while states are judged, so a state may be known of a later model only.
        return picked if picked.complete else self._picked(trace, settings, known)

    def _picked(self, trace: Trace, settings: Settings, known: dict[tuple[bytes, int], bool]) -> FirstStates:
        """Pick once; `known` has (tree, acknowledgements) of the states that were judged, and learns more."""
        found: dict[bytes, FirstState] = {}
        wrong: set[bytes] = set()
        complete = True
        for number, model in enumerate(settings.models):
            missing = 0
            for state in StateSpace(trace, model, settings.bound, settings.seed).states():
                key = (state.digest, state.acked)
                right = self._right.get((model.name, state.recipe), known.get(key))
                if right is None:
                    complete, missing = False, missing + 1
                    if missing == _STRETCH:
                        break
                    continue
                missing = 0
                known[key] = right
                if not right:
                    wrong.add(state.digest)
                    continue
                mine = FirstState(recipe=state.recipe, models=(number,), point=state.point, acked=state.acked)
                found[state.digest] = _merged(found.get(state.digest), mine)
        return FirstStates(states=tuple(found.values()), wrong=len(wrong - found.keys()), complete=complete)


def _merged(known: FirstState | None, other: FirstState) -> FirstState:
    if known is None:
        return other
    if known.models[0] == other.models[0]:
        return other if other.acked > known.acked else known
    return known if known.models[-1] == other.models[0] else replace(known, models=(*known.models, other.models[0]))
