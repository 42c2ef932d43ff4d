"""Says which operations are to blame for a crash state: those lost or torn, else the last one that was issued.

The disk part says what became of each operation (`Fate`); here that is tied to operations and source lines. The
signature of a blamed operation is its source line, or, for programs without one, its call and the shape of its
path, so that the same line in a loop counts as one cause. Read `timeline.py` next.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

from chaos.report.places import library_call, operation_words, place, short_place, user_frame
from chaos.trace.model import Frame, Kind, Op, Trace

__all__ = ["Blamed", "Fate", "Loss", "blamed", "signature"]

Loss = Literal["lost", "torn", "last"]
_CHANGING = re.compile(r"\d+|(?<=[._-])[0-9a-zA-Z_]{6,}$")  # counters, and the random tail of temporary names


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one operation in a crash state, where it is not simply there.

    Attributes:
        seq: which operation of the trace.
        loss: "lost" as a whole, or "torn": only a part of it is there.
        words: how, e.g. "only its first 4096 bytes", "its size without its data"; "" when there is no more to say.
    """

    seq: int
    loss: Literal["lost", "torn"]
    words: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Blamed:
    """One operation to blame.

    Attributes:
        op: the operation.
        loss: what became of it; "last": it is whole, and the crash came right after it.
        words: as in `Fate`.
    """

    op: Op
    loss: Loss
    words: str = ""

    @property
    def frame(self) -> Frame | None:
        """The user's source line that made it."""
        return user_frame(self.op.source)

    def sentence(self, *, power: bool) -> str:
        """One line: from which source line, which call, and what became of it."""
        frame, source = self.frame, self.op.source
        called = library_call(source)
        start = f"{place(frame)}: " if frame else ""
        if called:
            start += f"{called} ({short_place(source[0])}): "
        return f"{start}{operation_words(self.op)} {self._ending(power)}"

    def _ending(self, power: bool) -> str:
        if self.loss == "torn":
            return f"was cut: {self.words}" if self.words else "was cut"
        if self.loss == "lost":
            return "was not on the disk yet" + (f" ({self.words})" if self.words else "")
        return "was done, then the power went" if power else "was done, then came the kill"


def blamed(trace: Trace, point: int, fates: Sequence[Fate]) -> tuple[Blamed, ...]:
    """The operations to blame for a crash after `point` operations were issued, in their order.

    Args:
        trace: the recorded run.
        point: how many operations were issued; a torn one counts.
        fates: what became of those that are not simply there.
    """
    if fates:
        ordered = sorted(fates, key=lambda fate: fate.seq)
        return tuple(Blamed(op=trace.ops[fate.seq], loss=fate.loss, words=fate.words) for fate in ordered)
    if not trace.ops or point < 1:
        return ()
    return (Blamed(op=trace.ops[min(point, len(trace.ops)) - 1], loss="last"),)


def signature(one: Blamed) -> str:
    """What two operations of one cause have in common, the same in every run."""
    frame = one.frame
    if frame is not None:
        return f"{frame.file}:{frame.line}"
    names = [_CHANGING.sub("#", name) for name in (one.op.path, one.op.to_path) if name]
    call = "sync" if one.op.kind is Kind.SYNC else one.op.call
    return " ".join([call, *names])
