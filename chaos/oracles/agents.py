"""The oracles over runs of an agent under a fake LLM, by name, and each one's canary.

Adding one takes a function, a line in the table, and a canary with its sound twin; a test refuses an oracle without.
Runs are judged by `jury.py`, by these instead of those of `live.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from chaos.child import values
from chaos.errors import UsageError
from chaos.observations import Damage, Ending, Outcome, Verdict
from chaos.oracles.answer import Answer, ending_words, holds, unknown, violated
from chaos.oracles.live import LiveOracle, Terms

__all__ = ["AGENT_CANARIES", "AGENT_ORACLES", "AgentCanary", "AgentRun", "choose_agent", "prove_agent"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRun:
    """One run of an agent, as oracles see it.

    Attributes:
        outcome: how it ended.
        cut: why it was ended by force; "" when it was not.
        bad_files: where the files that it left hold NaN or an infinity.
        check: how the user's check ended; None without one, and where the agent did not return.
    """

    outcome: Outcome
    cut: str = ""
    bad_files: tuple[str, ...] = ()
    check: Outcome | None = None


def _terminates(run: AgentRun) -> Answer:
    if not run.cut:
        return holds()
    return violated(Damage.STUCK, run.cut, cause="hung" if run.outcome.ending is Ending.HUNG else "rounds")


def _finite(run: AgentRun) -> Answer:
    if places := values.non_finite(run.outcome.value) if run.outcome.value else ():
        message = f"the agent returned a number that is not finite, at {places[0]}"
        return violated(Damage.SILENT, message, cause="value")
    if run.bad_files:
        message = f"a file holds a number that is not finite: {run.bad_files[0]}"
        return violated(Damage.SILENT, message, cause="file")
    return holds()


def _returns(run: AgentRun) -> Answer:
    if run.cut:
        return unknown("it was ended by force")
    if run.outcome.ending is Ending.RETURNED:
        return holds()
    return violated(Damage.LOUD, f"the agent {ending_words(run.outcome)}", cause=run.outcome.error_type)


def _check(run: AgentRun) -> Answer:
    if run.check is None:
        return unknown("the agent returned nothing that could be checked")
    if run.check.ending is Ending.RETURNED:
        return holds()
    return violated(Damage.SILENT, f"the check of what the agent left {ending_words(run.check)}")


# In the order of how much each tells: of several objections to one run with equal damage the first is reported.
AGENT_ORACLES: dict[str, LiveOracle] = {
    "finite": LiveOracle(asserts="no NaN or infinity in value and files", judge=lambda run, _: _finite(run)),
    "check": LiveOracle(asserts="the user's own check accepts what it left", judge=lambda run, _: _check(run)),
    "terminates": LiveOracle(
        asserts="it ends within its rounds and before its deadline", judge=lambda run, _: _terminates(run)
    ),
    "returns": LiveOracle(asserts="it returns: no exception, no exit", judge=lambda run, _: _returns(run)),
}
_DEFAULT = ("finite", "terminates", "returns")


def choose_agent(names: Sequence[str] | None, *, checked: bool) -> tuple[str, ...]:
    """The oracles to use, in the table's order.

    Args:
        names: those that the user named; None for the usual ones.
        checked: the user gave a check; it is then never passed over.

    Raises:
        UsageError: a name is unknown, or `check` is named and there is none.
    """
    for name in names or ():
        if name not in AGENT_ORACLES:
            raise UsageError(f"unknown oracle {name!r}", f"choose among: {', '.join(AGENT_ORACLES)}")
    wanted = {*(_DEFAULT if names is None else names)}
    if "check" in wanted and not checked:
        raise UsageError("oracle 'check' is named, but no check is given", "give a check, or leave the oracle out")
    wanted |= {"check"} if checked else set()
    return tuple(name for name in AGENT_ORACLES if name in wanted)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCanary:
    """A broken run that an oracle must catch, and a sound twin that it must pass."""

    story: str
    broken: AgentRun
    sound: AgentRun


_RETURNED = Outcome(ending=Ending.RETURNED, value="1")
_RAISED = Outcome(ending=Ending.RAISED, error_type="AssertionError")
_CALM = AgentRun(outcome=_RETURNED, check=_RETURNED)
AGENT_CANARIES: dict[str, AgentCanary] = {
    "finite": AgentCanary(
        story="the agent returns a NaN",
        broken=replace(_CALM, outcome=replace(_RETURNED, value='{"tokens":{"$float":"nan"}}')),
        sound=_CALM,
    ),
    "check": AgentCanary(story="the check objects", broken=replace(_CALM, check=_RAISED), sound=_CALM),
    "terminates": AgentCanary(
        story="the agent asks on and on",
        broken=AgentRun(outcome=Outcome(ending=Ending.KILLED), cut="it went on asking"),
        sound=_CALM,
    ),
    "returns": AgentCanary(story="the agent raises", broken=AgentRun(outcome=_RAISED), sound=_CALM),
}


def prove_agent(name: str, table: Mapping[str, LiveOracle] = AGENT_ORACLES) -> str:
    """Run an oracle on its canary and on the sound twin; "" when it is to be trusted, else why not."""
    if name not in AGENT_CANARIES:
        return f"oracle {name!r} has no canary"
    canary, oracle = AGENT_CANARIES[name], table[name]
    try:
        caught, passed = oracle.judge(canary.broken, Terms()), oracle.judge(canary.sound, Terms())
    except Exception as error:  # noqa: BLE001 - whatever an oracle raises here means: do not trust it
        return f"oracle {name!r} failed on its canary: {type(error).__name__}: {error}"
    if caught.verdict is not Verdict.VIOLATED:
        return f"oracle {name!r} does not catch its canary: {canary.story}"
    if passed.verdict is not Verdict.HOLDS:
        return f"oracle {name!r} objects to the sound twin of its canary: {passed.message}"
    return ""
