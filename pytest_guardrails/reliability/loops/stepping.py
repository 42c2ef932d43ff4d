"""One step: what it is given, what it may return, and how whatever it did becomes data.

A step is a function of a `StepContext`. It returns a `StepResult`, or any JSON value when it has nothing else to say;
what it raises is a failed iteration. `DependencyError` says that something it needs is gone, so that going on is
pointless. Read `course.py` for what becomes of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, final

from pytest_guardrails.clock import Clock
from pytest_guardrails.errors import ConfigurationError, GuardrailsError
from pytest_guardrails.reliability.durability.finite_json import JsonRefusedError, dumps, loads, printable
from pytest_guardrails.reliability.loops.facts import Outcome, Usage
from pytest_guardrails.reliability.loops.interrupting import StepHungError, StepTimeoutError
from pytest_guardrails.reliability.loops.stuck_model import Level, StepKind
from pytest_guardrails.reliability.loops.usage import cpu_s, open_files, rss_bytes
from pytest_guardrails.reliability.loops.wording import plain_text
from pytest_guardrails.reliability.state import Effects

__all__ = ["DependencyError", "Executed", "StepContext", "StepFunction", "StepResult", "execute", "text_of", "told_of"]

_ERROR_CHARACTERS = 2000  # of a failure are kept


@final
class DependencyError(GuardrailsError):
    """Raised by a step: something that it needs is gone, and trying again will not help."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step is given.

    Attributes:
        loop_id: of which loop.
        run: number of the run, from 1.
        iteration: number of this iteration, from 1; its work should depend on nothing else that may vary.
        attempt: how often this iteration was begun; above 1, a process died in it.
        value: what the last step returned.
        advice_level: how stuck the loop seems.
        advice: the stuck detector's words on the last step; "" when it had nothing to say.
        deadline_s: in how many seconds the step will be interrupted; None for never.
        effects: for what the step does to the world outside, so that it is not done twice.
    """

    loop_id: str
    run: int
    iteration: int
    attempt: int
    value: Any
    advice_level: Level
    advice: str
    deadline_s: float | None
    effects: Effects


StepFunction = Callable[[StepContext], Any]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """What a step says.

    Attributes:
        value: kept in the history and handed to the next step; anything of JSON, finite.
        done: the work is done, the loop ends completed.
        kind: how it went, for the stuck detector; ERROR makes the iteration a failure.
        feedback: what came back; None has the detector pass over the step.
        action: what was done; see `Step`.
        progress: a mark that is new whenever the work advanced; None when there is none.
        cost_nano_usd: what it cost, in billionths of a US dollar.
        tokens: that language models used.
        usage: of a child process, where the step ran in one.
    """

    value: Any = None
    done: bool = False
    kind: StepKind = StepKind.OK
    feedback: Any = None
    action: Any = None
    progress: Any = None
    cost_nano_usd: int = 0
    tokens: int = 0
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "kind", StepKind(self.kind))
        except ValueError as error:
            known = ", ".join(kind.value for kind in StepKind)
            raise ConfigurationError(f"kind is one of {known}, not {self.kind!r}") from error
        for name in ("cost_nano_usd", "tokens"):
            value = getattr(self, name)
            if type(value) is not int or value < 0:
                raise ConfigurationError(f"{name} is a whole number from 0, not {value!r}")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """A step that ended, one way or the other.

    Attributes:
        outcome: how.
        result: what it said; of one that raised, nothing.
        error: what went wrong; "" when nothing did.
        hung: it was interrupted and still runs.
        dependency: it said that something it needs is gone.
        started_at: by the wall clock; for people.
        duration_s: how long it took.
        usage: what it used.
    """

    outcome: Outcome
    result: StepResult = field(default_factory=StepResult)
    error: str = ""
    hung: bool = False
    dependency: bool = False
    started_at: float = 0.0
    duration_s: float = 0.0
    usage: Usage = field(default_factory=Usage)


def execute(act: Callable[[], Any], clock: Clock) -> Executed:
    """Run a step and tell what became of it; only what ends the program, such as Ctrl-C, comes out.

    Args:
        act: the step, with its context and deadline.
        clock: for the duration.
    """
    started_at, began_s, used_s = clock.wall(), clock.monotonic(), cpu_s()
    outcome, result, error = Outcome.OK, StepResult(), ""
    hung = dependency = False
    try:
        said = act()
        result = said if isinstance(said, StepResult) else StepResult(value=said)
        if result.value is not None:  # as the next owner would find it, and no longer the step's to change
            result = replace(result, value=loads(dumps(result.value)))
        if result.kind is StepKind.ERROR:
            outcome, error = Outcome.FAILED, _told(plain_text(result.feedback))
    except JsonRefusedError as refused:
        outcome, error = Outcome.FAILED, f"what the step returned can't be kept: {refused}"
        result = StepResult(cost_nano_usd=result.cost_nano_usd, tokens=result.tokens)
    except (StepHungError, StepTimeoutError) as late:
        outcome, error, hung = Outcome.TIMEOUT, _told(str(late)), isinstance(late, StepHungError)
    except Exception as problem:  # noqa: BLE001 - the edge between the loop and its step: it is recorded
        outcome = Outcome.FAILED
        error, dependency = told_of(problem), isinstance(problem, DependencyError)
    usage = Usage(
        cpu_s=cpu_s() - used_s + result.usage.cpu_s,
        rss_bytes=max(rss_bytes(), result.usage.rss_bytes),
        open_files=open_files(),
        cost_nano_usd=result.cost_nano_usd,
        tokens=result.tokens,
    )
    return Executed(
        outcome=outcome,
        result=result,
        error=error,
        hung=hung,
        dependency=dependency,
        started_at=started_at,
        duration_s=max(0.0, clock.monotonic() - began_s),
        usage=usage,
    )


def told_of(problem: BaseException) -> str:
    """An exception's type and words, kept short."""
    return _told(f"{type(problem).__name__}: {text_of(problem)}")


def text_of(problem: BaseException) -> str:
    """The words of an exception; also of one that has none."""
    try:
        return str(problem)
    except Exception as error:  # noqa: BLE001 - the edge to code of others
        return f"its text can't be made: {type(error).__name__}"


def _told(text: str) -> str:
    return printable(text if len(text) <= _ERROR_CHARACTERS else text[:_ERROR_CHARACTERS] + "...")
