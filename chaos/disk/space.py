"""All that a disk may hold after a crash of one recorded run: the state space of a trace under a model.

Crash points come in order of interest (`interest.py`), the disks of one point from its walk (`prefixes.py` where the
kernel lives on, `outages.py` where it does not), and each is paired with the acknowledgements that may have been
made by then. What is equal, tree and acknowledgements, is handed out once. Nothing here touches a real disk: lay a
tree out with `folder.Slot`. Read `states.py` for the words.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import islice
from typing import final

from chaos.disk.interest import passes, spread
from chaos.disk.models import PersistenceModel
from chaos.disk.outages import OutageWalk
from chaos.disk.prefixes import PrefixWalk
from chaos.disk.recipes import StepId, choice_text, parse_recipe
from chaos.disk.states import CrashState, Description, Statistics
from chaos.disk.tree import Tree
from chaos.disk.walk import Candidate, Walk
from chaos.errors import UsageError
from chaos.trace.model import Trace

__all__ = ["DEFAULT_BOUND", "StateSpace"]

# All subsets of twelve are 4096 trees, a few hundred milliseconds of building; each one more doubles it.
DEFAULT_BOUND = 12
# Trees handed out lately, so that laying out a state that `states` just gave costs no rebuilding.
_REMEMBERED = 256
# What a short budget sees first: at so many points, evenly over the trace, so many states each.
_SAMPLED_POINTS, _SAMPLED_STATES = 64, 3


@final
class StateSpace:
    """The legal crash states of a trace.

    Guarantees: the same trace, model, bound and seed give the same states in the same order. Does not: judge, or
    touch files. Memory: one digest a distinct state, and what is pending at one point; trees are shared or dropped.
    Threads and processes: one user at a time; a fork may go on with its copy.

    Attributes:
        trace: the recorded run.
        model: the rules.
        bound: at most so many pending micro-operations are tried in all combinations.
        seed: of the sample that ends a longer list.
    """

    def __init__(self, trace: Trace, model: PersistenceModel, bound: int = DEFAULT_BOUND, seed: int = 0) -> None:
        if not 0 <= bound <= 20:
            raise UsageError(f"the exhaustive bound is {bound}", "give 0 to 20; each one more doubles the states")
        self.trace = trace
        self.model = model
        self.bound = bound
        self.seed = seed
        self._walk: Walk = PrefixWalk(trace) if model.cache_survives else OutageWalk(trace, model, bound, seed)
        self._acks = [ack.after for ack in trace.acks]
        self._recent: dict[str, Tree] = {}
        self._begin_count()

    def states(self) -> Iterator[CrashState]:
        """All states to check, the likeliest failures first; each call begins anew."""
        self._begin_count()
        seen: set[bytes] = set()
        ordered = passes(self.trace)
        for point in spread(ordered[0], _SAMPLED_POINTS):
            yield from islice(self._states_at(point, seen), _SAMPLED_STATES)
        self._generated = 0  # they come again below, and are known by then
        for points in ordered:
            for point in points:
                yield from self._states_at(point, seen)
                self._count_point(point)

    def states_at(self, point: int) -> Iterator[CrashState]:
        """The states of one crash point alone; what equals another point's is not left out, nor counted."""
        return self._states_at(point, set())

    def tree(self, recipe: str) -> Tree:
        """Rebuild a state's tree.

        Raises:
            UsageError: the text is no recipe, or does not fit this trace and model.
        """
        known = self._recent.get(recipe)
        if known is not None:
            return known
        parsed = parse_recipe(recipe)
        self._check_point(parsed.point)
        return self._walk.tree(parsed.point, parsed.choice)

    def describe(self, recipe: str) -> Description:
        """Tell a state: each issued operation and what became of it.

        Raises:
            UsageError: the text is no recipe, or does not fit this trace and model.
        """
        parsed = parse_recipe(recipe)
        self._check_point(parsed.point)
        fates = self._walk.fates(parsed.point, parsed.choice)
        return Description(model=self.model.name, point=parsed.point, acked=parsed.acked, fates=fates)

    def contains(self, point: int, tree: Tree, acked: int | None = None) -> bool:
        """Whether a tree is legal at a crash point, also where `states` would leave it out.

        Meant for holding models against real file systems: exact, and quick for traces of some ten operations.

        Args:
            point: the crash point.
            tree: the tree.
            acked: how many acknowledgements had been made by then; any number that is legal there when None.
        """
        self._check_point(point)
        low, high = bisect_left(self._acks, point), bisect_right(self._acks, point)
        if acked is not None and not low <= acked <= high:
            return False
        return self._walk.contains(point, tree, inside=acked is None or acked == low)

    def losses(self, recipe: str) -> tuple[int, int, tuple[StepId, ...]]:
        """(crash point, acknowledgements, micro-operations that are not there); a write that was cut has none.

        Raises:
            UsageError: the text is no recipe, or does not fit this trace and model.
        """
        parsed = parse_recipe(recipe)
        self._check_point(parsed.point)
        return parsed.point, parsed.acked, self._walk.lost(parsed.point, parsed.choice)

    def pending(self, point: int) -> int:
        """How many micro-operations a crash there may keep or lose."""
        self._check_point(point)
        return self._walk.survey(point).pending

    def may_lose(self, point: int, steps: Collection[StepId]) -> bool:
        """Whether all of these micro-operations may be missing at a crash point."""
        self._check_point(point)
        return self._walk.may_lose(point, steps)

    def milder(self, recipe: str) -> Iterator[str]:
        """States that differ from one by less damage, in a fixed order, those with the least damage first.

        The first of them, if any, are at an earlier crash point, where what came later was not issued: those with the
        same tree, then others.

        Raises:
            UsageError: the text is no recipe, or does not fit this trace and model.
        """
        point, acked, lost = self.losses(recipe)
        for earlier, fewer in self._walk.milder(point, lost):
            if bisect_left(self._acks, earlier) <= acked <= bisect_right(self._acks, earlier):
                yield f"{earlier}/{acked}:{choice_text(self._walk.choice_without(earlier, fewer))}"

    def statistics(self) -> Statistics:
        """What the latest call of `states` has handed out so far."""
        return Statistics(
            model=self.model.name,
            points=len(self.trace.ops) + 1,
            visited=self._visited,
            generated=self._generated,
            distinct=self._distinct,
            exhaustive_points=self._exhaustive,
            largest_pending=self._largest,
            left_out=tuple(f"{what}: {count}" for what, count in sorted(self._left_out.items())),
        )

    def _states_at(self, point: int, seen: set[bytes]) -> Iterator[CrashState]:
        self._check_point(point)
        low, high = bisect_left(self._acks, point), bisect_right(self._acks, point)
        for candidate in self._walk.candidates(point):
            digest = candidate.tree.digest
            # A crash inside an operation, or before an acknowledgement that follows it, has not seen that one.
            for acked in range(low, (low if candidate.inside else high) + 1):
                self._generated += 1
                known = digest + acked.to_bytes(4, "little")
                if known in seen:
                    continue
                seen.add(known)
                self._distinct += 1
                yield self._state(point, acked, digest, candidate)

    def _state(self, point: int, acked: int, digest: bytes, candidate: Candidate) -> CrashState:
        recipe = f"{point}/{acked}:{choice_text(candidate.choice)}"
        recent = self._recent
        if len(recent) >= _REMEMBERED:
            del recent[next(iter(recent))]
        recent[recipe] = candidate.tree
        return CrashState(recipe, point, acked, digest, candidate.lost, candidate.torn)

    def _check_point(self, point: int) -> None:
        if not 0 <= point <= len(self.trace.ops):
            raise UsageError(f"crash point {point} is outside the trace, which has {len(self.trace.ops)} operations")

    def _begin_count(self) -> None:
        self._visited = self._generated = self._distinct = self._exhaustive = self._largest = 0
        self._left_out: Counter[str] = Counter()

    def _count_point(self, point: int) -> None:
        survey = self._walk.survey(point)
        self._visited += 1
        self._exhaustive += survey.exhaustive
        self._largest = max(self._largest, survey.pending)
        self._left_out.update(survey.left_out)
