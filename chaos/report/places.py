"""Source lines and operations in words: which frame is the user's own, and what a system call did.

Shared by timelines, explanations and titles, so that one thing is called the same everywhere. Read `blame.py` next.
"""

from collections.abc import Sequence
from pathlib import PurePath

from chaos.trace.lines import is_own
from chaos.trace.model import Frame, Kind, Op

__all__ = ["library_call", "operation_words", "place", "short_place", "shown_path", "user_frame"]


def user_frame(frames: Sequence[Frame]) -> Frame | None:
    """The innermost frame that is the user's own code; the innermost at all when every one is a library's."""
    return next(filter(is_own, frames), frames[0] if frames else None)


def library_call(frames: Sequence[Frame]) -> str:
    """What the user's frame called, e.g. "json.dump()"; "" when it made the system call itself."""
    mine = user_frame(frames)
    depth = frames.index(mine) if mine is not None else 0
    if not depth:
        return ""
    called = frames[depth - 1]  # the library function that the user's own line entered
    path = PurePath(called.file)
    module = path.parent.name if path.stem == "__init__" else path.stem
    return f"{module.removeprefix('<frozen ').removesuffix('>')}.{called.function}()"


def short_place(frame: Frame) -> str:
    """`file:line function`, the file without its folders."""
    return f"{PurePath(frame.file).name}:{frame.line} {frame.function}"


def place(frame: Frame) -> str:
    """`file:line in function`, the file without its folders."""
    return f"{PurePath(frame.file).name}:{frame.line} in {frame.function}"


def operation_words(op: Op) -> str:
    """What a system call did, e.g. "rename() of a.tmp to a"."""
    name, to_name = shown_path(op.path) or "a file without a name", shown_path(op.to_path or op.name)
    if op.kind is Kind.WRITE and op.call == "mmap":
        return (
            f"a store of {_bytes(op)} into the mapping of {name}, seen at this call,"
            if op.source
            else (f"a store of {_bytes(op)} into the mapping of {name}")
        )
    if op.kind is Kind.WRITE:
        return f"{op.call}() of {_bytes(op)} to {name}"
    if op.kind is Kind.TRUNCATE:
        return (
            f"{op.call}() that cuts {name} to {op.size} bytes"
            if _opens(op)
            else f"{op.call}() of {name} to {op.size} bytes"
        )
    if op.kind is Kind.CREATE:
        return f"{op.call}() that creates {name}"
    if op.kind in (Kind.RENAME, Kind.LINK):
        return f"{op.call}() of {name} to {to_name}"
    if op.kind is Kind.EXCHANGE:
        return f"{op.call}() that exchanges {name} and {to_name}"
    if op.kind is Kind.SYNC:
        return f"{op.call}() of everything"
    failed = f", which failed with errno {op.errno}," if op.errno else ""
    return f"{op.call}(){failed} of {name}"


def shown_path(path: str) -> str:
    """A path for people, in one line: what can't be printed, such as a line's end or a terminal's code, is escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in path)


def _bytes(op: Op) -> str:
    return f"{len(op.data)} byte{'s' * (len(op.data) != 1)}"


def _opens(op: Op) -> bool:
    return op.call in ("open", "openat", "openat2", "creat")
