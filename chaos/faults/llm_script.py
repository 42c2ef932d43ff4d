"""What a fake LLM does, request after request, as data.

A script is a list of turns. Each request for an answer takes the next one; a turn may be there for several requests,
and says a text, a feedback (`chaos/faults/feedback.py`), or makes trouble. Pure: `steps` tells what happens to request
after request, and always the same for the same script. Data only, so that a scenario can hold it. Read
`llm/server.py` for who plays it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import count, islice, repeat
from types import NoneType
from typing import final

from chaos.errors import UsageError, is_usage
from chaos.faults.feedback import Feedback, rounds

__all__ = ["Script", "Step", "Then", "Trouble", "Turn", "script_of", "steps", "troubled"]

# In a test that gave a wrong value, pytest shows the line of the test.
__tracebackhide__ = is_usage

_RETRY_AFTER_S = 1.0
_STATUS = 500
_EXAMPLE = 'such as "Not yet.", or Turn(trouble=Trouble.TIMEOUT)'


@final
class Trouble(str, Enum):
    """What goes wrong with an answer."""

    TIMEOUT = "timeout"  # the request is read, and nothing ever comes back
    STALL = "stall"  # the answer begins and never goes on
    DROP = "drop"  # the connection is reset, before the answer or within it
    RATE_LIMIT = "rate limit"  # 429 with Retry-After
    NO_MONEY = "no money"  # 429 insufficient_quota: asking again is of no use
    STATUS = "status"  # an HTTP error
    INVALID_JSON = "invalid json"  # 200, and an HTML page
    TRUNCATED_JSON = "truncated json"  # 200, and half of the JSON, as if that were all
    NAN_USAGE = "nan usage"  # NaN where the numbers of tokens should be
    NEGATIVE_USAGE = "negative usage"
    NAN_VECTOR = "nan vector"  # an embedding with a NaN in it; a chat is answered as usual
    REFUSED = "refused"  # the model declines: a refusal in the place of content
    EMPTY = "empty"  # an answer without any choice


@final
class Then(str, Enum):
    """What happens when all turns are over."""

    END = "end"  # further requests are answered with status 400 and the code "script_ended"
    LAST = "last"  # what happened last happens to all further requests
    AGAIN = "again"  # from the first turn on


# Of each attribute of a turn: what it may be, and an example.
_KINDS: tuple[tuple[str, tuple[type, ...], str], ...] = (
    ("say", (str,), '"Not yet."'),
    ("feedback", (Feedback, NoneType), 'Feedback(kind=FeedbackKind.IDENTICAL, texts=("Not yet.",))'),
    ("trouble", (Trouble, NoneType), "Trouble.TIMEOUT"),
    ("times", (int, NoneType), "3"),
    ("status", (int,), "503"),
    ("retry_after_s", (int, float, NoneType), "0.01"),
    ("after_chunks", (int, NoneType), "2"),
    ("finish", (str,), '"length"'),
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What happens to one request, or to several alike.

    Attributes:
        say: the text of the answer.
        feedback: texts of answers, in place of `say`: one a request, until they end.
        trouble: what goes wrong; all is well when None.
        times: for how many requests; None = for one, or until the feedback ends.
        status: with STATUS: which one, 400 to 599.
        retry_after_s: with RATE_LIMIT, and STATUS if given: what the header Retry-After says, in seconds.
        after_chunks: with STALL and DROP: how many pieces of a stream are sent first, and whether (above 0) half of an
            answer that is none; 1 for STALL and 0 for DROP unless given.
        finish: why the model stopped, as the API says it: "stop", "length", "content_filter".
    """

    say: str = ""
    feedback: Feedback | None = None
    trouble: Trouble | None = None
    times: int | None = None
    status: int = _STATUS
    retry_after_s: float | None = None
    after_chunks: int | None = None
    finish: str = "stop"

    def __post_init__(self) -> None:
        self._refuse_others()
        if self.times is not None and self.times < 1:
            raise UsageError(f"a turn is there for 1 request or more, not {self.times}")
        if self.feedback is not None and self.say:
            raise UsageError("a turn has both a text and a feedback", "leave one of the two out")
        if not 400 <= self.status <= 599:
            raise UsageError(f"status must be an HTTP error, 400 to 599, not {self.status}")
        if self.after_chunks is not None and self.after_chunks < 0:
            raise UsageError(f"after_chunks must be 0 or more, not {self.after_chunks}")
        self._refuse_pointless()

    def _refuse_others(self) -> None:
        for name, wanted, example in _KINDS:
            value = getattr(self, name)
            if not (isinstance(value, wanted) and not isinstance(value, bool)):
                raise UsageError(f"{name} of a turn can't be {value!r}", f"such as {name}={example}")

    def _refuse_pointless(self) -> None:
        if self.after_chunks is not None and self.trouble not in (Trouble.STALL, Trouble.DROP):
            raise UsageError("after_chunks means something with the troubles stall and drop alone")
        if self.retry_after_s is not None and self.trouble not in (Trouble.RATE_LIMIT, Trouble.STATUS):
            raise UsageError("retry_after_s means something with the troubles rate limit and status alone")
        if self.retry_after_s is not None and not 0 <= self.retry_after_s < float("inf"):
            raise UsageError(f"retry_after_s must be 0 or more, not {self.retry_after_s}")
        if self.status != _STATUS and self.trouble is not Trouble.STATUS:
            raise UsageError("status means something with the trouble status alone")

    @property
    def chunks_first(self) -> int:
        """How many pieces of a stream are sent before it stalls or is dropped."""
        if self.after_chunks is not None:
            return self.after_chunks
        return 1 if self.trouble is Trouble.STALL else 0

    @property
    def wait_s(self) -> float | None:
        """What Retry-After says, if it is sent."""
        if self.retry_after_s is None and self.trouble is Trouble.RATE_LIMIT:
            return _RETRY_AFTER_S
        return self.retry_after_s


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """All turns, and what comes after them."""

    turns: tuple[Turn, ...]
    then: Then = Then.END

    def __post_init__(self) -> None:
        if not self.turns and self.then is not Then.END:
            raise UsageError(f"a script without turns can't go on with {self.then.value!r}", "give it a turn")


@final
@dataclass(frozen=True, slots=True)
class Step:
    """What happens to one request: its turn, and the text that is said."""

    turn: Turn
    text: str


def script_of(*turns: Turn | Feedback | str, then: Then | str = Then.END) -> Script:
    """A script of turns, where a text stands for a turn that says it, a feedback or a trouble for one that gives it.

    Raises:
        UsageError: there is no such `then`, or a turn makes no sense.
    """
    if then not in tuple(Then):
        raise UsageError(f"no such end of a script: {then!r}", f"choose among: {', '.join(one.value for one in Then)}")
    return Script(turns=tuple(map(_turn, turns)), then=Then(then))


def steps(script: Script) -> Iterator[Step]:
    """What happens to request after request; ends where the script ends."""
    step: Step | None = None
    while True:
        for turn in script.turns:
            for step in _steps(turn):
                yield step
        if script.then is not Then.AGAIN:
            break
    if script.then is Then.LAST and step is not None:
        yield from repeat(step)


def troubled(script: Iterator[Step], nth: int, trouble: Trouble) -> Iterator[Step]:
    """The same, but with trouble at the nth request, from 1; the text is said where the trouble lets it."""
    for number, step in zip(count(1), script):
        yield Step(Turn(say=step.text, trouble=trouble), step.text) if number == nth else step


def _turn(given: Turn | Feedback | str) -> Turn:
    if isinstance(given, Turn):
        return given
    if isinstance(given, Feedback):
        return Turn(feedback=given)
    if isinstance(given, Trouble):
        return Turn(trouble=given)
    if not isinstance(given, str) or isinstance(given, Enum):
        raise UsageError(f"a turn is a text, a Turn or a Feedback, not {given!r}", _EXAMPLE)
    return Turn(say=given)


def _steps(turn: Turn) -> Iterator[Step]:
    if turn.feedback is None:
        return repeat(Step(turn, turn.say), turn.times or 1)
    return (Step(turn, text) for text in islice(rounds(turn.feedback), turn.times))
