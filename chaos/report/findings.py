"""Groups violations that have one cause, keeps the smallest witness of each, and explains it.

A group is what agrees in oracle, damage, error type and blamed source lines. Where several operations are lost at
once, a state whose blamed lines include those of a smaller witness is counted there: the smaller one is the cause.
Memory grows with the number of groups, never with the number of states. Read `chaos/oracles/panel.py` for where
violations come from, `results.py` for what becomes of findings.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from pathlib import PurePath
from typing import final

from chaos.observations import Damage, Ending, Finding, Observation, Outcome, Reference, Violation
from chaos.report.blame import Blamed, Fate, blamed, blamed_ack, signature, with_caller
from chaos.report.explanation import explanation, title, undamaged_explanation, undamaged_title
from chaos.report.places import short_place
from chaos.report.timeline import timeline
from chaos.trace.model import Op, Trace

__all__ = ["Advise", "Describe", "Findings", "News", "Probe", "Shrink", "Shrunk", "finding_id"]

Describe = Callable[[str, str], Sequence[Fate]]
"""(recipe, model name) -> what became of the operations that are not simply there."""

Probe = Callable[[Observation], Outcome | None]
"""Runs the workload on from the state that recovery left, then recovery; None when that can't be done."""

Shrink = Callable[[Observation, Violation], "Shrunk"]
"""(witness, objection) -> a smaller witness of the same."""

Advise = Callable[[str, Damage, Sequence[Blamed], Sequence[tuple[str, str]], int], tuple[str, ...]]
"""(oracle, damage, operations to blame, (recipe, model) of failing states, how many there are) -> lines of advice."""

# Failing states kept of each group, so that advice can be proven on them,
_KEPT = 400
# and ways to fail, each with a witness: one may have begun at the group's line, and another long before it.
_WAYS = 4
_SEVERITY = {damage: rank for rank, damage in enumerate(Damage)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shrunk:
    """A smaller witness.

    Attributes:
        observation: the state.
        violation: the objection to it.
        model: the weakest model that allows it.
        by_ack: nothing was wrong yet right before the last acknowledgement.
        until: the operation that ends what began here; None where nothing does, or that is not known.
    """

    observation: Observation
    violation: Violation
    model: str
    by_ack: bool = False
    until: Op | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """A cause not seen before, told while the exploration goes on; its finding comes at the end.

    Attributes:
        title: one line: where and what.
        oracle: which oracle objects.
        damage: what kind, as far as known by now.
        model: the persistence model of the state.
        state: its recipe.
        point: its crash point.
    """

    title: str
    oracle: str
    damage: Damage
    model: str
    state: str
    point: int


@final
@dataclass(frozen=True, slots=True)
class _Witness:
    """One violating state; the least of a group is the one to show."""

    observation: Observation
    violation: Violation
    blamed: tuple[Blamed, ...]
    rank: tuple[int, int, int, int, str]
    until: Op | None = None

    @property
    def lines(self) -> frozenset[str]:
        return frozenset(signature(one) for one in self.blamed)

    @property
    def way(self) -> tuple[object, ...]:
        """What is the same in states that fail in the same way."""
        outcome = self.observation.outcome
        return outcome.ending, outcome.error_type, outcome.detail, hash((outcome.value, outcome.error, outcome.check))


@final
@dataclass(slots=True)
class _Group:
    lines: frozenset[str]
    witness: _Witness
    states: int = 0
    models: "Counter[str]" = field(default_factory=Counter)
    failing: list[tuple[str, str]] = field(default_factory=list)
    ways: dict[tuple[object, ...], _Witness] = field(default_factory=dict)

    def take(self, other: "_Group") -> None:
        if other.witness.rank < self.witness.rank:
            self.witness = other.witness
        for witness in other.ways.values():
            self.keep(witness)
        self.states += other.states
        self.models.update(other.models)
        self.failing += other.failing[: _KEPT - len(self.failing)]

    def keep(self, witness: _Witness) -> None:
        known = self.ways.get(witness.way)
        if witness.rank < known.rank if known is not None else len(self.ways) < _WAYS:
            self.ways[witness.way] = witness

    def witnesses(self) -> list[_Witness]:
        """The one to show first, then those of other ways to fail."""
        others = [one for one in self.ways.values() if one is not self.witness]
        return [self.witness, *sorted(others, key=lambda one: one.rank)]


@final
class Findings:
    """Collects violations while states are judged; `finish` makes the findings.

    Threads and processes: not safe for several threads; it stands beside the one panel.
    """

    def __init__(
        self,
        scenario: str,
        trace: Trace,
        reference: Reference,
        *,
        models: Sequence[str],
        describe: Describe,
        probe: Probe | None = None,
        shrink: Shrink | None = None,
        advise: Advise | None = None,
    ) -> None:
        """Start empty.

        Args:
            scenario: its name, part of each finding's id.
            trace: the recorded run.
            reference: recovery on undamaged trees.
            models: persistence models, the one that allows least first.
            describe: tells what a recipe lost or tore.
            probe: tells whether the workload can go on after a failed recovery; asked once a finding.
            shrink: makes a witness smaller; asked once a finding.
            advise: tells what would mend it; likewise.
        """
        self._scenario, self._trace, self._reference = scenario, trace, reference
        self._models, self._describe, self._probe = tuple(models), describe, probe
        self._shrink, self._advise = shrink, advise
        self._groups: dict[tuple[str, Damage, str], list[_Group]] = {}
        self._undamaged: list[Violation] = []

    def add(self, observation: Observation, violations: Iterable[Violation]) -> tuple[News, ...]:
        """Count the violations of one crash state.

        Returns:
            the causes not seen before, to be shown while the run goes on.
        """
        news = []
        for violation in violations:
            witness = self._witness(observation, violation)
            key = (violation.oracle, violation.damage, _error_type(violation, observation.outcome))
            if self._count(self._groups.setdefault(key, []), witness):
                news.append(_news(witness))
        return tuple(news)

    def add_undamaged(self, violations: Iterable[Violation]) -> None:
        """Take objections to trees that nothing damaged, and to files of such trees."""
        self._undamaged += violations

    def finish(self) -> tuple[Finding, ...]:
        """The findings, most damage first; each failed recovery is probed once, here."""
        found = [self._undamaged_finding(violation) for violation in self._undamaged]
        found += [self._finding(group) for groups in self._groups.values() for group in groups]
        merged: dict[str, Finding] = {}
        for finding in found:
            known = merged.get(finding.id)
            merged[finding.id] = finding if known is None else replace(known, states=known.states + finding.states)
        return tuple(sorted(merged.values(), key=lambda one: (_SEVERITY[one.damage], one.point, one.id)))

    def _witness(self, observation: Observation, violation: Violation) -> _Witness:
        fates = self._describe(observation.state, observation.model)
        to_blame = blamed(self._trace, observation.point, fates)
        model = self._models.index(observation.model) if observation.model in self._models else len(self._models)
        lines = len({signature(one) for one in to_blame})
        rank = (model, lines, len(fates), observation.point, observation.state)
        return _Witness(observation, violation, to_blame, rank)

    def _count(self, groups: list[_Group], witness: _Witness) -> bool:
        """Put a witness where it belongs; whether that is a cause not seen before."""
        lines = witness.lines
        seen = witness.observation
        mine = _Group(lines, witness, 1, Counter([seen.model]), [(seen.state, seen.model)])
        if seen.model == "kill":  # elsewhere what was lost is to blame, whatever came of it
            mine.keep(witness)
        for group in groups:
            if group.lines <= lines:
                group.take(mine)
                return False
        larger = [group for group in groups if group.lines > lines]
        for group in larger:
            mine.take(group)
            groups.remove(group)
        groups.append(mine)
        return not larger

    def _finding(self, group: _Group) -> Finding:
        witness, model = self._least(group)
        damage, observation = self._decided(witness)
        violation, to_blame = witness.violation, witness.blamed
        power = model != "kill"
        error_type = _error_type(violation, observation.outcome)
        lines = witness.lines
        advise = self._advise
        until = None if witness.until is None else self._told(Blamed(op=witness.until, loss="last"))
        return Finding(
            id=finding_id(self._scenario, violation.oracle, damage, error_type, sorted(lines)),
            scenario=self._scenario,
            oracle=violation.oracle,
            damage=damage,
            model=model,
            title=title(violation, damage, observation.outcome, to_blame),
            explanation=explanation(
                observation,
                violation,
                [self._told(one) for one in to_blame],
                self._reference,
                power=power,
                until=until,
            ),
            source=next((one.frame for one in to_blame if one.frame is not None), None),
            timeline=timeline(self._trace, observation.point, to_blame, acked=observation.acked, power=power),
            point=observation.point,
            state=observation.state,
            states=group.states,
            outcome=observation.outcome,
            advice=() if advise is None else advise(violation.oracle, damage, to_blame, group.failing, group.states),
            extra={
                "acked": str(observation.acked),
                "blamed": "; ".join(dict.fromkeys(_blamed_words(to_blame))),
                "frames": "; ".join(dict.fromkeys(_frames(to_blame, witness.until))),
                "lost_or_torn": str(sum(one.loss != "last" for one in to_blame)),
                "message": violation.message,
                "states_by_model": ", ".join(f"{name} {count}" for name, count in self._by_model(group)),
                "witness_model": observation.model,
            },
        )

    def _told(self, one: Blamed) -> Blamed:
        return with_caller(one, self._trace)

    def _undamaged_finding(self, violation: Violation) -> Finding:
        step, acked = self._step(violation.point)
        return Finding(
            id=finding_id(self._scenario, violation.oracle, violation.damage, "undamaged", []),
            scenario=self._scenario,
            oracle=violation.oracle,
            damage=violation.damage,
            model=self._models[0] if self._models else "",
            title=undamaged_title(violation),
            explanation=undamaged_explanation(violation, self._reference.steps[step]),
            source=None,
            timeline=(),
            point=violation.point,
            state="",
            states=1,
            outcome=self._reference.steps[step],
            extra={"acked": str(acked), "message": violation.message},
        )

    def _step(self, point: int) -> tuple[int, int]:
        """Which undamaged step stands at a point, and how many acknowledgements had been made there."""
        acks = self._reference.acks
        acked = sum(ack.after <= point for ack in acks)
        at_step = point == 0 or (acked > 0 and acks[acked - 1].after == point)
        return (acked if at_step else len(self._reference.steps) - 1), acked

    def _decided(self, witness: _Witness) -> tuple[Damage, Observation]:
        """The damage, once it is tried whether the workload can go on, and the observation with that run in it."""
        damage, observation = witness.violation.damage, witness.observation
        if damage not in (Damage.LOUD, Damage.UNCLEAN) or self._probe is None:
            return damage, observation
        if observation.resumed is None:
            observation = replace(observation, resumed=self._probe(observation))
        resumed = observation.resumed
        if resumed is None:
            return damage, observation
        if damage is Damage.LOUD and resumed.ending is not Ending.RETURNED:
            damage = Damage.CANNOT_START
        return damage, observation

    def _by_model(self, group: _Group) -> Iterator[tuple[str, int]]:
        ordered = [name for name in self._models if name in group.models]
        return ((name, group.models[name]) for name in [*ordered, *sorted(set(group.models) - set(ordered))])

    def _least(self, group: _Group) -> tuple[_Witness, str]:
        """The witness to show, as small as it can be made, and the weakest model that shows it.

        What began at an earlier line is told there, so a way to fail that began at the group's own goes first.
        """
        weakest = next(self._by_model(group))[0]
        if self._shrink is None:
            return group.witness, weakest
        smallest = []
        for witness in group.witnesses():
            shrunk = self._shrink(witness.observation, witness.violation)
            seen = shrunk.observation
            least = replace(self._witness(seen, shrunk.violation), until=shrunk.until)
            if shrunk.by_ack and (told := blamed_ack(self._trace, seen.point, seen.acked)):
                least = replace(least, blamed=told)
            smallest.append((least, weakest if shrunk.model == seen.model else shrunk.model))
            if least.lines == witness.lines:
                return smallest[-1]
        return smallest[0]


def finding_id(scenario: str, oracle: str, damage: Damage, error_type: str, lines: Sequence[str]) -> str:
    """A short digest, the same in every run and in every checkout: files count by name, not by folder."""
    places = [PurePath(line).name if ":" in line else line for line in lines]
    text = "\0".join([scenario, oracle, damage.value, error_type, *sorted(places)])
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=6).hexdigest()


def _news(witness: _Witness) -> News:
    observation, violation = witness.observation, witness.violation
    return News(
        title=title(violation, violation.damage, observation.outcome, witness.blamed),
        oracle=violation.oracle,
        damage=violation.damage,
        model=observation.model,
        state=observation.state,
        point=observation.point,
    )


def _error_type(violation: Violation, outcome: Outcome) -> str:
    """What tells two failures apart within one oracle."""
    if violation.oracle != "recovers":
        return ""
    return f"{outcome.ending.value} {outcome.error_type} {outcome.detail or ''}".rstrip()


def _frames(to_blame: Sequence[Blamed], until: Op | None) -> Iterator[str]:
    for source in (*(one.source for one in to_blame), () if until is None else until.source):
        for frame in source:
            yield f"{frame.file}:{frame.line} {frame.function}"


def _blamed_words(to_blame: Sequence[Blamed]) -> Iterator[str]:
    for one in to_blame:
        yield f"{short_place(one.frame)}: {one.called}" if one.frame else one.called
