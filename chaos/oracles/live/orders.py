"""Oracles over the order of what was stated: `exclusive` and `linearizable`, on what live processes said. Pure."""

from chaos.history import Operation, operations_of
from chaos.observations import Damage, Verdict
from chaos.oracles.exclusive import exclusive as intrusion_of
from chaos.oracles.linearizable import linearizable as judgement_of
from chaos.oracles.linearizable import model_named
from chaos.oracles.live.aftermath import Aftermath, LiveAnswer, holds, unknown, violated

__all__ = ["exclusive", "linearizable"]


def exclusive(aftermath: Aftermath) -> LiveAnswer:
    """No two processes are in one critical section at a time."""
    found = intrusion_of(one for one in aftermath.said() if one.text[:1] in "+-")
    if found is not None:
        section = f" {found.section!r}" if found.section else ""
        who = f"process {found.entered} came into section{section} while process {found.inside} was inside"
        return violated(Damage.SILENT, who, [found.position])
    if not any(one.text[:1] == "+" for one in aftermath.said()):
        return unknown("nobody was in a critical section")
    return holds()


def linearizable(aftermath: Aftermath) -> LiveAnswer:
    """The calls have an order that explains their answers."""
    if not aftermath.model:
        return unknown("no model is given")
    history = operations_of(one for one in aftermath.said() if one.text[:1] in "()x")
    if not history:
        return unknown("no call was made")
    found = judgement_of(history, model_named(aftermath.model))
    if found.verdict is Verdict.UNKNOWN:
        return unknown("the search for an order was given up")
    if found.verdict is Verdict.HOLDS:
        return holds()
    words = "; ".join(_words(one) for one in found.refutation[:6])
    positions = [int(one.called) for one in found.refutation]
    return violated(Damage.SILENT, f"no order of the calls explains their answers: {words}", positions)


def _words(one: Operation) -> str:
    key = "" if one.key is None else f"{one.key!r}, "
    argument = "" if one.argument is None else repr(one.argument)
    return f"process {one.process}: {one.name}({key}{argument}) -> {one.result!r}"
