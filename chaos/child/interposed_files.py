"""File objects whose writes the portable engine sees: `io.FileIO` and `open`, over Python's own buffers.

A buffered or text file is made of the same parts as `open` makes it of; only the raw file at the bottom is ours, so
buffering, and with it which writes reach the system when, is unchanged. Files opened for reading are the real ones.
Standard library only, and of `chaos` only `ledger.py` and `recorded_calls.py`.
"""

import io
import os
import warnings
from abc import ABCMeta
from collections.abc import Callable
from typing import Any

from chaos.child.ledger import Ledger
from chaos.child.recorded_calls import regular_file, sync_of, write_offset

__all__ = ["file_class", "opener_of"]

_real_open: Callable[..., Any] = io.open
_RealFile = io.FileIO


class _StandsForTheReal(ABCMeta):
    """Files that were opened for reading, or before us, are instances of `io.FileIO` too."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _RealFile)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _RealFile)


def file_class(ledger: Ledger) -> type[io.FileIO]:
    """`io.FileIO` with entries made in a ledger."""

    class FileIO(_RealFile, metaclass=_StandsForTheReal):
        def __init__(self, file: Any, mode: str = "r", closefd: bool = True, opener: Any = None) -> None:
            if opener is None and not isinstance(file, int) and set(mode) & set("wax+"):
                opener = _open_as_file  # whose `os.open` makes the entry
            super().__init__(file, mode, closefd, opener)

        def __repr__(self) -> str:
            return super().__repr__().replace("<FileIO", "<_io.FileIO", 1)

        def write(self, data: Any, /) -> Any:
            descriptor = self.fileno()
            status = regular_file(descriptor)
            if status is None:
                return super().write(data)
            if not ledger.knows(status, descriptor):
                ledger.append({"outside": 1})
                return super().write(data)
            with ledger:
                offset = write_offset(descriptor)
                count = super().write(data)
                if count:
                    data = bytes(memoryview(data).cast("B")[:count])
                    key = ledger.learn(status)
                    ledger.operation("write", "write", key, offset=offset, data=data, sync=sync_of(descriptor))
                return count

        def truncate(self, size: int | None = None, /) -> int:
            descriptor = self.fileno()
            status = regular_file(descriptor)
            if status is None or not ledger.knows(status, descriptor):
                return super().truncate(size)
            with ledger:
                before = os.fstat(descriptor).st_size
                length = int(super().truncate(size))
                if length != before:
                    ledger.operation("truncate", "ftruncate", ledger.learn(status), size=length)
                return length

    FileIO.__module__, FileIO.__qualname__ = "_io", "FileIO"
    return FileIO


def opener_of(file_type: type[io.FileIO]) -> Callable[..., Any]:
    """`open`, whose files are of this type wherever they are written to."""

    def open(  # noqa: A001 - stands for the real one
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        if not _is_written(mode) or ("b" in mode and not (encoding is errors is newline is None)):
            return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = file_type(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        try:
            return _layers(raw, mode, buffering, (encoding, errors, newline))
        except BaseException:
            raw.close()
            raise

    return open


def _layers(raw: io.FileIO, mode: str, buffering: int, text: tuple[str | None, str | None, str | None]) -> Any:
    binary = "b" in mode
    if buffering == 0:
        if binary:
            return raw
        raise ValueError("can't have unbuffered text I/O")
    by_line = (buffering == 1 and not binary) or (buffering < 0 and not binary and raw.isatty())
    if buffering == 1 and binary:
        what = "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used"
        warnings.warn(what, RuntimeWarning, stacklevel=3)
    if buffering < 0 or buffering == 1:
        buffering = getattr(raw, "_blksize", io.DEFAULT_BUFFER_SIZE)
    buffer: Any = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw, buffering)
    if binary:
        return buffer
    encoding, errors, newline = text
    encoding = getattr(io, "text_encoding")(encoding, 3)  # noqa: B009 - unknown to type checkers
    wrapper = io.TextIOWrapper(buffer, encoding, errors, newline, by_line)
    wrapper.mode = mode  # type: ignore[misc]
    return wrapper


def _is_written(mode: Any) -> bool:
    """Whether this is a valid mode of a file that may be written; the real `open` deals with all others."""
    if not isinstance(mode, str) or len(set(mode)) != len(mode) or set(mode) - set("rwaxbt+"):
        return False
    ways = sum(letter in mode for letter in "rwax")
    return ways == 1 and not ("b" in mode and "t" in mode) and ("+" in mode or "r" not in mode)


def _open_as_file(path: Any, flags: int) -> int:
    return os.open(path, flags, 0o666)
