"""A fault as data: what is done to which calls of a running program, and its form as a table for TOML and replay.

    call = "write"          a family (write, sync, open, truncate, rename, unlink, mkdir, link, chmod, read), a system
                            call as the kernel spells it (pwrite64), "open_read" (an open that neither creates nor cuts
                            a file; also in the family read), "ack", or a list of these; reads only by name
    path = "*.json"         glob that one of the call's paths, relative to the watched folder, must fit
    process = 0             number of the process that must make it, in order of appearance

    nth = 3                 that matching call, counted over all processes from 1, or
    every = 2               every second one, or
    probability = 0.1       each with that chance, drawn from the run's seed; with none of the three: each in turn, in
                            a run of its own
    onwards = true          with nth or in turn: that one and all after it, as on a disk that is full from some call on
    after_ack = 2           only calls after so many acknowledgements count

    and one of
    errno = "ENOSPC"        the call has no effect and fails (a sync that fails drops the pages it should have written)
    short = 5               only so many bytes are written, and the caller is told so; "half" for half of them
    delay = 0.2             seconds that the caller waits first
    hang = true             the call never returns, and no signal but SIGKILL ends it
    pause = 2.0             seconds for which the whole process stands still (SIGSTOP) before the call
    lie = true              a sync returns 0 and syncs nothing
    full = 4096             so many bytes can be written in all; then the disk is full (a write is cut where it ends)
    kill = "before"         SIGKILL "before", "inside" or "after" the call; `bytes` is where a write is cut, `reach` is
                            "tree" (all processes of the program) or "process"

Pure data: this module must not import an engine. Read `policy.py` for what carries it out.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from errno import errorcode
from math import isfinite
from typing import Any, Literal, cast, final, get_args

from chaos.errors import UsageError

__all__ = ["CALLS", "ERRNOS", "FAMILIES", "MOMENTS", "REACHES", "Deed", "Fault", "Moment", "Reach", "parse_fault"]

Moment = Literal["before", "inside", "after"]
Reach = Literal["tree", "process"]

FAMILIES: dict[str, tuple[str, ...]] = {
    "write": (
        "write",
        "pwrite64",
        "writev",
        "pwritev",
        "pwritev2",
        "sendfile",
        "copy_file_range",
        "splice",
        "ioctl",
    ),
    "sync": ("fsync", "fdatasync", "sync", "syncfs", "msync"),
    "open": ("open", "creat", "openat", "openat2", "mknod", "mknodat"),
    "truncate": ("truncate", "ftruncate", "fallocate"),
    "rename": ("rename", "renameat", "renameat2"),
    "unlink": ("unlink", "unlinkat", "rmdir"),
    "mkdir": ("mkdir", "mkdirat"),
    "link": ("link", "linkat", "symlink", "symlinkat"),
    "chmod": ("chmod", "fchmod", "fchmodat", "fchmodat2"),
    "read": ("read", "pread64", "readv", "preadv", "preadv2", "open_read"),
    "ack": ("ack",),
}
_MEMBERS = {call for family in FAMILIES.values() for call in family}
CALLS: tuple[str, ...] = tuple(dict.fromkeys([*FAMILIES, *sorted(_MEMBERS)]))
ERRNOS: tuple[str, ...] = tuple(errorcode[number] for number in sorted(errorcode))
MOMENTS: tuple[Moment, ...] = get_args(Moment)
REACHES: tuple[Reach, ...] = get_args(Reach)


@final
class Deed(str, Enum):
    """What is done; the value is its key in a table."""

    ERRNO = "errno"
    SHORT = "short"
    DELAY = "delay"
    HANG = "hang"
    PAUSE = "pause"
    LIE = "lie"
    FULL = "full"
    KILL = "kill"


# What can be done only to some calls; those are also the ones that match when none is named.
_ONLY = {Deed.SHORT: "write", Deed.LIE: "sync", Deed.FULL: "write"}
_CHOICES = ("nth", "every", "probability")
_KEYS = ("call", "path", "process", *_CHOICES, "onwards", "after_ack", "bytes", "reach", *(one.value for one in Deed))
_HINT = "`chaos schema` has the keys of a fault"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault, checked; see the head of this module.

    Attributes:
        deed: what is done.
        calls: families and calls that match; any call that takes effect when empty, reads and acknowledgements only
            by name.
        path: glob; any path when empty.
        process: number of the process; any when None.
        nth: which matching call; None with `every` and `probability` None as well: each in turn.
        every: each so-manieth.
        probability: above 0, at most 1.
        onwards: all matching calls after that one, too.
        after_ack: how many acknowledgements come first.
        errno: the error's name.
        size_bytes: of SHORT (None: half), FULL, and KILL inside (None: half).
        duration_s: of DELAY and PAUSE.
        moment: of KILL.
        reach: of KILL.
    """

    deed: Deed
    calls: tuple[str, ...] = ()
    path: str = ""
    process: int | None = None
    nth: int | None = None
    every: int | None = None
    probability: float | None = None
    onwards: bool = False
    after_ack: int = 0
    errno: str = ""
    size_bytes: int | None = None
    duration_s: float | None = None
    moment: Moment = "before"
    reach: Reach = "tree"

    def __post_init__(self) -> None:
        for problem, hint in (*_wrong_choice(self), *_wrong_deed(self)):
            raise UsageError(f"fault: {problem}", hint)

    @property
    def is_each(self) -> bool:
        """Whether it stands for many runs: the first matching call in one, the second in another, and so on."""
        return self.deed is not Deed.FULL and self.nth is None and self.every is None and self.probability is None

    def at(self, nth: int) -> "Fault":
        """This fault at one matching call."""
        return replace(self, nth=nth, every=None, probability=None)

    @property
    def strikes_reads(self) -> bool:
        """Whether it is about calls that change nothing, which are seen only where they are asked for."""
        return not self.names().isdisjoint(FAMILIES["read"])

    def names(self) -> frozenset[str]:
        """The system calls that match by name; empty for all but acknowledgements."""
        families = self.calls or ((_ONLY[self.deed],) if self.deed in _ONLY else ())
        return frozenset(call for name in families for call in FAMILIES.get(name, (name,)))

    def table(self) -> dict[str, Any]:
        """Its form as a table: what `parse_fault` reads, times in seconds and sizes in bytes."""
        calls: object = self.calls[0] if len(self.calls) == 1 else list(self.calls)
        found: dict[str, Any] = {"call": calls, "path": self.path, "process": self.process}
        found |= {name: getattr(self, name) for name in (*_CHOICES, "onwards", "after_ack")}
        found = {name: value for name, value in found.items() if value or (name == "process" and value is not None)}
        if self.deed is Deed.KILL:
            found |= {} if self.size_bytes is None else {"bytes": self.size_bytes}
            found |= {} if self.reach == "tree" else {"reach": self.reach}
        return {**found, self.deed.value: self._measure()}

    def _measure(self) -> object:
        if self.deed is Deed.ERRNO:
            return self.errno
        if self.deed in (Deed.DELAY, Deed.PAUSE):
            return self.duration_s
        if self.deed is Deed.KILL:
            return self.moment
        if self.deed in (Deed.SHORT, Deed.FULL):
            return "half" if self.size_bytes is None else self.size_bytes
        return True

    def words(self) -> str:
        """It in words, e.g. "write 3 of *.json fails with ENOSPC"."""
        what = " or ".join(self.calls) or _ONLY.get(self.deed, "call")
        which = f"{what} {self.nth}" if self.nth else f"every {what}" if self.every in (None, 1) else ""
        which = which or f"every {self.every}th {what}"
        if self.probability is not None:
            which = f"{what}, with a chance of {self.probability:g} each,"
        elif self.is_each:
            which = f"each {what} in turn"
        which += " and all after it" if self.onwards else ""
        which += f" of {self.path}" if self.path else ""
        which += f" by process {self.process}" if self.process is not None else ""
        which += f" after acknowledgement {self.after_ack}" if self.after_ack else ""
        return f"the disk is full after {self.size_bytes} bytes" if self.deed is Deed.FULL else f"{which} {_does(self)}"

    def done(self) -> str:
        """What became of a call that it struck, in words, e.g. "failed with ENOSPC"."""
        size = "half of it" if self.size_bytes is None else f"{self.size_bytes} bytes"
        return {
            Deed.ERRNO: f"failed with {self.errno}",
            Deed.SHORT: f"wrote {size} only, and said so",
            Deed.FULL: f"found the disk full (after {size})",
            Deed.DELAY: f"came {self.duration_s} s late",
            Deed.PAUSE: f"came after {self.duration_s} s in which its process stood still",
            Deed.HANG: "never returned",
            Deed.LIE: "returned 0 and synced nothing",
            Deed.KILL: f"was killed {self.moment}{' it' if self.moment != 'inside' else ''}",
        }[self.deed]


def parse_fault(table: Mapping[str, Any]) -> Fault:
    """Read a fault's table.

    Raises:
        UsageError: what is wrong with it.
    """
    for name in table:
        if name not in _KEYS:
            close = get_close_matches(str(name), _KEYS, n=1)
            raise UsageError(f"fault: there is no key {name!r}", f"did you mean {close[0]}?" if close else _HINT)
    deeds = [deed for deed in Deed if deed.value in table]
    if len(deeds) != 1:
        given = f"it says {' and '.join(one.value for one in deeds)}" if deeds else "it does nothing"
        raise UsageError(f"fault: {given}", f"give exactly one of {', '.join(one.value for one in Deed)}")
    call = table.get("call", ())
    fields = {name: table[name] for name in ("path", "process", *_CHOICES, "onwards", "after_ack") if name in table}
    fields |= {"reach": table["reach"]} if "reach" in table else {}
    fields |= {"size_bytes": table["bytes"]} if "bytes" in table else {}
    fields |= _measured(deeds[0], table[deeds[0].value])
    if deeds[0] is not Deed.KILL and ("reach" in table or "bytes" in table):
        raise UsageError("fault: bytes and reach belong to kill", "leave them out")
    return Fault(deed=deeds[0], calls=(call,) if isinstance(call, str) else tuple(call), **fields)


def _measured(deed: Deed, value: Any) -> dict[str, Any]:
    if deed is Deed.ERRNO:
        return {"errno": value}
    if deed in (Deed.DELAY, Deed.PAUSE):
        return {"duration_s": value}
    if deed is Deed.KILL:
        return {"moment": value}
    if deed is Deed.FULL or (deed is Deed.SHORT and value != "half"):
        return {"size_bytes": value}
    if deed is not Deed.SHORT and value is not True:
        raise UsageError(f"fault: {deed.value} is {value!r}", f"write {deed.value} = true, or leave the fault out")
    return {}


def _wrong_choice(fault: Fault) -> list[tuple[str, str]]:
    """(what is wrong, the next step), about which calls it strikes."""
    found = []
    for name in fault.calls:
        if name not in CALLS:
            close = get_close_matches(str(name), CALLS, n=1)
            found.append((f"there is no call {name!r}", f"did you mean {close[0]}?" if close else _HINT))
    counted = {"nth": fault.nth, "every": fault.every, "process": fault.process, "after_ack": fault.after_ack}
    for name, value in counted.items():
        least = 1 if name in ("nth", "every") else 0
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            found.append((f"{name} is {value!r}", f"give a whole number from {least}"))
    chance = fault.probability
    if chance is not None and (not _is_number(chance) or not 0 < chance <= 1):
        found.append((f"probability is {chance!r}", "give a number above 0, at most 1"))
    given = [name for name in _CHOICES if getattr(fault, name) is not None]
    if len(given) > 1:
        found.append((f"{' and '.join(given)} are given", "choose one"))
    if fault.onwards and (fault.every is not None or chance is not None):
        found.append(("onwards goes with nth alone", "leave it out"))
    if fault.deed is Deed.FULL and (given or fault.onwards):
        found.append((f"full does not go with {(*given, 'onwards')[0]}", "leave it out"))
    return found


def _wrong_deed(fault: Fault) -> list[tuple[str, str]]:
    """Likewise, about what it does."""
    found: list[tuple[str, str]] = []
    deed = fault.deed
    if deed is Deed.ERRNO and fault.errno not in ERRNOS:
        close = get_close_matches(str(fault.errno), ERRNOS, n=1)
        found.append((f"there is no errno {fault.errno!r}", f"did you mean {close[0]}?" if close else "see errno(3)"))
    if deed in (Deed.DELAY, Deed.PAUSE) and not (_is_number(fault.duration_s) and cast("float", fault.duration_s) > 0):
        found.append((f"{deed.value} is {fault.duration_s!r}", "give a time above 0"))
    size, least = fault.size_bytes, int(deed is Deed.SHORT)
    if (size is not None or deed is Deed.FULL) and (
        not isinstance(size, int) or isinstance(size, bool) or size < least
    ):
        found.append((f"{deed.value} is {size!r}", f"give a whole number of bytes from {least}"))
    if fault.moment not in MOMENTS:
        found.append((f"kill is {fault.moment!r}", f"choose among {', '.join(MOMENTS)}"))
    if fault.reach not in REACHES:
        found.append((f"reach is {fault.reach!r}", f"choose among {', '.join(REACHES)}"))
    if deed in _ONLY and (strange := sorted(fault.names() - set(FAMILIES[_ONLY[deed]]))):
        found.append((f"{deed.value} can't be done to {strange[0]}", f"it is for the family {_ONLY[deed]}"))
    if deed is Deed.ERRNO and "ack" in fault.names():
        found.append(("an acknowledgement can't fail", "name another call"))
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def _does(fault: Fault) -> str:
    if fault.deed is Deed.SHORT:
        return "is cut to half" if fault.size_bytes is None else f"is cut to {fault.size_bytes} bytes"
    return {
        Deed.ERRNO: f"fails with {fault.errno}",
        Deed.DELAY: f"waits {fault.duration_s} s first",
        Deed.PAUSE: f"finds its process stopped for {fault.duration_s} s first",
        Deed.HANG: "never returns",
        Deed.LIE: "returns 0 and syncs nothing",
        Deed.KILL: f"is killed {fault.moment}",
    }[fault.deed]
