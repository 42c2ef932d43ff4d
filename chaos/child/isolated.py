"""Carries out one run of a target in a process that may be lost, and reports how it went.

Runs inside the target's process, a fork made for it, so it is standard library only and holds no state. It turns
everything that a target can do short of dying into a report: a value, an exception with its place, an exit, a lack
of memory, the objection of the user's check. What happens to the process itself (signals, deadline, os._exit) is
seen by whoever watches it (`chaos/explore/watching.py`). Read `forker.py` next.

A report is JSON, the fields of `Outcome` that are not empty, then a zero byte and the value's canonical text.
"""

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Sequence
from os import _exit, setsid  # kept, these and the next: a target may patch them
from os import getpid as _getpid
from types import TracebackType

from chaos.child import leftovers
from chaos.child.board import Board, Phase
from chaos.child.lean import Any, NoReturn, final
from chaos.child.values import encode, type_name

__all__ = ["CRASHED", "CommandError", "Errand", "Streams", "be_child", "carry_out", "report_of_error", "unpack"]

CRASHED = 70  # exit code of a child whose harness code failed; nothing else leaves with it and no report
Streams = tuple[Any, Any]

_ENCODE = Phase.ENCODE
_MESSAGE_LIMIT = 2000
_FRAMES_LIMIT = 40
_OWN_FOLDER = os.path.dirname(__file__) + os.sep


@final
class CommandError(Exception):
    """A command of a target that failed.

    Attributes:
        code: its exit code; negative = killed by that signal.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.message = message
        self.code = code

    def __str__(self) -> str:
        return self.message


@final
class Errand:
    """What is to be run.

    Attributes:
        run: the target's role.
        arguments: what it is called with.
        folder: the watched folder.
        leftovers: whether to look for what the run left open or running.
        usage: whether to tell how much memory the run took.
        check: the user's predicate over the value and the acknowledged values; None without one.
        acked: the values acknowledged before the crash.
    """

    __slots__ = ("acked", "arguments", "check", "folder", "leftovers", "run", "usage")

    def __init__(
        self, run: Callable[..., Any], arguments: tuple[Any, ...], folder: str, *, leftovers: bool, usage: bool = False
    ) -> None:
        self.run = run
        self.arguments = arguments
        self.folder = folder
        self.leftovers = leftovers
        self.usage = usage
        self.check: Callable[..., Any] | None = None
        self.acked: Sequence[Any] = ()

    def checked(self, check: Callable[..., Any], acked: Sequence[Any]) -> "Errand":
        """This errand, its value given to `check`."""
        made = Errand(self.run, self.arguments, self.folder, leftovers=self.leftovers, usage=self.usage)
        made.check, made.acked = check, acked
        return made


def be_child(errand: Errand, board: Board, streams: Streams) -> NoReturn:
    """Be a forked child that carries out one errand, hands in its report and leaves, running nobody's exit handlers.

    `streams` are standard output and error as this process was given them, unbuffered; others are flushed.
    """
    try:
        setsid()  # a group of its own: what it starts can be killed at once with it
        me = _getpid()
        report = carry_out(errand, board)
        if _getpid() == me:  # else a fork of the target came back, too: it hands in nothing
            if (sys.stdout, sys.stderr) != streams:
                _flush(sys.stdout)
                _flush(sys.stderr)
            board.add(report)
            board.stay()
        _exit(0)
    finally:
        _exit(CRASHED)


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except Exception:  # noqa: BLE001 - foreign code: closed, or no stream at all, so nothing to flush
        return


def carry_out(errand: Errand, board: Board) -> bytes:
    """Run the errand and return its report; never raises."""
    before = _most_resident() if errand.usage else 0
    try:
        value = errand.run(*errand.arguments)
        board.mark(_ENCODE)
        text = encode(value).encode()
        if errand.check is None and not errand.leftovers and not errand.usage:
            return b"{}\0" + text
        report: dict[str, Any] = {"memory_bytes": _most_resident() - before} if errand.usage else {}
        if errand.check is not None:
            board.mark(Phase.CHECK)
            _note(report, "check", _objection(errand.check, value, list(errand.acked)))
        if errand.leftovers:
            board.mark(Phase.LEFTOVERS)
            del value  # what the value itself holds open is the caller's to close
            gc.collect()
            _note(report, "leftovers", leftovers.held_by_this_process(errand.folder))
        return _pack(report, text)
    except BaseException as error:  # noqa: BLE001 - the process edge: whatever the target raises is the result
        return _pack(report_of_error(error), b"")


def _most_resident() -> int:
    """The most memory that this process, a fork, had resident since it was made, or one of its children, in bytes."""
    usage = importlib.import_module("resource")  # loaded only where it is asked for: forks must stay cheap
    most: int = max(usage.getrusage(usage.RUSAGE_SELF).ru_maxrss, usage.getrusage(usage.RUSAGE_CHILDREN).ru_maxrss)
    return most << 10


def unpack(report: bytes) -> dict[str, Any]:
    """A report as the fields of an outcome, the value among them."""
    head, _, text = report.partition(b"\0")
    fields: dict[str, Any] = {} if head == b"{}" else json.loads(head)
    if text:
        fields["value"] = text.decode()
    return fields


def report_of_error(error: BaseException) -> dict[str, Any]:
    """An exception as the fields of an outcome."""
    report: dict[str, Any] = {
        "ending": "raised",
        "error_type": type_name(type(error)),
        "error": _message(error),
        "frames": _frames(error.__traceback__),
    }
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        return {
            **report,
            "ending": "exited",
            "error_type": "exit",
            "error": f"sys.exit({error.code!r})",
            "detail": code,
        }
    if isinstance(error, MemoryError):
        return {**report, "ending": "memory", "error_type": "memory", "error": f"MemoryError: {report['error']}"}
    if isinstance(error, CommandError):
        ending = "killed" if error.code < 0 else "raised"
        kind = "signal" if error.code < 0 else "exit"
        return {**report, "ending": ending, "error_type": kind, "detail": abs(error.code), "frames": []}
    return report


def _note(report: dict[str, Any], name: str, content: str | list[str]) -> None:
    if content:
        report[name] = content


def _objection(check: Callable[..., Any], value: Any, acked: list[Any]) -> str:
    try:
        check(value, acked)
    except BaseException as error:  # noqa: BLE001 - the process edge: any exception is the check's objection
        frames = _frames(error.__traceback__)
        place = f" (at {frames[0][0]}:{frames[0][1]})" if frames else ""
        return f"{type_name(type(error))}: {_message(error)}{place}"
    return ""


def _message(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as inner:  # noqa: BLE001 - foreign code: an exception whose text fails is still an exception
        text = f"(its message raised {type(inner).__name__})"
    text = " ".join(text[: 2 * _MESSAGE_LIMIT].split())
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + " ..."


def _frames(trail: TracebackType | None) -> list[tuple[str, int, str]]:
    """(file, line, function), innermost first, without this harness's own."""
    found = []
    while trail is not None:
        code = trail.tb_frame.f_code
        if not code.co_filename.startswith(_OWN_FOLDER):
            found.append((code.co_filename, trail.tb_lineno or 0, code.co_name))
        trail = trail.tb_next
    return found[: -_FRAMES_LIMIT - 1 : -1]


def _pack(report: dict[str, Any], text: bytes) -> bytes:
    return b"%s\0%s" % (json.dumps(report).encode() if report else b"{}", text)
