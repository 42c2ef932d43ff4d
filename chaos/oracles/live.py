"""The oracles over runs of living processes, as a plain table, and which of them judge when the user names none.

Adding one takes a module, a line here, and a canary with its sound twin in `live_canaries.py`; a test refuses an oracle
without. Read `registry.py` for the oracles over crash states.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from chaos.child.values import decode
from chaos.errors import UsageError
from chaos.history import LiveRun, operations_of
from chaos.observations import Damage, Ending, Verdict
from chaos.oracles.answer import Answer, ending_words, holds, unknown, violated
from chaos.oracles.exclusive import exclusive
from chaos.oracles.linearizable import Model, linearizable
from chaos.oracles.linearizable.wording import refutation_words
from chaos.oracles.lost_update import lost_update
from chaos.oracles.returns import returns
from chaos.oracles.terminates import terminates

__all__ = ["LIVE_ORACLES", "LiveOracle", "Terms", "choose_live"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the user said about the thing that a history is about.

    Attributes:
        model: what it does; None when nothing was said.
        initial: its first value; the model's own when None.
    """

    model: Model | None = None
    initial: Any = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveOracle:
    """One predicate over a run of living processes.

    Attributes:
        asserts: what must hold, one line.
        judge: its answer to one run: a `LiveRun` here, an `Aftermath` in `fleets/`.
    """

    asserts: str
    judge: Callable[[Any, Terms], Answer]


def _exclusive(run: LiveRun, _: Terms) -> Answer:
    found = exclusive(run.said)
    if found is not None:
        where = f"the section {found.section!r}" if found.section else "the critical section"
        message = f"{run.named(found.entered)} came into {where} while {run.named(found.inside)} was there"
        return violated(Damage.SILENT, message, cause=found.section, position=found.position)
    return holds() if any(one.text[:1] == "+" for one in run.said) else unknown("no worker told of a section")


def _no_lost_update(run: LiveRun, terms: Terms) -> Answer:
    operations = operations_of(run.said)
    if not any(operation.name == "add" for operation in operations):
        return unknown('no worker told of an update: witness.call("add", 1)')
    looked = run.check is not None and run.check.ending is Ending.RETURNED and not _stopped(run)
    final = _number(decode(run.check.value)) if looked and run.check is not None else None
    if final is None and all(operation.result is None for operation in operations):
        if run.check is not None and (stopped := _stopped(run)):
            return unknown(f"what is there in the end need not be whole: {stopped}")
        return unknown("nobody told what is there in the end: let check(disk, results) return it")
    told = lost_update(operations, final, initial=0 if terms.initial is None else terms.initial)
    return violated(told.damage, told.words) if told else holds()


def _number(final: Any) -> Any:
    """What a command prints is a text."""
    return int(final) if isinstance(final, str) and final.strip().lstrip("-").isdigit() else final


def _linearizable(run: LiveRun, terms: Terms) -> Answer:
    operations = operations_of(run.said)
    if terms.model is None:
        return unknown("nobody told what the history is held against: name a model")
    if not operations:
        return unknown('no worker told of a call: witness.call("read") as call: call.result = ...')
    judged = linearizable(operations, terms.model, initial=terms.initial)
    if judged.verdict is Verdict.UNKNOWN:
        return unknown("the search for an order was given up")
    return violated(Damage.SILENT, refutation_words(judged, terms.model)) if judged.refutation else holds()


def _check(run: LiveRun, _: Terms) -> Answer:
    if run.check is None:
        return unknown("no check was given")
    if stopped := _stopped(run):
        return unknown(f"no check was made: {stopped}")
    if run.check.ending is Ending.RETURNED:
        return holds()
    return violated(Damage.SILENT, f"the check of what the workers left {ending_words(run.check)}")


def _stopped(run: LiveRun) -> str:
    """Who did not come to the end, so that what is there need not be whole; "" when all did."""
    if run.waiting:
        return "workers stood waiting for each other"
    if run.cut:
        return run.cut
    ends = [
        f"worker {who} {ending_words(one)}" for who, one in enumerate(run.outcomes) if one.ending is not Ending.RETURNED
    ]
    return next(iter(ends), "")


# In the order of how much each tells: of several objections to one run with equal damage the first is reported.
LIVE_ORACLES: dict[str, LiveOracle] = {
    "exclusive": LiveOracle(asserts="no two workers are in one critical section at a time", judge=_exclusive),
    "no_lost_update": LiveOracle(asserts="what is there adds up to the acknowledged updates", judge=_no_lost_update),
    "linearizable": LiveOracle(asserts="the calls' answers fit some order of theirs, one by one", judge=_linearizable),
    "check": LiveOracle(asserts="the user's own check accepts what the workers left", judge=_check),
    "terminates": LiveOracle(asserts="no deadlock, no endless loop", judge=lambda run, _: terminates(run)),
    "returns": LiveOracle(asserts="every worker returns: no exception, no exit", judge=lambda run, _: returns(run)),
}
_DEFAULT = ("exclusive", "terminates", "returns")


def choose_live(names: Sequence[str] | None, *, checked: bool, modelled: bool) -> tuple[str, ...]:
    """The oracles to use, in the table's order.

    Args:
        names: those that the user named; None for the usual ones.
        checked: the user gave a check; it is then never passed over.
        modelled: the user said what the history is held against; likewise.

    Raises:
        UsageError: a name is unknown, or one is named without what it needs.
    """
    for name in names or ():
        if name not in LIVE_ORACLES:
            raise UsageError(f"unknown oracle {name!r}", f"choose among: {', '.join(LIVE_ORACLES)}")
    wanted = {*(_DEFAULT if names is None else names)}
    if "check" in wanted and not checked:
        raise UsageError("oracle 'check' is named, but no check is given", "give a check, or leave the oracle out")
    if "linearizable" in wanted and not modelled:
        raise UsageError("oracle 'linearizable' is named, but no model", 'say history = "register", or leave it out')
    wanted |= ({"check"} if checked else set()) | ({"linearizable"} if modelled else set())
    return tuple(name for name in LIVE_ORACLES if name in wanted)
