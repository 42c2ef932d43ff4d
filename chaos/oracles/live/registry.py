"""The oracles over live processes by name, which of them judge when the user names none, and each one's canary.

Adding one takes a function, a line here, and a canary with its sound twin; a test refuses an oracle without.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.child import values
from chaos.errors import UsageError
from chaos.history import Said
from chaos.observations import Ending, Outcome, Verdict
from chaos.oracles.live.aftermath import Aftermath, Bounds, LiveAnswer, unknown
from chaos.oracles.live.items import durable, no_lost_update
from chaos.oracles.live.orders import exclusive, linearizable
from chaos.oracles.live.states import bounded, check, clean, finite, recovers, terminates

__all__ = ["LIVE_CANARIES", "LIVE_ORACLES", "LiveCanary", "LiveOracle", "choose_live", "judge_live", "prove_live"]

LiveOracle = Callable[[Aftermath], LiveAnswer]

# In the order of how much each tells.
LIVE_ORACLES: dict[str, LiveOracle] = {
    "durable": durable,
    "no_lost_update": no_lost_update,
    "exclusive": exclusive,
    "linearizable": linearizable,
    "recovers": recovers,
    "check": check,
    "finite": finite,
    "terminates": terminates,
    "clean": clean,
    "bounded": bounded,
}


def choose_live(names: Sequence[str] | None, *, recovers: bool, checked: bool, model: str) -> tuple[str, ...]:
    """The oracles to use, in the table's order.

    Args:
        names: those that the user named; None for what can be judged by what was given.
        recovers: there is a `recover`.
        checked: there is a `check`, which then always judges.
        model: of the history, or "".

    Raises:
        UsageError: a name is unknown, or there is nothing that the oracle could judge.
    """
    if names is None:
        wanted = {"terminates", "finite"} | ({"recovers"} if recovers else set())
        wanted |= ({"linearizable"} if model else set()) | ({"durable"} if recovers and not checked else set())
    else:
        wanted = set(names)
    for name in wanted:
        if name not in LIVE_ORACLES:
            raise UsageError(f"unknown oracle {name!r}", f"choose among: {', '.join(LIVE_ORACLES)}")
    if checked:
        wanted.add("check")
    elif "check" in wanted:
        raise UsageError("oracle 'check' is named, but no check is given", "give a check, or leave the oracle out")
    if "linearizable" in wanted and not model:
        raise UsageError("oracle 'linearizable' needs a model", 'say what the calls are about: history = "register"')
    return tuple(name for name in LIVE_ORACLES if name in wanted)


def judge_live(name: str, aftermath: Aftermath, table: Mapping[str, LiveOracle] = LIVE_ORACLES) -> tuple[LiveAnswer, str]:
    """An oracle's answer, and its own crash in words, "" when it did not crash: a crash is UNKNOWN, never a pass."""
    try:
        return table[name](aftermath), ""
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - an oracle's crash must not end the run, and must not pass
        words = f"the oracle itself failed: {type(error).__name__}: {error}"
        return unknown(words), words


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveCanary:
    """A broken aftermath that an oracle must catch, and a sound twin that it must pass."""

    story: str
    broken: Aftermath
    sound: Aftermath


def _aftermath(*texts: tuple[int, str], value: object = None) -> Aftermath:
    said = [Said(position, process, text) for position, (process, text) in enumerate(texts)]
    outcome = Outcome(ending=Ending.RETURNED, value=values.encode(value), duration_s=0.5)
    return Aftermath(said=lambda: said, recovery=outcome, left=(), peaks=(100,), disk_bytes=10)


_TWO = ((0, "a1"), (1, "a2"))
_CALM = _aftermath(*_TWO, value=[1, 2])
_ANSWERED = '([1,"read",null,null]', ")[1,1]"
_WRITE = '([1,"write",1,null]', ")[1,null]"
LIVE_CANARIES: dict[str, LiveCanary] = {
    "durable": LiveCanary(
        story="one of two acknowledged values is gone", broken=_aftermath(*_TWO, value=[1]), sound=_CALM
    ),
    "no_lost_update": LiveCanary(
        story="two updates were acknowledged, and one was counted",
        broken=_aftermath(*_TWO, value=1),
        sound=_aftermath(*_TWO, value=2),
    ),
    "exclusive": LiveCanary(
        story="one comes in before the other has left",
        broken=_aftermath((0, '+"s"'), (1, '+"s"'), (0, '-"s"'), (1, '-"s"')),
        sound=_aftermath((0, '+"s"'), (0, '-"s"'), (1, '+"s"'), (1, '-"s"')),
    ),
    "linearizable": LiveCanary(
        story="a register shows what was written later",
        broken=replace(_aftermath((0, _ANSWERED[0]), (0, _ANSWERED[1]), (1, _WRITE[0]), (1, _WRITE[1])), model="register"),
        sound=replace(_aftermath((1, _WRITE[0]), (1, _WRITE[1]), (0, _ANSWERED[0]), (0, _ANSWERED[1])), model="register"),
    ),
    "recovers": LiveCanary(
        story="recovery raises",
        broken=replace(_CALM, recovery=Outcome(ending=Ending.RAISED, error_type="ValueError")),
        sound=_CALM,
    ),
    "check": LiveCanary(
        story="the user's check objects",
        broken=replace(_CALM, recovery=Outcome(ending=Ending.RETURNED, value="1", check="AssertionError: no")),
        sound=_CALM,
    ),
    "finite": LiveCanary(story="a NaN is acknowledged", broken=_aftermath((0, 'a{"$float":"nan"}')), sound=_CALM),
    "terminates": LiveCanary(story="a worker does not go on", broken=replace(_CALM, stuck={1: ""}), sound=_CALM),
    "clean": LiveCanary(story="a file stays behind", broken=replace(_CALM, left=("x.tmp",)), sound=_CALM),
    "bounded": LiveCanary(
        story="a worker holds more memory than it may",
        broken=replace(_CALM, bounds=Bounds(memory_bytes=99)),
        sound=replace(_CALM, bounds=Bounds(memory_bytes=100, disk_bytes=10, recovery_s=0.5)),
    ),
}


def prove_live(name: str, table: Mapping[str, LiveOracle] = LIVE_ORACLES) -> str:
    """Run an oracle on its canary and on the sound twin; "" when it is to be trusted, else why not."""
    if name not in LIVE_CANARIES:
        return f"oracle {name!r} has no canary"
    canary = LIVE_CANARIES[name]
    caught, fault = judge_live(name, canary.broken, table)
    passed, other = judge_live(name, canary.sound, table)
    if fault or other:
        return f"oracle {name!r} failed on its canary: {fault or other}"
    if caught.verdict is not Verdict.VIOLATED:
        return f"oracle {name!r} does not catch its canary: {canary.story}"
    if passed.verdict is not Verdict.HOLDS:
        return f"oracle {name!r} objects to the sound twin of its canary: {passed.message}"
    return ""
