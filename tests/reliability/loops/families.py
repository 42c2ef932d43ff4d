"""Loops that go round, and honest work that looks like it: each a function of a `random.Random`, so that it varies.

A loop must be found (level BLOCK or above) within the steps that its function returns; honest work must not be.
"""

import itertools
import random
from collections.abc import Callable

from pytest_guardrails.reliability.loops import Step, StepKind

__all__ = ["HONEST", "LOOPS", "Family"]

Family = Callable[[random.Random], list[Step]]

OK, RETRY, ERROR, WAITING, TALK = StepKind
VERBS = ("open", "read", "check", "parse", "load", "build", "test", "send", "fetch", "merge", "sort", "scan", "trim")
NOUNS = ("table", "header", "buffer", "widget", "module", "parser", "record", "cache", "router", "schema", "report")
REASONS = ("is empty", "has no owner", "was not found", "is too short", "has the wrong type", "is out of date")


def sentence(chance: random.Random) -> str:
    """A message about something, unlike others in most of its words."""
    first, second = chance.sample(NOUNS, 2)
    verb, reason, place = chance.choice(VERBS), chance.choice(REASONS), chance.choice(NOUNS)
    return f"cannot {verb} {first} because the {second} {reason} in {place}"


def fresh(chance: random.Random, number: int) -> Step:
    """Honest work like no other."""
    action = f"{chance.choice(VERBS)} part-{number}.{chance.choice(NOUNS)}"
    return Step(action=action, feedback=f"{sentence(chance)} {number}")


def identical_feedback(chance: random.Random) -> list[Step]:
    return [Step(kind=RETRY, feedback=sentence(chance))] * 8


def identical_calls(chance: random.Random) -> list[Step]:
    return [Step(action={"tool": chance.choice(VERBS), "path": "a"}, feedback=sentence(chance))] * 10


def alternating(chance: random.Random) -> list[Step]:
    pair = [Step(kind=RETRY, feedback=text) for text in chance.sample(NOUNS, 2)]
    return pair * 6


def long_cycle(chance: random.Random) -> list[Step]:
    period = chance.randint(3, 7)
    steps = [Step(action=f"{verb} it", feedback=sentence(chance)) for verb in chance.sample(VERBS, period)]
    return steps * 6


def interleaved(chance: random.Random) -> list[Step]:
    failure = sentence(chance)
    steps: list[Step] = []
    for number in range(12):
        steps.append(Step(kind=ERROR, action="run tests", feedback=failure))
        steps += [fresh(chance, number * 9 + extra) for extra in range(chance.randint(1, 2))]
    return steps


def variable_parts(chance: random.Random) -> list[Step]:
    base = sentence(chance)

    def tell(number: int) -> str:
        parts = [
            f"at 2026-0{chance.randint(1, 9)}-1{chance.randint(0, 9)}T1{chance.randint(0, 9)}:00:00Z",
            f"request id {chance.randbytes(8).hex()}",
            f"/tmp/run-{chance.randint(1, 999)}/out.log",
            f"line {chance.randint(1, 999)}",
            f"took {chance.randint(1, 99)}.{chance.randint(10, 99)}s",
        ]
        suffix = f" (attempt {number})" if number > 1 else ""
        text = f"{base} {' '.join(parts)}{suffix}"
        return text.upper() if chance.random() < 0.3 else text.replace(" ", "  ")

    return [Step(kind=RETRY, feedback=tell(number)) for number in range(1, 13)]


def key_order(chance: random.Random) -> list[Step]:
    fields = [("code", 7), ("reason", sentence(chance)), ("where", chance.choice(NOUNS)), ("who", "me")]
    return [Step(kind=ERROR, feedback=dict(chance.sample(fields, 4))) for _ in range(8)]


def nearly_equal(chance: random.Random) -> list[Step]:
    base = f"{sentence(chance)} so please look at it again and mend it before you go on with the rest"
    words = base.split()

    def tell() -> str:
        changed = list(words)
        changed[chance.randrange(len(changed))] = chance.choice(["kindly", "really", "then", "just"])
        return " ".join(changed)

    return [Step(kind=RETRY, feedback=tell()) for _ in range(14)]


def drifting(chance: random.Random) -> list[Step]:
    words = f"{sentence(chance)} so please look at it again and mend it before you go on".split()
    steps = []
    for _ in range(16):
        words[chance.randrange(len(words))] = chance.choice(NOUNS)
        steps.append(Step(kind=RETRY, feedback=" ".join(words)))
    return steps


def one_error_many_tries(chance: random.Random) -> list[Step]:
    failure = sentence(chance)
    return [Step(kind=ERROR, action=f"{verb} it", feedback=failure) for verb in chance.sample(VERBS, 10)]


def monologue(chance: random.Random) -> list[Step]:
    return [Step(kind=TALK, feedback=f"I will {chance.choice(VERBS)} it. {sentence(chance)}") for _ in range(8)]


def no_progress(chance: random.Random) -> list[Step]:
    steps = [fresh(chance, number) for number in range(22)]
    return [Step(action=step.action, feedback=step.feedback, progress="same tree") for step in steps]


def back_and_forth(chance: random.Random) -> list[Step]:
    """Edits that undo each other: every message is new, but the files are as they were."""
    steps = [fresh(chance, number) for number in range(24)]
    trees = itertools.cycle(["tree a", "tree b"])
    return [Step(action=step.action, feedback=step.feedback, progress=next(trees)) for step in steps]


def endless_waiting(chance: random.Random) -> list[Step]:
    return [Step(kind=WAITING, action="status", feedback=f"{chance.choice(NOUNS)} queued behind others")] * 70


def polling(chance: random.Random) -> list[Step]:
    """The answer changes: a share that grows, with pauses."""
    share, steps = 0, []
    while share < 100:
        share = min(100, share + chance.randint(0, 9))
        steps.append(Step(kind=WAITING, action="status", feedback=f"job 7 is {share}% done"))
        if chance.random() < 0.5:
            steps.append(Step(action="sleep 5", feedback=""))
    return steps


def pagination(chance: random.Random) -> list[Step]:
    kind = chance.choice(NOUNS)
    return [
        Step(action={"tool": "list", "page": page}, feedback=f"{kind}: rows {page * 20} to {page * 20 + 19}")
        for page in range(1, 30)
    ]


def told_pages(chance: random.Random) -> list[Step]:
    """Pages of which only the answer tells that they are others."""
    text = chance.choice(["got items {}-{}", "step {} of {} is done", "fetched page {} ({} rows each)"])
    return [Step(feedback=text.format(page, 20 if "each" in text else page + 30)) for page in range(1, 30)]


def edit_and_test(chance: random.Random) -> list[Step]:
    """Tests fail, fewer each time or the same number twice."""
    left, steps, number = chance.randint(6, 9), [], 0
    while left:
        number += 1
        steps.append(Step(action=f"edit {chance.choice(NOUNS)}.py {sentence(chance)}", feedback="file was edited"))
        steps.append(Step(kind=RETRY, action="pytest", feedback=f"{left} failed, 40 passed in {chance.random():.2f}s"))
        left -= chance.choice([0, 1, 1, 2]) if number % 2 else 1
        left = max(left, 0)
    return [*steps, Step(action="pytest", feedback="49 passed in 0.31s")]


def transient_errors(chance: random.Random) -> list[Step]:
    steps: list[Step] = []
    for number in range(3):
        failure = Step(kind=ERROR, action=f"get {number}", feedback="connection reset by peer")
        steps += [failure] * chance.randint(1, 2)
        steps += [fresh(chance, number * 9 + extra) for extra in range(chance.randint(4, 7))]
    return steps


def rereading(chance: random.Random) -> list[Step]:
    manual = Step(action="read MANUAL", feedback=sentence(chance))
    steps: list[Step] = []
    for number in range(5):
        steps += [manual, *(fresh(chance, number * 9 + extra) for extra in range(chance.randint(2, 5)))]
    return steps


def waiting(chance: random.Random) -> list[Step]:
    """Nothing changes for long, within the budget that waiting has."""
    steps: list[Step] = []
    for _ in range(chance.randint(20, 40)):
        steps += [Step(kind=WAITING, action="status", feedback="queued"), Step(action="sleep 30", feedback="")]
    return [*steps, Step(action="status", feedback="finished")]


def fewer_findings(chance: random.Random) -> list[Step]:
    """A reviewer whose list gets shorter."""
    findings = [f"{noun} lacks a test" for noun in NOUNS]
    chance.shuffle(findings)
    return [Step(kind=RETRY, feedback=findings[:count]) for count in range(len(findings), 0, -1)]


def moving_tree(chance: random.Random) -> list[Step]:
    """The message says nothing new, but the files advance."""
    return [
        Step(kind=RETRY, feedback="not there yet, go on", progress=f"tree {number} {chance.random()}")
        for number in range(20)
    ]


LOOPS: dict[str, Family] = {
    family.__name__: family
    for family in (
        identical_feedback,
        identical_calls,
        alternating,
        long_cycle,
        interleaved,
        variable_parts,
        key_order,
        nearly_equal,
        drifting,
        one_error_many_tries,
        monologue,
        no_progress,
        back_and_forth,
        endless_waiting,
    )
}
HONEST: dict[str, Family] = {
    family.__name__: family
    for family in (
        polling,
        pagination,
        told_pages,
        edit_and_test,
        transient_errors,
        rereading,
        waiting,
        fewer_findings,
        moving_tree,
    )
}
