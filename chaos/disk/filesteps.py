"""One file's bytes between what is durable and what was issued: its pending steps, and any legal choice of them.

Durable steps are folded into the settled bytes at once, unless a free truncate stands before them, for then their
effect depends on whether it is there. Length and bytes are settled apart: data may be on the disk beyond the length
that is. Read `pending.py` next.
"""

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import final

from chaos.disk.content import BLOCK_BYTES, Content
from chaos.disk.micro import Step, StepKind, lay
from chaos.disk.recipes import StepId

__all__ = ["FileSteps"]

_SHORTENS = frozenset({StepKind.CUT, StepKind.TRIM})


@final
class FileSteps:
    """The content steps of one file that are not settled.

    Attributes:
        free: those that a crash may keep or lose, in order of issue.
    """

    __slots__ = ("_content", "_held", "_newest", "_plain", "_size", "free")

    def __init__(self, content: Content) -> None:
        self.free: dict[StepId, Step] = {}
        self._content, self._size = content, content.size
        self._held: dict[StepId, Step] = {}  # durable, and behind a free truncate
        self._newest: dict[int, list[StepId]] = {}  # offset -> free DATA there, oldest first
        self._plain = True  # no truncate, and all DATA at one offset is equally long

    def copy(self) -> "FileSteps":
        """An independent copy."""
        made = FileSteps(self._content)
        made.free, made._held, made._size, made._plain = self.free.copy(), self._held.copy(), self._size, self._plain
        made._newest = {offset: steps.copy() for offset, steps in self._newest.items()}
        return made

    def add(self, step: Step) -> None:
        """One more step, later than all before."""
        self.free[step.id] = step
        if step.kind in _SHORTENS:
            self._plain = False
        elif step.kind is StepKind.DATA:
            same = self._newest.setdefault(step.offset, [])
            same.append(step.id)
            # Pieces of several units may overlap at different offsets.
            self._plain = self._plain and step.extent <= BLOCK_BYTES and self.free[same[0]].extent == step.extent

    def settle(self, forced: Iterable[StepId]) -> list[StepId]:
        """Make steps durable; returns free steps that can't be seen any more, which are gone from here."""
        for known in forced:
            self._held[known] = self.free.pop(known)
        gone: list[StepId] = []
        passed: list[Step] = []
        for known in sorted((*self.free, *self._held)):
            durable = self._held.get(known)
            if durable is None:
                passed.append(self.free[known])
                if passed[-1].kind in _SHORTENS:
                    break
                continue
            self._content, self._size = lay(self._content, self._size, durable)
            del self._held[known]
            passed = self._still_seen(passed, durable, gone)
        self._reindex()
        return gone

    def _still_seen(self, passed: list[Step], durable: Step, gone: list[StepId]) -> list[Step]:
        kept = []
        for step in passed:
            if durable.kind in _SHORTENS and step.kind is StepKind.DATA and step.offset < durable.size:
                # Laid over bytes that are already cut, it must not bring back what lay beyond.
                room = durable.size - step.offset
                self.free[step.id] = replace(step, data=step.data[:room], extent=min(step.extent, room))
                kept.append(self.free[step.id])
            elif durable.kind in _SHORTENS or _covered(step, durable):
                del self.free[step.id]
                gone.append(step.id)
            else:
                kept.append(step)
        return kept

    def _reindex(self) -> None:
        left = list(self.free.values())
        self.free, self._newest, self._plain = {}, {}, True
        for step in left:
            self.add(step)

    def with_steps(self, chosen: Collection[StepId]) -> Content:
        """The bytes when these free steps, in order of issue, are there."""
        content, size = self._content, self._size
        if self._held:
            steps = {**self._held, **{known: self.free[known] for known in chosen}}
            ordered = [steps[known] for known in sorted(steps)]
        else:
            ordered = [self.free[known] for known in chosen]
            if self._plain:
                # Of the steps at one offset only the last shows.
                ordered = list({(step.kind, step.offset): step for step in ordered}.values())
        for step in ordered:
            content, size = lay(content, size, step)
        return content.resized(size)

    def without_steps(self, dropped: Collection[StepId], issued: Content) -> Content:
        """The bytes when all but these free steps are there; `issued` is what they make with all of them."""
        if not self._plain or self._held or 2 * len(dropped) > len(self.free):
            return self.with_steps([known for known in self.free if known not in dropped])
        content, size = issued, issued.size
        shrunk = False
        units: dict[int, Step] = {}
        for known in dropped:
            step = self.free[known]
            if step.kind is StepKind.GROW:
                shrunk = True
            else:
                units[step.offset] = step
        for step in units.values():
            content = self._without_data(content, step, dropped)
        if shrunk:
            size = self._size
            for step in reversed(self.free.values()):
                if step.kind is StepKind.GROW and step.id not in dropped:
                    size = max(size, step.size)  # lengths reached by writing only rise
                    break
        return content.resized(size)

    def _without_data(self, content: Content, step: Step, dropped: Collection[StepId]) -> Content:
        """One unit as the newest step there left it that is not dropped, or as it is settled."""
        for known in reversed(self._newest[step.offset]):
            if known not in dropped:
                return lay(content, content.size, self.free[known])[0]
        length = min(step.extent, content.size - step.offset)
        return content.write(step.offset, self._content.read(step.offset, length).ljust(length, b"\0"))


def _covered(step: Step, durable: Step) -> bool:
    """Whether a later durable step hides an earlier one of the same file."""
    if durable.kind is not step.kind:
        return False
    if step.kind is StepKind.GROW:
        return step.size <= durable.size
    return durable.offset <= step.offset and step.offset + step.extent <= durable.offset + durable.extent
