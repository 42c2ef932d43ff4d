"""What a participant of a race may be held at: calls on files of the folder, locks, waits, and its own statements.

The table says which calls are trapped and how each names its file; `Sight.look` reads one trapped call into a `Move`,
or into None when it has nothing to do with the race and must not be held. Reads count as well: a race is as much about
what was read before as about what is written after. Read `episode.py` next.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from fnmatch import fnmatchcase
from typing import NamedTuple, final

from chaos.child.ack import ACK_DESCRIPTOR
from chaos.race.waits import SLEEPS, WAITS, limit_s
from chaos.syscalls.filter import Instruction, build_filter
from chaos.syscalls.processes import Process
from chaos.syscalls.tables import RULES, Architecture, Rule

__all__ = ["UNSEEN", "Form", "Move", "Sight", "race_filter", "race_numbers"]

_AT_FDCWD = -100
_PROT_WRITE = 2
_SWITCH_S = 0.01  # Python's threads wait for each other by this or less; that is nobody's time limit
_RULES = {
    "mmap": RULES["mmap"],
    "futex": Rule(argument=1, mask=0x7F, values=(0, 9)),  # FUTEX_WAIT and FUTEX_WAIT_BITSET
    "lseek": Rule(argument=2, mask=0xFFFFFFFF, values=(2,)),  # SEEK_END, which tells how long the file is
}


@final
class Form(Enum):
    """How a call tells what it is about."""

    PATH = 0  # a path in the first argument
    AT = 1  # a descriptor and a path
    TWO_PATHS = 2
    TWO_AT = 3
    LINK_AT = 4  # text, descriptor, path
    LINK = 5  # text, path
    DESCRIPTOR = 6
    SEND = 7  # a descriptor to, a descriptor from
    COPY = 8  # a descriptor from, an offset, a descriptor to
    SLEEP = 9
    LOCK = 10  # flock
    CONTROL = 11  # fcntl
    SAY = 12  # an acknowledgement
    WAIT = 13  # for descriptors or another thread, with a time limit
    MAP = 14  # a file into memory that others share and that is written to


_FORMS: Mapping[str, Form] = {
    **dict.fromkeys(("open", "creat", "stat", "lstat", "access", "readlink", "truncate", "unlink"), Form.PATH),
    **dict.fromkeys(("rmdir", "mkdir", "chmod", "mknod"), Form.PATH),
    **dict.fromkeys(("openat", "openat2", "newfstatat", "statx", "faccessat", "faccessat2", "readlinkat"), Form.AT),
    **dict.fromkeys(("unlinkat", "mkdirat", "mknodat", "fchmodat", "utimensat", "futimesat"), Form.AT),
    **dict.fromkeys(("utime", "utimes"), Form.PATH),
    **dict.fromkeys(("rename", "link"), Form.TWO_PATHS),
    **dict.fromkeys(("renameat", "renameat2", "linkat"), Form.TWO_AT),
    "symlinkat": Form.LINK_AT,
    "symlink": Form.LINK,
    "sendfile": Form.SEND,
    **dict.fromkeys(("copy_file_range", "splice"), Form.COPY),
    **dict.fromkeys(("read", "pread64", "readv", "preadv", "preadv2", "getdents64", "close"), Form.DESCRIPTOR),
    **dict.fromkeys(("fstat", "lseek", "fchmod"), Form.DESCRIPTOR),
    **dict.fromkeys(("write", "pwrite64", "writev", "pwritev", "pwritev2", "fallocate"), Form.DESCRIPTOR),
    **dict.fromkeys(("ftruncate", "fsync", "fdatasync"), Form.DESCRIPTOR),
    **dict.fromkeys(SLEEPS, Form.SLEEP),
    **dict.fromkeys(WAITS, Form.WAIT),
    "mmap": Form.MAP,
    "flock": Form.LOCK,
    "fcntl": Form.CONTROL,
}  # fmt: skip
_MORE: Mapping[str, Mapping[str, int]] = {
    "x86_64": {
        "read": 0, "close": 3, "stat": 4, "lstat": 6, "pread64": 17, "readv": 19, "access": 21, "select": 23,
        "nanosleep": 35, "fcntl": 72, "flock": 73, "readlink": 89, "getdents64": 217, "clock_nanosleep": 230,
        "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "pselect6": 270, "preadv": 295, "statx": 332,
        "faccessat2": 439, "poll": 7, "futex": 202, "epoll_wait": 232, "ppoll": 271, "epoll_pwait": 281,
        "epoll_pwait2": 441, "fstat": 5, "lseek": 8, "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280,
        "preadv2": 327,
    },
    "aarch64": {
        "fcntl": 25, "flock": 32, "faccessat": 48, "close": 57, "getdents64": 61, "read": 63, "readv": 65,
        "pread64": 67, "preadv": 69, "pselect6": 72, "readlinkat": 78, "newfstatat": 79, "nanosleep": 101,
        "clock_nanosleep": 115, "statx": 291, "faccessat2": 439, "epoll_pwait": 22, "ppoll": 73, "futex": 98,
        "epoll_pwait2": 441, "fstat": 80, "lseek": 62, "utimensat": 88, "preadv2": 286,
    },
}  # fmt: skip


@final
class Move(NamedTuple):
    """One call that a participant is held at.

    Attributes:
        call: its name; "say" for a statement.
        form: how it tells what it is about.
        path: of the file, relative to the folder; "" for waits and statements.
        text: of a statement, else the other path.
    """

    call: str
    form: Form
    path: str = ""
    text: str = ""


UNSEEN = Move("a call that is not watched", Form.SLEEP)  # what somebody is at who sleeps out of sight


def race_numbers(architecture: Architecture) -> dict[int, str]:
    """Number -> name of every call that is trapped in a race."""
    known = {**architecture.numbers, **_MORE[architecture.name]}
    return {number: name for name, number in known.items() if name in _FORMS}


def race_filter(architecture: Architecture) -> tuple[Instruction, ...]:
    """The filter for a race."""
    names = race_numbers(architecture)
    numbers = {name: number for number, name in names.items()}
    return build_filter(replace(architecture, numbers=numbers), rules=_RULES)


@final
class Sight:
    """Reads trapped calls of processes that work in one folder.

    Args:
        folder: which.
        exclude: globs of names of files that may be mapped.
    """

    def __init__(self, folder: str, exclude: Sequence[str] = ()) -> None:
        self._exclude = exclude
        self._folder = os.path.realpath(folder)
        self._below = self._folder + "/"

    def look(self, name: str, arguments: list[int], process: Process, thread: int) -> Move | None:
        """The move that a call is, or None when it is to be let through at once.

        Raises:
            OSError, ProcessGone, Unreadable: its arguments can't be read; the kernel will say so to the caller.
        """
        form = _FORMS[name]
        if form is Form.DESCRIPTOR:
            if arguments[0] & 0xFFFFFFFF == ACK_DESCRIPTOR:
                return Move("say", Form.SAY, text=_text(process.read_exactly(arguments[1], arguments[2])))
            path = self._of_descriptor(thread, arguments[0])
            return None if path is None else Move(name, form, path)
        if form is Form.SLEEP:
            return Move(name, form)
        if form is Form.WAIT:
            # Without a limit it is not ours to end; select without descriptors is a sleep.
            sleeps = name in ("select", "pselect6") and not arguments[0]
            waits = sleeps or (limit_s(name, arguments, process) or 0.0) > 0
            return (
                Move(name, Form.SLEEP if sleeps else form, text="" if sleeps else "its time is over") if waits else None
            )
        if form is Form.MAP:
            path = self._of_descriptor(thread, arguments[4]) if arguments[2] & _PROT_WRITE else None
            is_left_out = path is None or any(fnmatchcase(os.path.basename(path), one) for one in self._exclude)
            return None if is_left_out else Move(name, form, path or "")
        if form in (Form.LOCK, Form.CONTROL):
            path = self._of_descriptor(thread, arguments[0])
            return None if path is None else Move(name, form, path)
        if form is Form.AT and not arguments[1]:  # utimensat without a path: the descriptor itself
            found = [self._of_descriptor(thread, arguments[0])]
        elif form in (Form.SEND, Form.COPY):
            found = [self._of_descriptor(thread, arguments[at]) for at in ((1, 0) if form is Form.SEND else (0, 2))]
        else:
            found = self._paths(form, arguments, process, thread)
        paths = [path for path in found if path is not None]
        return Move(name, form, paths[0], paths[-1] if len(paths) > 1 else "") if paths else None

    def _paths(self, form: Form, arguments: list[int], process: Process, thread: int) -> list[str | None]:
        places = {
            Form.PATH: ((None, 0),),
            Form.AT: ((0, 1),),
            Form.TWO_PATHS: ((None, 0), (None, 1)),
            Form.TWO_AT: ((0, 1), (2, 3)),
            Form.LINK_AT: ((1, 2),),
            Form.LINK: ((None, 1),),
        }[form]
        return [
            self._of_path(thread, None if at is None else arguments[at], process.read_path(arguments[path]))
            for at, path in places
        ]

    def _of_path(self, thread: int, directory: int | None, path: str) -> str | None:
        if path.startswith("/"):
            return self._within(os.path.normpath(path))
        number = _AT_FDCWD if directory is None else _signed(directory)
        if not path and number >= 0:  # AT_EMPTY_PATH: the descriptor itself
            return self._of_descriptor(thread, number)
        base = os.readlink(f"/proc/{thread}/cwd" if number == _AT_FDCWD else f"/proc/{thread}/fd/{number}")
        return self._within(os.path.normpath(os.path.join(base, path)))

    def _of_descriptor(self, thread: int, number: int) -> str | None:
        try:
            return self._within(os.readlink(f"/proc/{thread}/fd/{_signed(number)}").removesuffix(" (deleted)"))
        except OSError:
            return None

    def _within(self, path: str) -> str | None:
        if path.startswith(self._below):
            return path[len(self._below) :]
        return "." if path == self._folder else None


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")


def _signed(argument: int) -> int:
    low = argument & 0xFFFFFFFF
    return low - (1 << 32) if low & 0x80000000 else low
