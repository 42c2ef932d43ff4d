"""Which pattern a history shows, at which level, and in which words: pure functions of what was counted.

Read `stuck_model.py` for the ladders; `stuck.py` does the counting.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, final

from pytest_guardrails.reliability.loops.likeness import Match
from pytest_guardrails.reliability.loops.repetition import Seen
from pytest_guardrails.reliability.loops.stuck_model import (
    Ladder,
    Level,
    Pattern,
    Step,
    StepKind,
    StuckSettings,
    Verdict,
)

__all__ = ["Facts", "Tally", "count", "judge"]

_NEVER = -1_000_000
_NOTHING = Verdict()


@final
class Tally(NamedTuple):
    """What is counted since the work advanced the last time.

    Attributes:
        errors: in a row.
        talks: steps in a row that only spoke.
        waits: answers in a row that did not change.
        still: steps with a progress mark that was not new.
        last_wait: number of the last step that waited.
    """

    errors: int = 0
    talks: int = 0
    waits: int = 0
    still: int = 0
    last_wait: int = _NEVER


@final
class Facts(NamedTuple):
    """What the rules look at.

    Attributes:
        step: its number.
        kind: what came of it.
        match: what is known of its message.
        seen: what it repeats.
        acted: it is known what was done.
        one_action: the message came of one action only, whenever it came.
        tally: see there.
    """

    step: int
    kind: StepKind
    match: Match
    seen: Seen
    acted: bool
    one_action: bool
    tally: Tally


@final
class _Found(NamedTuple):
    level: Level
    pattern: Pattern
    times: int
    period: int = 0


def count(tally: Tally, step: Step, match: Match, *, step_number: int, fresh: bool) -> Tally:
    """The tally after a step."""
    kind = step.kind
    waiting = kind is StepKind.WAITING
    waits = tally.waits
    if waiting:
        waits = 1 if match.new or match.moved else waits + 1
    still = tally.still
    if step.progress is not None and not waiting:
        still = 0 if fresh else still + 1
    return Tally(
        tally.errors + 1 if kind is StepKind.ERROR else tally.errors if waiting or kind is StepKind.TALK else 0,
        tally.talks + 1 if kind is StepKind.TALK else 0,
        waits,
        still,
        step_number if waiting else tally.last_wait,
    )


def judge(facts: Facts, settings: StuckSettings, excerpts: Sequence[str]) -> Verdict:
    """The gravest pattern of all that are there.

    Args:
        facts: of the newest step.
        settings: the ladders.
        excerpts: of the last messages, the newest last.
    """
    tally = facts.tally
    if facts.seen.times < 2 and not (tally.errors or tally.talks or tally.waits or tally.still):
        return _NOTHING  # most steps of honest work
    worst: _Found | None = None
    for pattern, ladder, times, period in _patterns(facts, settings):
        if times < ladder.note:
            continue
        level = ladder.level(times)
        if worst is None or level > worst.level:
            worst = _Found(level, pattern, times, period)
    if worst is None:
        return _NOTHING
    level, pattern, times, period = worst
    evidence = _evidence(worst, facts, list(excerpts))
    return Verdict(level, pattern, times, period, evidence)


def _patterns(facts: Facts, settings: StuckSettings) -> Iterable[tuple[Pattern, Ladder, int, int]]:
    kind, tally = facts.kind, facts.tally
    if kind is StepKind.WAITING:
        yield Pattern.WAITING, settings.waiting, tally.waits, 0
        return
    yield from _repeats(facts, settings)
    if tally.errors:
        yield Pattern.ERRORS, settings.errors, tally.errors, 0
    if tally.talks:
        yield Pattern.MONOLOGUE, settings.monologue, tally.talks, 0
    if tally.still:
        yield Pattern.NO_PROGRESS, settings.no_progress, tally.still, 0


def _repeats(facts: Facts, settings: StuckSettings) -> Iterable[tuple[Pattern, Ladder, int, int]]:
    seen, failing = facts.seen, facts.kind.failing
    if seen.times < 2:
        return
    # What is done while waiting, such as sleeping between two questions, is part of the waiting.
    if facts.step - facts.tally.last_wait <= max(seen.period, 2) and not failing:
        return
    if seen.period == 1:
        plain = settings.same_failure if failing else settings.same_result
        soft = not facts.match.exact or (failing and not facts.one_action)
        yield Pattern.SAME, settings.alike if soft else plain, seen.rounds, 1
    elif seen.period:
        ladder = settings.cycle_of_failures if failing else settings.cycle
        yield Pattern.CYCLE, ladder, seen.rounds, seen.period
    if seen.times < seen.span:
        # An error that many actions meet may be the weather, such as a network that comes and goes; so may one of which
        # nobody says what was done.
        known = facts.one_action and (facts.acted or facts.kind is StepKind.RETRY)
        ladder = settings.recurring_failure if failing and known else settings.recurring_result
        if seen.times < settings.least_share * seen.span:
            ladder = ladder._replace(block=_never(ladder), stop=_never(ladder))
        yield Pattern.RECURRING, ladder, seen.times, 0


def _never(ladder: Ladder) -> int:
    return ladder.stop + 1_000_000


def _evidence(found: _Found, facts: Facts, excerpts: list[str]) -> str:
    last = f'"{excerpts[-1]}"'
    what = "failure" if facts.kind.failing else "result"
    at = f"up to step {facts.step}"
    if found.pattern is Pattern.SAME:
        alike = "the same" if facts.match.exact else "nearly the same"
        return f"{alike} {what} {found.times} times in a row {at}: {last}"
    if found.pattern is Pattern.CYCLE:
        shown = " -> ".join(f'"{excerpt}"' for excerpt in excerpts[-found.period :])
        return f"a cycle of {found.period} steps, gone through {found.times} times {at}: {shown}"
    if found.pattern is Pattern.RECURRING:
        return f"the same {what} {found.times} times in {facts.seen.span} steps {at}, without progress: {last}"
    if found.pattern is Pattern.ERRORS:
        return f"nothing but errors in {found.times} steps {at}; the last: {last}"
    if found.pattern is Pattern.MONOLOGUE:
        return f"{found.times} steps in a row only spoke, {at}; the last: {last}"
    if found.pattern is Pattern.WAITING:
        return f"{found.times} answers in a row did not change, {at}: {last}"
    return f"no new progress mark in {found.times} steps {at}; the last message: {last}"
