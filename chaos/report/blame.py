"""Says which operations are to blame for a crash state: those lost or torn, else the last one that was issued.

Or, where that did no harm yet, the acknowledgement that came after it.
The disk part says what became of each operation (`Fate`); here that is tied to operations and source lines. The
signature of a blamed operation is its source line, or, for programs without one, its call and the shape of its
path, so that the same line in a loop counts as one cause. Read `timeline.py` next.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, final

from chaos.child import values
from chaos.report.places import library_call, operation_words, place, short_place, user_frame
from chaos.trace.lines import is_own
from chaos.trace.model import Ack, Frame, Kind, Op, Trace

__all__ = ["Blamed", "Fate", "Loss", "blamed", "blamed_ack", "signature", "with_caller"]

Loss = Literal["lost", "torn", "last"]
_VALUE_LIMIT = 50
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
        ack: the acknowledgement after `op` that is to blame instead: nothing was wrong before it was made.
        caller: the user's line that called the function of `frame`, where others called it as well.
    """

    op: Op
    loss: Loss
    words: str = ""
    ack: Ack | None = None
    caller: Frame | None = None

    @property
    def source(self) -> tuple[Frame, ...]:
        """The source lines that made it, innermost first."""
        return self.op.source if self.ack is None else self.ack.source

    @property
    def frame(self) -> Frame | None:
        """The user's source line that made it."""
        return user_frame(self.source)

    @property
    def where(self) -> str:
        """That line, and its caller where that tells it from others; "" for programs without source lines."""
        calling = f", called from {place(self.caller)}" if self.caller else ""
        return f"{place(self.frame)}{calling}" if self.frame else ""

    @property
    def called(self) -> str:
        """What was called."""
        return operation_words(self.op) if self.ack is None else _ack_words(self.ack)

    def sentence(self, *, power: bool) -> str:
        """One line: from which source line, which call, and what became of it."""
        source = self.source
        called = library_call(source) if self.ack is None else ""
        start = f"{self.where}: " if self.where else ""
        if called:
            start += f"{called} ({short_place(source[0])}): "
        return f"{start}{self.called} {self._ending(power)}"

    def _ending(self, power: bool) -> str:
        if self.loss == "torn":
            return f"was cut: {self.words}" if self.words else "was cut"
        if self.loss == "lost":
            return "was not on the disk yet" + (f" ({self.words})" if self.words else "")
        made = "done" if self.ack is None else "made"
        return f"was {made}, then the power went" if power else f"was {made}, then came the kill"


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


def blamed_ack(trace: Trace, point: int, acked: int) -> tuple[Blamed, ...]:
    """The acknowledgement right before a crash, when it alone is to blame; empty where there is none.

    Args:
        trace: the recorded run.
        point: as in `blamed`.
        acked: how many acknowledgements had been made.
    """
    if not trace.ops or not acked or trace.acks[acked - 1].after != point:
        return ()
    ack = trace.acks[acked - 1]
    mine = user_frame(ack.source)
    ack = replace(ack, source=ack.source if mine is not None and is_own(mine) else ())
    return (Blamed(op=trace.ops[max(point, 1) - 1], loss="last", ack=ack),)


def with_caller(one: Blamed, trace: Trace) -> Blamed:
    """One operation to blame, with the line that tells it from others which the same source line made, if any does."""
    mine = _own_lines(one.source)
    others = [_own_lines(op.source) for op in trace.ops] + [_own_lines(ack.source) for ack in trace.acks]
    for depth in range(1, len(mine)):
        alike = [lines for lines in others if lines[:depth] == mine[:depth]]
        if len({lines[depth : depth + 1] for lines in alike}) > 1:
            return replace(one, caller=mine[depth])
    return one


def _own_lines(source: Sequence[Frame]) -> tuple[Frame, ...]:
    return tuple(filter(is_own, source))


def signature(one: Blamed) -> str:
    """What two operations of one cause have in common, the same in every run."""
    frame = one.frame
    if frame is not None:
        return f"{frame.file}:{frame.line}"
    if one.ack is not None:
        return "ack"
    names = [_CHANGING.sub("#", name) for name in (one.op.path, one.op.to_path) if name]
    call = "sync" if one.op.kind is Kind.SYNC else one.op.call
    return " ".join([call, *names])


def _ack_words(ack: Ack) -> str:
    return f"the acknowledgement of {values.render(ack.value, _VALUE_LIMIT)}"
