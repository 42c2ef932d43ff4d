"""Makes a finding's crash state smaller: the fewest lost, reordered or torn operations that still show it.

Recovery runs on states that lose less (`chaos/disk/lessening.py`), the same oracle judges, and the first that it
objects to in the same way is taken, until none is left. Where nothing is lost, the crash is put off to the earliest
moment from which on recovery fails just so (`beginnings.py`). The order is fixed, so one run shrinks as another. Read
`exploring.py` for who asks.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from chaos.disk import MODELS, PersistenceModel, StateSpace, Tree
from chaos.disk.realmode import is_real
from chaos.errors import UsageError
from chaos.explore.exploration import Exploration
from chaos.explore.settings import Settings
from chaos.observations import Ending, Observation, Reference, Violation
from chaos.oracles import Panel
from chaos.oracles.durable import lost
from chaos.report import Shrunk
from chaos.scenario.runner.beginnings import begun
from chaos.trace.model import Trace

__all__ = ["Shrinker"]

# Recoveries for one finding: a state of ten lost operations is down to two or three within some thirty.
_TRIES = 64
_SLOW_TRIES = 4  # where each costs the whole deadline
# The exact question whether a model allows a tree grows with what is pending.
_MOST_PENDING = 14


@final
class Shrinker:
    """Shrinks witnesses of one exploration.

    Attributes:
        closed: there is no time left: witnesses stay as they are.
    """

    def __init__(self, exploration: Exploration, trace: Trace, settings: Settings, oracles: Sequence[str]) -> None:
        self._exploration, self._trace, self._settings = exploration, trace, settings
        self._oracles = tuple(oracles)
        self._spaces = {
            model.name: StateSpace(trace, model, settings.bound, settings.seed) for model in settings.models
        }
        self.closed = False

    def __call__(self, observation: Observation, violation: Violation) -> Shrunk:
        """The smallest state found that shows the same."""
        space = self._spaces.get(observation.model)
        best = (observation, violation)
        if space is None or is_real(space.model) or not observation.state:
            return Shrunk(observation=observation, violation=violation, model=observation.model)
        if not space.model.cache_survives:
            best = self._lessened(space, best)
        began = begun(space, best, self._seen, lambda seen: lost(seen, self._reference))
        seen, objection = began.case
        model = self._weakest(seen)
        return Shrunk(observation=seen, violation=objection, model=model, by_ack=began.by_ack, until=began.until)

    def _seen(self, space: StateSpace, recipe: str) -> tuple[Observation, tuple[Violation, ...]] | None:
        """What a state shows, judged; None when there is no time left."""
        if self.closed:
            return None
        seen = self._exploration.observe(recipe, space.model)
        return seen, Panel(self._reference, self._oracles).judge(seen)

    def _lessened(self, space: StateSpace, best: tuple[Observation, Violation]) -> tuple[Observation, Violation]:
        observation = best[0]
        tries = _SLOW_TRIES if observation.outcome.ending is Ending.HUNG else _TRIES
        while not self.closed:
            smaller, tries = self._smaller(space, best, tries)
            if smaller is None:
                break
            best = smaller
        return best

    def _weakest(self, observation: Observation) -> str:
        """The strongest promises under which this very state is legal, whether or not it was explored to an end."""
        if not observation.state or observation.model not in self._spaces:
            return observation.model
        space = self._spaces[observation.model]
        tree = space.tree(observation.state)
        for name, model in MODELS.items():
            if name in (observation.model, space.model.base):
                break
            if self._allows(model, observation, tree):
                return name
        return observation.model

    def _allows(self, model: PersistenceModel, seen: Observation, tree: Tree) -> bool:
        space = StateSpace(self._trace, model)
        if not model.cache_survives and space.pending(seen.point) > _MOST_PENDING:
            return False
        return space.contains(seen.point, tree, seen.acked)

    def _smaller(
        self, space: StateSpace, best: tuple[Observation, Violation], tries: int
    ) -> tuple[tuple[Observation, Violation] | None, int]:
        size = self._size(space, best[0].state)
        digest = space.tree(best[0].state).digest
        for recipe in space.milder(best[0].state):
            try:
                tree = space.tree(recipe)
            except UsageError:
                continue  # what is hidden at a later point may not be left out at an earlier one
            if self._size(space, recipe) >= size:
                continue
            if tree.digest == digest:
                seen = replace(best[0], state=recipe, point=space.losses(recipe)[0])
            elif tries <= 0:
                continue
            else:
                tries -= 1
                seen = self._exploration.observe(recipe, space.model)
            for violation in Panel(self._reference, self._oracles).judge(seen):
                if _same(violation, seen, best[1], best[0]):
                    return (seen, violation), tries
        return None, tries

    @property
    def _reference(self) -> Reference:
        return self._exploration.reference

    @staticmethod
    def _size(space: StateSpace, recipe: str) -> tuple[int, int, int]:
        point, _, lost = space.losses(recipe)
        return len({seq for seq, _ in lost}), len(lost), point


def _same(violation: Violation, seen: Observation, wanted: Violation, before: Observation) -> bool:
    return (violation.oracle, violation.damage) == (wanted.oracle, wanted.damage) and (
        violation.oracle != "recovers" or _failure(seen) == _failure(before)
    )


def _failure(observation: Observation) -> tuple[object, ...]:
    outcome = observation.outcome
    return outcome.ending, outcome.error_type, outcome.detail
