"""The oracles over fleets by name, which of them judge when the user names none, and each one's canary.

Adding one takes a function, a line here, and a canary with its sound twin; a test refuses an oracle without. Runs are
judged by `chaos/oracles/jury.py`, by these instead of those of `chaos/oracles/live.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import final

from chaos.child import values
from chaos.errors import UsageError
from chaos.history import Said
from chaos.observations import Bounds, Ending, Outcome, Verdict
from chaos.oracles.fleets.aftermath import Aftermath
from chaos.oracles.fleets.items import durable, no_lost_update
from chaos.oracles.fleets.orders import exclusive, linearizable
from chaos.oracles.fleets.states import bounded, check, clean, finite, recovers, terminates
from chaos.oracles.linearizable import model_named
from chaos.oracles.live import LiveOracle, Terms

__all__ = ["FLEET_CANARIES", "FLEET_ORACLES", "FleetCanary", "choose_fleet", "prove_fleet"]

# In the order of how much each tells: of several objections to one run with equal damage the first is reported.
FLEET_ORACLES: dict[str, LiveOracle] = {
    "durable": LiveOracle(asserts="all that was acknowledged is there", judge=lambda seen, _: durable(seen)),
    "no_lost_update": LiveOracle(
        asserts="what is there adds up to the acknowledged updates", judge=lambda seen, _: no_lost_update(seen)
    ),
    "exclusive": LiveOracle(
        asserts="no two workers are in one critical section at a time", judge=lambda seen, _: exclusive(seen)
    ),
    "linearizable": LiveOracle(asserts="the calls' answers fit some order of theirs, one by one", judge=linearizable),
    "recovers": LiveOracle(asserts="recovery returns: no exception, no hang", judge=lambda seen, _: recovers(seen)),
    "check": LiveOracle(asserts="the user's own check accepts what is there", judge=lambda seen, _: check(seen)),
    "finite": LiveOracle(asserts="no NaN or infinity is acknowledged or there", judge=lambda seen, _: finite(seen)),
    "terminates": LiveOracle(
        asserts="once the faults are over every worker goes on", judge=lambda seen, _: terminates(seen)
    ),
    "clean": LiveOracle(asserts="no process and no file is left behind", judge=lambda seen, _: clean(seen)),
    "bounded": LiveOracle(
        asserts="memory, files and recovery stay within what was given", judge=lambda seen, _: bounded(seen)
    ),
}


def choose_fleet(
    names: Sequence[str] | None, *, recovers: bool, checked: bool, modelled: bool, bounded: bool = False
) -> tuple[str, ...]:
    """The oracles to use, in the table's order.

    Args:
        names: those that the user named; None for what can be judged by what was given.
        recovers: there is a `recover`.
        checked: there is a `check`, which is never passed over, and by default takes the place of `durable`.
        modelled: the user said what the history is held against; likewise never passed over.
        bounded: a bound is given; likewise.

    Raises:
        UsageError: a name is unknown, or one is named without what it needs.
    """
    for name in names or ():
        if name not in FLEET_ORACLES:
            raise UsageError(f"unknown oracle {name!r}", f"choose among: {', '.join(FLEET_ORACLES)}")
    usual = {"terminates", "finite"} | ({"recovers"} if recovers else set())
    wanted = usual | ({"durable"} if recovers and not checked else set()) if names is None else {*names}
    if "check" in wanted and not checked:
        raise UsageError("oracle 'check' is named, but no check is given", "give a check, or leave the oracle out")
    if "linearizable" in wanted and not modelled:
        raise UsageError("oracle 'linearizable' is named, but no model", 'say history = "register", or leave it out')
    needs = wanted & {"durable", "no_lost_update", "recovers"}
    if needs and not recovers:
        raise UsageError(f"oracle {min(needs)!r} is named, but no recover", "give a `recover` that says what is there")
    wanted |= {name for name, on in (("check", checked), ("linearizable", modelled), ("bounded", bounded)) if on}
    return tuple(name for name in FLEET_ORACLES if name in wanted)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCanary:
    """A broken aftermath that an oracle must catch, and a sound twin that it must pass."""

    story: str
    broken: Aftermath
    sound: Aftermath
    terms: Terms = field(default_factory=Terms)


def _aftermath(*texts: tuple[int, str], value: object = None) -> Aftermath:
    said = [Said(position, process, text) for position, (process, text) in enumerate(texts)]
    outcome = Outcome(ending=Ending.RETURNED, value=values.encode(value), duration_s=0.5)
    return Aftermath(said=lambda: said, recovery=outcome, left=(), peaks=(100,), sizes={"log": 10})


_TWO = ((0, "a1"), (1, "a2"))
_CALM = _aftermath(*_TWO, value=[1, 2])
_ANSWERED = '([1,"read",null,null]', ")[1,1]"
_WRITE = '([1,"write",1,null]', ")[1,null]"
FLEET_CANARIES: dict[str, FleetCanary] = {
    "durable": FleetCanary(
        story="one of two acknowledged values is gone", broken=_aftermath(*_TWO, value=[1]), sound=_CALM
    ),
    "no_lost_update": FleetCanary(
        story="two updates were acknowledged, and one was counted",
        broken=_aftermath(*_TWO, value=1),
        sound=_aftermath(*_TWO, value=2),
    ),
    "exclusive": FleetCanary(
        story="one comes in before the other has left",
        broken=_aftermath((0, '+"s"'), (1, '+"s"'), (0, '-"s"'), (1, '-"s"')),
        sound=_aftermath((0, '+"s"'), (0, '-"s"'), (1, '+"s"'), (1, '-"s"')),
    ),
    "linearizable": FleetCanary(
        story="a register shows what was written later",
        broken=_aftermath((0, _ANSWERED[0]), (0, _ANSWERED[1]), (1, _WRITE[0]), (1, _WRITE[1])),
        sound=_aftermath((1, _WRITE[0]), (1, _WRITE[1]), (0, _ANSWERED[0]), (0, _ANSWERED[1])),
        terms=Terms(model=model_named("register")),
    ),
    "recovers": FleetCanary(
        story="recovery raises",
        broken=replace(_CALM, recovery=Outcome(ending=Ending.RAISED, error_type="ValueError")),
        sound=_CALM,
    ),
    "check": FleetCanary(
        story="the user's check objects",
        broken=replace(_CALM, recovery=Outcome(ending=Ending.RETURNED, value="1", check="AssertionError: no")),
        sound=_CALM,
    ),
    "finite": FleetCanary(story="a NaN is acknowledged", broken=_aftermath((0, 'a{"$float":"nan"}')), sound=_CALM),
    "terminates": FleetCanary(story="a worker does not go on", broken=replace(_CALM, stuck={1: ""}), sound=_CALM),
    "clean": FleetCanary(story="a file stays behind", broken=replace(_CALM, left=("x.tmp",)), sound=_CALM),
    "bounded": FleetCanary(
        story="a worker holds more memory than it may",
        broken=replace(_CALM, bounds=Bounds(memory_bytes=99)),
        sound=replace(_CALM, bounds=Bounds(memory_bytes=100, file_bytes=10, disk_bytes=10, recovery_s=0.5)),
    ),
}


def prove_fleet(name: str, table: Mapping[str, LiveOracle] = FLEET_ORACLES) -> str:
    """Run an oracle on its canary and on the sound twin; "" when it is to be trusted, else why not."""
    if name not in FLEET_CANARIES:
        return f"oracle {name!r} has no canary"
    canary, oracle = FLEET_CANARIES[name], table[name]
    try:
        caught = oracle.judge(canary.broken, canary.terms)
        passed = oracle.judge(canary.sound, canary.terms)
    except Exception as error:  # noqa: BLE001 - whatever an oracle raises here means: do not trust it
        return f"oracle {name!r} failed on its canary: {type(error).__name__}: {error}"
    if caught.verdict is not Verdict.VIOLATED:
        return f"oracle {name!r} does not catch its canary: {canary.story}"
    if passed.verdict is not Verdict.HOLDS:
        return f"oracle {name!r} objects to the sound twin of its canary: {passed.message}"
    return ""
