"""For each live oracle a run that it must object to, and a sound twin that it must pass.

An oracle that does not catch its canary must not be trusted; a gate asks `prove_live` before it does. Read `live.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from chaos.child import values
from chaos.history import LiveRun, Said
from chaos.observations import Damage, Ending, Outcome
from chaos.oracles.canaries import proven
from chaos.oracles.linearizable.models import REGISTER
from chaos.oracles.live import LIVE_ORACLES, LiveOracle, Terms

__all__ = ["LIVE_CANARIES", "LiveCanary", "prove_live"]

_NOTHING_SAID = Terms()


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCanary:
    """One broken run and its sound twin.

    Attributes:
        story: what is broken, one line.
        damage: the kind that the oracle must name.
        broken: it must object to this.
        sound: it must pass this.
        terms: what is said about the history.
    """

    story: str
    damage: Damage
    broken: LiveRun
    sound: LiveRun
    terms: Terms = _NOTHING_SAID


def _run(*statements: tuple[int, str, Any], final: Any = None, **more: Any) -> LiveRun:
    said = tuple(
        Said(position, process, kind + values.encode(value))
        for position, (process, kind, value) in enumerate(statements)
    )
    check = None if final is None else Outcome(ending=Ending.RETURNED, value=values.encode(final))
    return LiveRun(**{"said": said, "outcomes": _BOTH, "check": check, **more})


def _outcomes(*endings: Ending) -> tuple[Outcome, ...]:
    return tuple(Outcome(ending=ending, value="null" if ending is Ending.RETURNED else "") for ending in endings)


def _adds(first: int, second: int, final: int) -> LiveRun:
    """Two workers count up by one, and are told the new value."""
    calls = [(0, "(", [1, "add", 1, None]), (1, "(", [1, "add", 1, None])]
    answers = [(0, ")", [1, first]), (1, ")", [1, second])]
    return _run(*calls, *answers, final=final)


def _reads(seen: int) -> LiveRun:
    """One worker writes 1, and after that another one reads."""
    write = [(0, "(", [1, "write", 1, None]), (0, ")", [1, None])]
    return _run(*write, (1, "(", [1, "read", None, None]), (1, ")", [1, seen]))


_BOTH = _outcomes(Ending.RETURNED, Ending.RETURNED)
_FAILED = Outcome(ending=Ending.RAISED, error_type="AssertionError", error="1 != 2")

LIVE_CANARIES: dict[str, LiveCanary] = {
    "exclusive": LiveCanary(
        story="a worker enters a section that another one has not left",
        damage=Damage.SILENT,
        broken=_run((0, "+", "s"), (1, "+", "s"), (0, "-", "s"), (1, "-", "s")),
        sound=_run((0, "+", "s"), (0, "-", "s"), (1, "+", "s"), (1, "-", "s")),
    ),
    "no_lost_update": LiveCanary(
        story="two acknowledged updates count as one",
        damage=Damage.LOST,
        broken=_adds(1, 1, final=1),
        sound=_adds(2, 1, final=2),
    ),
    "linearizable": LiveCanary(
        story="a read that came after a write does not see it",
        damage=Damage.SILENT,
        broken=_reads(0),
        sound=_reads(1),
        terms=Terms(model=REGISTER),
    ),
    "check": LiveCanary(
        story="the user's check objects to what the workers left",
        damage=Damage.SILENT,
        broken=_run(check=_FAILED),
        sound=_run(final="fine"),
    ),
    "terminates": LiveCanary(
        story="two workers wait for each other",
        damage=Damage.STUCK,
        broken=_run(waiting=((0, "flock(a)"), (1, "flock(b)")), outcomes=_outcomes(Ending.HUNG, Ending.HUNG)),
        sound=_run(),
    ),
    "returns": LiveCanary(
        story="a worker is killed",
        damage=Damage.LOUD,
        broken=_run(outcomes=_outcomes(Ending.RETURNED, Ending.KILLED)),
        sound=_run(),
    ),
}


def prove_live(name: str, table: Mapping[str, LiveOracle] = LIVE_ORACLES) -> str:
    """Run a live oracle on its canary and on the sound twin.

    Returns:
        "" when it catches the one and passes the other, else what went wrong: the oracle must then not be trusted.
    """
    if name not in LIVE_CANARIES:
        return f"oracle {name!r} has no canary"
    canary, oracle = LIVE_CANARIES[name], table[name]
    pair = (canary.broken, canary.sound)
    return proven(name, canary.story, canary.damage, pair, lambda run: oracle.judge(run, canary.terms))
