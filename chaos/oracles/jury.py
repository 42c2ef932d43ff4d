"""Lets the chosen live oracles judge run after run, and keeps each one's verdict on all of them.

The rules are those of `panel.py`: of several objections the most telling is kept, an oracle's own crash is UNKNOWN and
a harness fault, never a pass. Read `live.py` for the oracles.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from chaos.observations import Damage, Verdict
from chaos.oracles.answer import Answer, unknown
from chaos.oracles.live import LIVE_ORACLES, LiveOracle, Terms
from chaos.oracles.panel import OracleVerdict

__all__ = ["Jury", "Objected"]

_SEVERITY = {damage: rank for rank, damage in enumerate(Damage)}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Objected:
    """The most telling objection to one run.

    Attributes:
        oracle: whose.
        damage: what kind.
        message: one line.
        cause: what tells two ways to go wrong apart within one oracle.
        position: of the statement that decides it; None when the whole run does.
    """

    oracle: str
    damage: Damage
    message: str
    cause: str = ""
    position: int | None = None


@final
class Jury:
    """The chosen oracles of one scenario. Threads: one.

    Args:
        names: which oracles judge.
        terms: what the user said about the history.
        table: the oracles by name.
    """

    def __init__(self, names: Sequence[str], terms: Terms, *, table: Mapping[str, LiveOracle] = LIVE_ORACLES) -> None:
        self._oracles = {name: table[name] for name in names}
        self._terms = terms
        self._counts: dict[str, Counter[Verdict]] = {name: Counter() for name in names}
        self._reasons: dict[str, Counter[str]] = {name: Counter() for name in names}
        self._faults: dict[str, str] = {}

    def judge(self, run: Any) -> Objected | None:
        """Ask every oracle; the most telling objection comes back."""
        found: list[Objected] = []
        for name, oracle in self._oracles.items():
            answer = self._ask(name, oracle, run)
            self._counts[name][answer.verdict] += 1
            if answer.verdict is Verdict.UNKNOWN:
                self._reasons[name][answer.message] += 1
            elif answer.damage is not None:
                found.append(
                    Objected(
                        oracle=name,
                        damage=answer.damage,
                        message=answer.message,
                        cause=answer.cause,
                        position=answer.position,
                    )
                )
        return min(found, key=lambda one: _SEVERITY[one.damage], default=None)

    def verdicts(self) -> tuple[OracleVerdict, ...]:
        """The verdict of each oracle on all runs so far."""
        return tuple(self._verdict(name) for name in self._oracles)

    def _ask(self, name: str, oracle: LiveOracle, run: Any) -> Answer:
        try:
            return oracle.judge(run, self._terms)
        except Exception as error:  # noqa: BLE001 - an oracle's crash must not end the run, and must not pass
            words = f"the oracle itself failed: {type(error).__name__}: {error}"
            self._faults.setdefault(name, words)
            return unknown(words)

    def _verdict(self, name: str) -> OracleVerdict:
        count = self._counts[name]
        verdict, reason = Verdict.HOLDS, ""
        if count[Verdict.VIOLATED]:
            verdict, reason = Verdict.VIOLATED, f"in {count[Verdict.VIOLATED]} of {count.total()} runs"
        elif name in self._faults or not count[Verdict.HOLDS]:
            told = self._reasons[name].most_common(1)
            verdict, reason = Verdict.UNKNOWN, self._faults.get(name) or (told[0][0] if told else "nothing was judged")
        return OracleVerdict(
            oracle=name,
            verdict=verdict,
            reason=reason,
            held=count[Verdict.HOLDS],
            violated=count[Verdict.VIOLATED],
            unknown=count[Verdict.UNKNOWN],
            fault=self._faults.get(name, ""),
        )
