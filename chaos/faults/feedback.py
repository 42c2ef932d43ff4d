"""What a loop is told round after round: the same for ever, the same in a cycle, almost the same, or honest news.

Pure: a `Feedback` is data, `rounds` makes the texts, and one seed always makes the same ones. A loop that goes on
under any kind but the honest one never ends. Read `chaos/faults/llm_script.py` for who says these texts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from itertools import cycle, repeat
from random import Random
from typing import final

from chaos.errors import UsageError, is_usage

__all__ = ["Feedback", "FeedbackKind", "rounds"]

# In a test that gave a wrong value, pytest shows the line of the test.
__tracebackhide__ = is_usage

_ISO_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_NUMBER = re.compile(r"\d+")
_VARYING = re.compile(rf"{_ISO_DATE.pattern}|{_NUMBER.pattern}")
_FIRST_DAY = date(2000, 1, 1)
_DAYS = 20_000
# Words without news, that drifting feedback puts in the place of others.
_FILLERS = ("again", "perhaps", "still", "slightly", "rather", "likely", "maybe", "mostly", "almost", "partly")


@final
class FeedbackKind(str, Enum):
    """How the feedback of one round relates to that of the rounds before it."""

    IDENTICAL = "identical"  # the one text, for ever
    CYCLIC = "cyclic"  # the texts in turn, for ever
    ALMOST = "almost"  # the one text, for ever, but for its numbers and dates
    DRIFTING = "drifting"  # one word changes each round: never the same as the last, and never any news
    HONEST = "honest"  # each text once, and then no more


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """Feedback as data.

    Attributes:
        kind: how rounds relate.
        texts: what is said; one for IDENTICAL, ALMOST and DRIFTING, at least two for CYCLIC, one or more for HONEST.
        seed: of what ALMOST and DRIFTING draw.
    """

    kind: FeedbackKind
    texts: tuple[str, ...]
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.kind, FeedbackKind):
            raise UsageError(f"kind must be a FeedbackKind, not {self.kind!r}", "such as FeedbackKind.IDENTICAL")
        if not (isinstance(self.texts, tuple) and all(isinstance(text, str) for text in self.texts)):
            raise UsageError(f"texts must be a tuple of texts, not {self.texts!r}", 'such as texts=("no news",)')
        least, most = {FeedbackKind.CYCLIC: (2, None), FeedbackKind.HONEST: (1, None)}.get(self.kind, (1, 1))
        if len(self.texts) < least or (most is not None and len(self.texts) > most):
            wanted = f"{least} text{'s' if least > 1 else ''}{'' if most else ' or more'}"
            raise UsageError(f"{self.kind.value} feedback takes {wanted}, not {len(self.texts)}")
        if self.kind is FeedbackKind.CYCLIC and len(set(self.texts)) == 1:
            raise UsageError("the texts of cyclic feedback are all the same", "use identical feedback")
        if self.kind is FeedbackKind.ALMOST and not _VARYING.search(self.texts[0]):
            raise UsageError(
                f"no number and no date can vary in {self.texts[0]!r}",
                'write one into it, as in "attempt 1: no change"',
            )
        if self.kind is FeedbackKind.DRIFTING and not self.texts[0].split():
            raise UsageError("drifting feedback takes a text of words, and this one has none")


def rounds(feedback: Feedback) -> Iterator[str]:
    """The texts, one a round; endless for every kind but HONEST."""
    if feedback.kind is FeedbackKind.HONEST:
        return iter(feedback.texts)
    if feedback.kind is FeedbackKind.CYCLIC:
        return cycle(feedback.texts)
    if feedback.kind is FeedbackKind.IDENTICAL:
        return repeat(feedback.texts[0])
    make = _almost if feedback.kind is FeedbackKind.ALMOST else _drifting
    return make(feedback.texts[0], Random(feedback.seed))  # noqa: S311 - reproducible on purpose


def _almost(text: str, random: Random) -> Iterator[str]:
    while True:
        yield _VARYING.sub(lambda found: _another(found.group(), random), text)


def _another(found: str, random: Random) -> str:
    """A date for a date, and for a number one of as many digits."""
    if _ISO_DATE.fullmatch(found):
        return (_FIRST_DAY + timedelta(days=random.randrange(_DAYS))).isoformat()
    return "".join(random.choice("0123456789") for _ in found)


def _drifting(text: str, random: Random) -> Iterator[str]:
    words = text.split()
    while True:
        yield " ".join(words)
        place = random.randrange(len(words))
        words[place] = random.choice([filler for filler in _FILLERS if filler != words[place]])
