"""What an oracle answers about one observation, and what it calls a legal state; every oracle is built on this.

Legality is decided here once: after k acknowledgements recovery may show what it shows on the undamaged tree at
acknowledgement k, or, because the next step may have been completed but not acknowledged, at k + 1. It must not
know any single oracle. Read `recovers.py` next.
"""

from dataclasses import dataclass
from typing import final

from chaos.observations import Damage, Ending, Observation, Outcome, Reference, Verdict

__all__ = ["Answer", "Objection", "ending_words", "holds", "is_legal", "legal_steps", "same", "unknown", "violated"]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One oracle's answer to one observation.

    Attributes:
        verdict: UNKNOWN when this observation can't tell, which is never counted as a pass.
        damage: of a violation; `Damage.SELF_HEALED` is reported and leaves the verdict at HOLDS.
        message: what is wrong, or why it is unknown; one line.
        cause: of a live run: what tells two ways to go wrong apart within one oracle.
        position: of a live run: the statement that decides it; None when the whole run does.
    """

    verdict: Verdict
    damage: Damage | None = None
    message: str = ""
    cause: str = ""
    position: int | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What an oracle has against an undamaged tree: the target is broken without any crash.

    Attributes:
        step: which of `Reference.steps`.
        damage: what kind.
        message: one line.
    """

    step: int
    damage: Damage
    message: str


def holds() -> Answer:
    """The observation satisfies the oracle."""
    return Answer(verdict=Verdict.HOLDS)


def violated(damage: Damage, message: str, *, cause: str = "", position: int | None = None) -> Answer:
    """The observation breaks the oracle; self-healed damage is told and still holds."""
    verdict = Verdict.HOLDS if damage is Damage.SELF_HEALED else Verdict.VIOLATED
    return Answer(verdict=verdict, damage=damage, message=message, cause=cause, position=position)


def unknown(reason: str) -> Answer:
    """The observation can't tell."""
    return Answer(verdict=Verdict.UNKNOWN, message=reason)


def same(one: Outcome, other: Outcome) -> bool:
    """Whether two runs ended alike: the same value, or the same failure (its message may differ)."""
    if one.ending is not other.ending:
        return False
    if one.ending is Ending.RETURNED:
        return one.value == other.value
    return (one.error_type, one.detail) == (other.error_type, other.detail)


def legal_steps(observation: Observation, reference: Reference) -> tuple[Outcome, ...]:
    """The undamaged outcomes that this crash state may show."""
    return tuple(
        step
        for number, step in enumerate(reference.steps[observation.acked : observation.acked + 2], observation.acked)
        if step.ending is Ending.RETURNED or number not in reference.halfway
    )


def is_legal(outcome: Outcome, observation: Observation, reference: Reference) -> bool:
    """Whether `outcome` is what an undamaged tree shows at one of the legal steps."""
    return any(same(outcome, step) for step in legal_steps(observation, reference))


def ending_words(outcome: Outcome) -> str:
    """How a run ended, as the end of a sentence that starts with "recovery"."""
    if outcome.ending is Ending.RETURNED:
        return "returned"
    if outcome.ending is Ending.HUNG:
        return "did not return before its deadline"
    if outcome.ending is Ending.MEMORY:
        return "went over its memory limit"
    if outcome.ending is Ending.KILLED:
        return f"was killed by signal {outcome.detail}"
    if outcome.ending is Ending.EXITED or outcome.error_type == "exit":
        return f"exited with code {outcome.detail}" + (f": {outcome.error}" if outcome.error else "")
    return f"raised {outcome.error_type}" + (f": {outcome.error}" if outcome.error else "")
