"""A trapped call on its way through the supervisor, and what a policy may decide about it.

A *handler* is a generator: it reads the call's arguments, yields a `Call` when the call concerns the watched folder
(everything after that yield is atomic: one call at a time is in effect), performs the call, and returns its result.
Decoding and effect are thereby one readable function, and a call can be held between the two. What a handler does
not want is returned as `CONTINUE` before any yield: the kernel performs it, at once.

A *policy* answers one question, `decide(call) -> Decision`. Recording is no policy: what took effect is recorded
whatever was decided. Read `supervisor.py` next.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, Protocol, final

from chaos.syscalls.processes import Process

__all__ = [
    "CONTINUE",
    "PROCEED",
    "Call",
    "Continue",
    "Decision",
    "Fail",
    "Handler",
    "Hold",
    "Installed",
    "KillAfter",
    "KillBefore",
    "KillInside",
    "Partial",
    "Policy",
    "Pretend",
    "Proceed",
    "Reach",
    "Reply",
    "Steps",
    "Trap",
    "Wait",
]


@final
class Trap:
    """One notification: who called what."""

    __slots__ = ("arguments", "held", "id", "name", "process", "thread", "thread_number")

    def __init__(self, id_: int, name: str, arguments: list[int], thread: int, owner: tuple[Process, int]) -> None:
        self.id = id_
        self.name = name
        self.arguments = arguments
        self.thread = thread
        self.process, self.thread_number = owner
        self.held = False  # it was held for a while, and the policy is not asked about it again

    def descriptor(self, index: int) -> int:
        """An argument as a descriptor number; negative ones stand for AT_FDCWD or nothing."""
        return self.signed(index)

    def signed(self, index: int) -> int:
        """The low 32 bits of an argument, as a C `int`."""
        low = self.arguments[index] & 0xFFFFFFFF
        return low - (1 << 32) if low & 0x80000000 else low

    def signed_long(self, index: int) -> int:
        """An argument as a C `long`."""
        value = self.arguments[index]
        return value - (1 << 64) if value & (1 << 63) else value


@final
class Call(NamedTuple):
    """What a policy sees of a call that is about to take effect in the watched folder (or is an acknowledgement).

    Attributes:
        name: the system call, as the kernel spells it; "ack" for an acknowledgement.
        path: of the node acted upon, relative to the folder; "" when it has none.
        to_path: the other path of a rename, link or exchange.
        size: how many bytes it would write; 0 for other calls.
        process: its process's number in the trace.
        thread: its thread's number in that process.
    """

    name: str
    path: str
    process: int
    thread: int
    size: int = 0
    to_path: str = ""


@final
class Wait(NamedTuple):
    """Yielded by a handler whose source has nothing yet: go on with it when `descriptor` can be read."""

    descriptor: int


@final
class Continue(Enum):
    """The type of `CONTINUE`."""

    CONTINUE = "continue"


CONTINUE: Final = Continue.CONTINUE


@final
class Installed(NamedTuple):
    """The result is a descriptor: install a duplicate of this one in the caller."""

    descriptor: int
    flags: int
    undo: Callable[[], None]  # what to take back when the caller may open no more


Reply = int | Continue | Installed
Steps = Generator[Call | Wait | None, int | None, Reply]  # None stands for a call about which no policy is asked
Handler = Callable[[Trap], Steps | Reply]  # a handler that has nothing to hold a call for may answer at once


@final
class Reach(str, Enum):
    """Who dies of a kill."""

    PROCESS = "process"
    TREE = "tree"


@final
@dataclass(frozen=True, slots=True)
class Proceed:
    """Nothing is done to the call."""


@final
@dataclass(frozen=True, slots=True)
class Fail:
    """The call has no effect and returns this error."""

    errno: int


@final
@dataclass(frozen=True, slots=True)
class Partial:
    """Only the first `size_bytes` of a write are written, and the caller is told so."""

    size_bytes: int


@final
@dataclass(frozen=True, slots=True)
class KillBefore:
    """SIGKILL instead of the call."""

    reach: Reach = Reach.TREE


@final
@dataclass(frozen=True, slots=True)
class KillAfter:
    """The call takes effect, and SIGKILL comes before it returns."""

    reach: Reach = Reach.TREE


@final
@dataclass(frozen=True, slots=True)
class KillInside:
    """The first `size_bytes` of a write are written, then SIGKILL; as `KillAfter` for other calls."""

    size_bytes: int
    reach: Reach = Reach.TREE


@final
@dataclass(frozen=True, slots=True)
class Pretend:
    """The call has no effect, and returns this as if it had."""

    result: int = 0


@final
@dataclass(frozen=True, slots=True)
class Hold:
    """The caller waits, others go on; then the call is decoded anew and takes effect.

    Attributes:
        duration_s: how long; for ever when None: only a kill ends that.
        stop: whether all other threads of its process stand still meanwhile (SIGSTOP, then SIGCONT).
    """

    duration_s: float | None
    stop: bool = False


Decision = Proceed | Fail | Partial | KillBefore | KillAfter | KillInside | Pretend | Hold
PROCEED: Final = Proceed()


class Policy(Protocol):
    """Decides what becomes of each call that is about to take effect."""

    def decide(self, call: Call) -> Decision:
        """Called once for each such call, in the order in which they take effect."""
        ...
