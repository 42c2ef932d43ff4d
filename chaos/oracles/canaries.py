"""For each oracle a canary that it must catch and a sound twin that it must pass, as data.

A check that can't fail is worth nothing, so whoever relies on an oracle's silence proves it first: `prove(name)`.
The pairs differ in the one thing that the oracle is about. Read `registry.py` for the oracles themselves.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar, final

from chaos.child import values
from chaos.observations import Bounds, Damage, Ending, Observation, Outcome, Reference, Verdict
from chaos.oracles.answer import Answer
from chaos.oracles.registry import ORACLES, Oracle
from chaos.trace.model import Ack

__all__ = ["CANARIES", "Canary", "prove", "proven"]

_Case = TypeVar("_Case")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One broken observation and its sound twin.

    Attributes:
        story: what is broken, one line.
        damage: the kind that the oracle must name.
        broken: it must object to this.
        sound: it must pass this.
        reference: the undamaged steps of both.
    """

    story: str
    damage: Damage
    broken: Observation
    sound: Observation
    reference: Reference


def _returned(value: object, *, acks: tuple[object, ...] = (), names: tuple[str, ...] = ()) -> Outcome:
    return Outcome(
        ending=Ending.RETURNED, value=values.encode(value), acks=tuple(map(values.encode, acks)), names=names
    )


def _seen(outcome: Outcome, resumed: Outcome | None = None) -> Observation:
    return Observation(state="canary", model="kill", point=6, acked=2, outcome=outcome, resumed=resumed)


# A program that saves 1, 2 and 3, acknowledging each; the crash comes after the second acknowledgement.
_COUNTER = Reference(
    steps=(_returned(None), _returned(1), _returned(2), _returned(3), _returned(3)),
    acks=tuple(Ack(after=3 * n, process=0, value=values.encode(n)) for n in (1, 2, 3)),
    writers=1,
    names=frozenset({"state.json"}),
)
# The same saves, seen through a recovery whose value a user's check looks at.
_CHECKED = replace(_COUNTER, checked=True)
# A program that appends to a list from two processes: no step is whole, but what is acknowledged must be there.
_APPENDER = Reference(
    steps=tuple(_returned(list(range(1, n + 1))) for n in (0, 1, 2, 3, 3)), acks=_COUNTER.acks, writers=2
)

CANARIES: dict[str, Canary] = {
    "recovers": Canary(
        story="recovery raises on half a JSON document",
        damage=Damage.LOUD,
        broken=_seen(Outcome(ending=Ending.RAISED, error_type="json.decoder.JSONDecodeError", error="Expecting value")),
        sound=_seen(_returned(2)),
        reference=_COUNTER,
    ),
    "atomic": Canary(
        story="recovery returns a value that no whole step has",
        damage=Damage.SILENT,
        broken=_seen(_returned(20)),
        sound=_seen(_returned(3)),
        reference=_COUNTER,
    ),
    "durable": Canary(
        story="one of two acknowledged values is missing from the list",
        damage=Damage.LOST,
        broken=_seen(_returned([1, 3])),
        sound=_seen(_returned([3, 1, 2])),
        reference=_APPENDER,
    ),
    "check": Canary(
        story="the user's check objects to the recovered value",
        damage=Damage.SILENT,
        broken=_seen(replace(_returned(20), check="AssertionError: 20 was never saved")),
        sound=_seen(_returned(20)),
        reference=_CHECKED,
    ),
    "finite": Canary(
        story="recovery returns a NaN deep inside its value",
        damage=Damage.SILENT,
        broken=_seen(_returned({"loss": [0.5, math.nan]})),
        sound=_seen(_returned({"loss": [0.5, 1e308]})),
        reference=_COUNTER,
    ),
    "resumable": Canary(
        story="the workload, run on, does an acknowledged step again",
        damage=Damage.SILENT,
        broken=_seen(_returned(2), resumed=_returned(3, acks=(2, 3))),
        sound=_seen(_returned(2), resumed=_returned(3, acks=(3,))),
        reference=_COUNTER,
    ),
    "terminates": Canary(
        story="struck by a fault, the workload waits for ever",
        damage=Damage.STUCK,
        broken=replace(_seen(_returned(2)), run=Outcome(ending=Ending.HUNG, error_type="deadline")),
        sound=replace(_seen(_returned(2)), run=Outcome(ending=Ending.RAISED, error_type="TimeoutError")),
        reference=_COUNTER,
    ),
    "bounded": Canary(
        story="recovery takes a byte more than it may",
        damage=Damage.EXCESS,
        broken=_seen(replace(_returned(2), memory_bytes=(64 << 20) + 1)),
        sound=_seen(replace(_returned(2), memory_bytes=64 << 20)),
        reference=replace(_COUNTER, bounds=Bounds(memory_bytes=64 << 20)),
    ),
    "clean": Canary(
        story="a temporary file stays in the folder",
        damage=Damage.UNCLEAN,
        broken=_seen(_returned(2, names=("state.json", "state.json.tmp17"))),
        sound=_seen(_returned(2, names=("state.json",))),
        reference=_COUNTER,
    ),
}


def prove(name: str, table: Mapping[str, Oracle] = ORACLES) -> str:
    """Run an oracle on its canary and on the sound twin.

    Returns:
        "" when it catches the one and passes the other, else what went wrong: the oracle must then not be trusted.
    """
    if name not in CANARIES:
        return f"oracle {name!r} has no canary"
    canary, oracle = CANARIES[name], table[name]
    pair = (canary.broken, canary.sound)
    return proven(name, canary.story, canary.damage, pair, lambda seen: oracle.judge(seen, canary.reference))


def proven(name: str, story: str, damage: Damage, pair: tuple[_Case, _Case], judge: Callable[[_Case], Answer]) -> str:
    """Whether an oracle is to be trusted, given what it says to a pair of cases.

    Args:
        name: the oracle's.
        story: what is broken, one line.
        damage: the kind that it must name.
        pair: the broken case and its sound twin.
        judge: its answer to a case.

    Returns:
        as `prove`.
    """
    try:
        caught, passed = map(judge, pair)
    except Exception as error:  # noqa: BLE001 - whatever an oracle raises here means: do not trust it
        return f"oracle {name!r} failed on its canary: {type(error).__name__}: {error}"
    if caught.verdict is not Verdict.VIOLATED or caught.damage is not damage:
        return f"oracle {name!r} does not catch its canary: {story}"
    if passed.verdict is not Verdict.HOLDS:
        return f"oracle {name!r} objects to the sound twin of its canary: {passed.message}"
    return ""
