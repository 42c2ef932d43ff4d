"""Lets the chosen oracles judge observation after observation, and keeps the verdict of the whole run.

One root cause gives one violation: of several oracles that object to one state, the most telling is kept. An
oracle's own crash is UNKNOWN and a harness fault, never a pass [Jepsen's check-safe]. It keeps counts only, so its
memory does not grow with the number of states. Read `chaos/report/findings.py` next.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.observations import Damage, Observation, Reference, Verdict, Violation
from chaos.oracles.answer import Answer, unknown
from chaos.oracles.finite import FileScan
from chaos.oracles.registry import ORACLES, Oracle

__all__ = ["OracleVerdict", "Panel", "joined", "judge", "judge_reference"]

_SEVERITY = {damage: rank for rank, damage in enumerate(Damage)}
_TELLING = (Verdict.VIOLATED, Verdict.HOLDS, Verdict.UNKNOWN)
_ORDER = {name: rank for rank, name in enumerate(ORACLES)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OracleVerdict:
    """One oracle's verdict on a whole run.

    Attributes:
        oracle: its name.
        verdict: HOLDS only when it could judge at least one state and objected to none.
        reason: why it is violated or unknown, one line; "" when it holds.
        held: how many states it judged to be right.
        violated: how many states it objected to, also where a more telling oracle is reported instead.
        unknown: how many states it could not judge.
        fault: the oracle's own crash, if it crashed; the harness is to blame.
    """

    oracle: str
    verdict: Verdict
    reason: str = ""
    held: int = 0
    violated: int = 0
    unknown: int = 0
    fault: str = ""


def joined(one: OracleVerdict, other: OracleVerdict) -> OracleVerdict:
    """One oracle's verdict on what both judged."""
    counts = {name: getattr(one, name) + getattr(other, name) for name in ("held", "violated", "unknown")}
    telling = min(one, other, key=lambda verdict: _TELLING.index(verdict.verdict))
    reason = telling.reason
    if counts["violated"]:
        reason = f"in {counts['violated']} state{'s' if counts['violated'] > 1 else ''}"
    return replace(telling, reason=reason, fault=one.fault or other.fault, **counts)


def judge(observation: Observation, reference: Reference, names: Sequence[str]) -> tuple[Violation, ...]:
    """The most telling objection to one observation, or none; self-healed damage is among them, last in severity."""
    panel = Panel(reference, names)
    return panel.judge(observation)


def judge_reference(reference: Reference, names: Sequence[str], *, operations: int = 0) -> tuple[Violation, ...]:
    """Objections to undamaged trees, the first one of each oracle: the target is broken without any crash.

    Args:
        reference: recovery on undamaged trees.
        names: which oracles judge.
        operations: how many operations the trace has: where its last tree stands.
    """
    return Panel(reference, names, operations=operations).judge_reference()


@final
class Panel:
    """The chosen oracles of one run, with their counts.

    Threads and processes: not safe for several threads; observations of all workers come to one panel.
    """

    def __init__(
        self,
        reference: Reference,
        names: Sequence[str],
        *,
        operations: int = 0,
        table: Mapping[str, Oracle] = ORACLES,
    ) -> None:
        """Take the oracles `names` of `table`; `operations` is how many operations the trace has."""
        self._reference = reference
        self._oracles = {name: table[name] for name in names}
        self._operations = operations
        self._counts: dict[str, Counter[Verdict]] = {name: Counter() for name in names}
        self._reasons: dict[str, Counter[str]] = {name: Counter() for name in names}
        self._faults: dict[str, str] = {}
        self._undamaged: dict[str, str] = {}
        self._scan = FileScan()

    def judge(self, observation: Observation) -> tuple[Violation, ...]:
        """Ask every oracle about one crash state; at most one violation comes back, the most telling."""
        found = []
        for name, oracle in self._oracles.items():
            answer = self._ask(name, oracle, observation)
            self._counts[name][answer.verdict] += 1
            if answer.verdict is Verdict.UNKNOWN:
                self._reasons[name][answer.message] += 1
            elif answer.damage is not None:
                found.append(_violation(name, answer, observation))
        return tuple(sorted(found, key=_telling)[:1])

    def judge_reference(self) -> tuple[Violation, ...]:
        """Ask every oracle about the undamaged trees; the first objection of each comes back."""
        found = []
        for name, oracle in self._oracles.items():
            objections = oracle.undamaged(self._reference)
            if objections:
                first = objections[0]
                self._undamaged[name] = f"on an undamaged disk: {first.message}"
                found.append(
                    Violation(
                        oracle=name,
                        damage=first.damage,
                        message=f"{first.message} ({self._at(first.step)}, nothing damaged)",
                        state="",
                        point=self._point(first.step),
                    )
                )
        return tuple(found)

    def judge_files(self, files: Mapping[str, bytes], *, state: str, point: int) -> tuple[Violation, ...]:
        """Look for NaN and infinities in a tree's files, each distinct content once, when `finite` is asked for.

        Args:
            files: path -> content.
            state: the tree's recipe, "" for an undamaged one.
            point: its crash point.
        """
        if "finite" not in self._oracles:
            return ()
        try:
            places = self._scan.new_places(files)
        except Exception as error:  # noqa: BLE001 - as in `_ask`
            self._faults.setdefault("finite", f"the file scan failed: {type(error).__name__}: {error} (state {state})")
            return ()
        if not places:
            return ()
        self._counts["finite"][Verdict.VIOLATED] += 1
        message = f"a file holds a number that is not finite: {places[0]}"
        return (Violation(oracle="finite", damage=Damage.SILENT, message=message, state=state, point=point),)

    def verdicts(self) -> tuple[OracleVerdict, ...]:
        """The verdict of each oracle on everything judged so far."""
        return tuple(self._verdict(name) for name in self._oracles)

    def _ask(self, name: str, oracle: Oracle, observation: Observation) -> Answer:
        try:
            return oracle.judge(observation, self._reference)
        except Exception as error:  # noqa: BLE001 - an oracle's crash must not end the run, and must not pass
            words = f"the oracle itself failed: {type(error).__name__}: {error}"
            self._faults.setdefault(name, f"{words} (state {observation.state})")
            return unknown(words)

    def _verdict(self, name: str) -> OracleVerdict:
        count = self._counts[name]
        verdict, reason = self._decide(name, count)
        return OracleVerdict(
            oracle=name,
            verdict=verdict,
            reason=reason,
            held=count[Verdict.HOLDS],
            violated=count[Verdict.VIOLATED],
            unknown=count[Verdict.UNKNOWN],
            fault=self._faults.get(name, ""),
        )

    def _decide(self, name: str, count: "Counter[Verdict]") -> tuple[Verdict, str]:
        if count[Verdict.VIOLATED]:
            states = count[Verdict.VIOLATED]
            return Verdict.VIOLATED, f"in {states} state{'s' if states > 1 else ''}"
        if name in self._undamaged:
            return Verdict.VIOLATED, self._undamaged[name]
        if name in self._faults:
            return Verdict.UNKNOWN, self._faults[name]
        if count[Verdict.HOLDS]:
            return Verdict.HOLDS, ""
        reasons = self._reasons[name].most_common(1)
        return Verdict.UNKNOWN, reasons[0][0] if reasons else "no crash state was judged"

    def _at(self, step: int) -> str:
        if step == 0:
            return "at the start"
        return "at the end" if step > len(self._reference.acks) else f"at acknowledgement {step}"

    def _point(self, step: int) -> int:
        acks = self._reference.acks
        if step == 0:
            return 0
        return acks[step - 1].after if step <= len(acks) else self._operations


def _violation(name: str, answer: Answer, observation: Observation) -> Violation:
    assert answer.damage is not None
    return Violation(
        oracle=name,
        damage=answer.damage,
        message=answer.message,
        state=observation.state,
        point=observation.point,
    )


def _telling(violation: Violation) -> tuple[int, int]:
    return _SEVERITY[violation.damage], _ORDER.get(violation.oracle, len(_ORDER))
