"""Oracles over the order of what was stated: `exclusive` and `linearizable`, on what a fleet said. Pure."""

from chaos.history import operations_of
from chaos.observations import Damage, Verdict
from chaos.oracles.answer import Answer, holds, unknown, violated
from chaos.oracles.exclusive import exclusive as intrusion_of
from chaos.oracles.fleets.aftermath import Aftermath
from chaos.oracles.linearizable import linearizable as judgement_of
from chaos.oracles.linearizable.wording import refutation_words
from chaos.oracles.live import Terms

__all__ = ["exclusive", "linearizable"]


def exclusive(aftermath: Aftermath) -> Answer:
    """No two processes are in one critical section at a time."""
    found = intrusion_of(one for one in aftermath.said() if one.text[:1] in "+-x")
    if found is not None:
        section = f" {found.section!r}" if found.section else ""
        who = f"process {found.entered} came into section{section} while process {found.inside} was inside"
        return violated(Damage.SILENT, who, cause=found.section, position=found.position)
    if not any(one.text[:1] == "+" for one in aftermath.said()):
        return unknown("no worker told of a section")
    return holds()


def linearizable(aftermath: Aftermath, terms: Terms) -> Answer:
    """The calls have an order that explains their answers."""
    history = operations_of(one for one in aftermath.said() if one.text[:1] in "()/")
    if terms.model is None or not history:
        return unknown('no worker told of a call: witness.call("read") as call: call.result = ...')
    judged = judgement_of(history, terms.model, initial=terms.initial)
    if judged.verdict is Verdict.UNKNOWN:
        return unknown("the search for an order was given up")
    if judged.verdict is Verdict.HOLDS:
        return holds()
    first = min((int(one.called) for one in judged.refutation), default=None)
    return violated(Damage.SILENT, refutation_words(judged, terms.model), position=first)
