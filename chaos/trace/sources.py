"""Python source lines for the calls that the supervisor holds: the asking end of `chaos/child/frames.py`.

`start` puts the question and returns at once, `finish` collects the answer, so that the round trip overlaps with
the supervisor's own work on the call. A line that can't be had is no lines, never an error and never a long wait:
the supervisor serves the whole process tree from one thread. Not knowing must not depend on how busy the machine
is either, so an answer that is late is not given up by the clock: the asked process's threads are looked at. While
the answering thread is on the processor, or another thread of the process is (it may hold the interpreter's lock),
the answer will come; when all sleep, C code holds the lock over the call, and no answer can come before its end.

The message format is in `chaos/child/frames.py`.
"""

import os
import select
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import final

from chaos.child.frames import ADDRESS_VARIABLE, UNKNOWN_THREAD
from chaos.trace.model import Frame

__all__ = ["INJECT_FOLDER", "SourceLines"]

INJECT_FOLDER = str(Path(__file__).resolve().parent.parent / "child" / "inject")

_QUESTION = struct.Struct("<IIQ")
_ANSWER = struct.Struct("<II")
_HELLO = struct.Struct("<IQ")
_PEER = struct.Struct("iII")  # struct ucred
_BACKLOG = 1024  # processes that connect while the supervisor serves a call must not wait
_MESSAGE_BYTES = 65_536
_STARVED_S = 1.0  # an answering thread that is ready to run, yet gets no processor for so long, is given up
_CONTENDED_S = 0.05  # likewise when another thread keeps the lock: ten of CPython's switch intervals
_RECONNECT_S = 0.005  # a fork of a lean process takes a fifth of it; one that lasts longer is seen running
_RECONNECTS = 8  # a process that forks faster than it answers is let be
_POLL_MS = 1
_PILE = 16  # questions without answer, from which on another one is put only if it has a chance
_SILENT_AFTER = 3  # this many calls in a row with the lock held: from then on look first, and wait if it helps
_PTHREAD_BYTES = 1024  # glibc and musl keep the native id within the first kilobyte of a thread's descriptor


@final
class _Connection:
    """One process's answering thread, and the frame numbers it gave out."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.arrival = select.poll()
        self.arrival.register(sock, select.POLLIN)
        self.helper = 0
        self.helper_ident = 0
        self.number = 0  # of the last question
        self.answered = 0  # number of the last answer
        self.silent = 0  # questions in a row that were given up
        self.frames: list[Frame] = []
        self.stacks: dict[bytes, tuple[Frame, ...]] = {}


@final
class SourceLines:
    """The supervisor's book of Python processes that can say where they are.

    One question at a time: `start` for a held call, later `finish` for the same call.

    Guarantees: `start` never blocks; `finish` blocks for `_POLL_MS` at a time and only while an answer can come.
    Does not: find lines in a process that was started with `python -I`, `-E` or `-S`, that closed its descriptors,
    or whose C code keeps the interpreter's lock while it calls the kernel.
    """

    def __init__(self, *, meanwhile: Callable[[], bool] = lambda: False) -> None:
        """Listen.

        Args:
            meanwhile: called while an answer is waited for; lets calls go on that the answer may depend on, and says
                whether there were any.
        """
        self._meanwhile = meanwhile
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        name = f"chaos-frames-{os.getpid()}-{os.urandom(8).hex()}"
        self._listener.bind("\0" + name)
        self._listener.listen(_BACKLOG)
        self._address = "@" + name
        self._connections: dict[int, _Connection] = {}
        self._pending: tuple[_Connection, int, int] | None = None
        self._interned: dict[Frame, Frame] = {}
        self._stacks: dict[tuple[Frame, ...], tuple[Frame, ...]] = {}
        self._sweep_at = 64

    def fileno(self) -> int:
        """The listening descriptor; when it is readable, call `accept`."""
        return self._listener.fileno()

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """What the target's environment needs on top of `base`, its environment otherwise."""
        path = base.get("PYTHONPATH")
        return {
            ADDRESS_VARIABLE: self._address,
            "PYTHONPATH": INJECT_FOLDER + os.pathsep + path if path else INJECT_FOLDER,
        }

    @property
    def address(self) -> str:
        """For `chaos.child.frames.start`, in a target that is a fork of this process."""
        return self._address

    def accept(self) -> None:
        """Take in the processes that wait to be connected; never blocks."""
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                break
            sock.setblocking(False)
            pid, uid, _ = _PEER.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            if uid != os.getuid():
                sock.close()
                continue
            self.forget(pid)  # the same process after exec, or after a fork ended the former thread
            self._connections[pid] = _Connection(sock)
        if len(self._connections) > self._sweep_at:
            self._sweep()

    def start(self, tid: int, tgid: int) -> bool:
        """Ask where thread `tid` of process `tgid` is; it must be held at a call.

        Returns:
            Whether there is anything to `finish`.
        """
        self._pending = None
        connection = self._connections.get(tgid)
        if connection is None:
            self.accept()
            connection = self._connections.get(tgid)
        if connection is None or self._hopeless(connection, tgid):
            return False
        self._ask(connection, tid)
        self._pending = (connection, tid, tgid)
        return True

    def knows(self, tgid: int) -> bool:
        """Whether a process can be asked."""
        return tgid in self._connections

    def finish(self) -> tuple[Frame, ...]:
        """The frames of the thread last asked for, innermost first; empty when they can't be had."""
        if self._pending is None:
            return ()
        connection, tid, tgid = self._pending
        self._pending = None
        answer = self._receive(connection, tid, tgid)
        attempts = 0
        while answer == b"" and attempts < _RECONNECTS:
            attempts += 1
            anew = self._wait_reconnected(tid, tgid)
            if anew is None:
                return ()
            connection = anew
            self._ask(connection, tid)
            answer = self._receive(connection, tid, tgid)
        if answer and _is_unknown(answer):
            ident = _find_thread(connection, tid, tgid, [value for (value,) in struct.iter_unpack("<Q", answer[8:])])
            if not ident:
                return ()
            self._ask(connection, tid, ident)
            answer = self._receive(connection, tid, tgid)
        return self._read(connection, answer) if answer and not _is_unknown(answer) else ()

    def forget(self, tgid: int) -> None:
        """Drop what is known of a process, when it has ended."""
        connection = self._connections.pop(tgid, None)
        if connection is not None:
            connection.sock.close()

    def close(self) -> None:
        """Close everything; the targets' threads end by that."""
        for tgid in list(self._connections):
            self.forget(tgid)
        self._listener.close()

    def _ask(self, connection: _Connection, tid: int, ident: int = 0) -> None:
        connection.number = (connection.number + 1) & 0xFFFFFFFF
        # A peer that is gone shows when its answer is read.
        with suppress(OSError):
            connection.sock.send(_QUESTION.pack(connection.number, tid, ident))

    def _wait_reconnected(self, tid: int, tgid: int) -> _Connection | None:
        """The process's next connection: it gives up the former one for the moment of a fork, and at an exec."""
        self.forget(tgid)
        began = time.monotonic()
        while True:
            self.accept()
            if tgid in self._connections:
                return self._connections[tgid]
            waited_s = time.monotonic() - began
            if waited_s > _RECONNECT_S and not (waited_s < _CONTENDED_S and _others_run(tid, 0, tgid)):
                return None
            _wait_readable(self._listener)

    def _hopeless(self, connection: _Connection, tgid: int) -> bool:
        """Whether C code still keeps the lock since many questions ago, so that one more would only pile up."""
        if connection.number - connection.answered < _PILE:
            return False
        asleep = _state(tgid, connection.helper) == "S"  # looked at first: it may answer the last one meanwhile
        while self._take(connection):
            pass  # late answers to questions that were given up
        return asleep and connection.number != connection.answered

    def _receive(self, connection: _Connection, tid: int, tgid: int) -> bytes | None:
        """The answer to the last question, waited for as long as it can come; empty when the peer is gone."""
        began, hope = 0.0, True
        if connection.silent < _SILENT_AFTER:
            connection.arrival.poll(_POLL_MS)  # looking at threads costs more than the answer mostly takes
        while True:
            message = self._take(connection)
            if message and connection.answered == connection.number:
                connection.silent = 0
                return message
            if message:
                continue  # late, to a question that was given up
            if message is not None:
                return message
            if not hope:
                connection.silent += 1
                return None
            began = began or time.monotonic()
            hope = self._meanwhile() or _can_come(connection, tid, tgid, time.monotonic() - began)
            if hope:  # else take once more: it may have come in between
                connection.arrival.poll(_POLL_MS)

    def _take(self, connection: _Connection) -> bytes | None:
        """The next message, its frame definitions learnt; None when there is none yet, empty when the peer is gone."""
        try:
            message = connection.sock.recv(_MESSAGE_BYTES)
            if connection.helper == 0 and message:
                connection.helper, connection.helper_ident = _HELLO.unpack(message)
                message = connection.sock.recv(_MESSAGE_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if message:
            connection.answered, count = _ANSWER.unpack_from(message)
            if count != UNKNOWN_THREAD and len(message) > 8 + 4 * count:
                self._learn(connection, message[8 + 4 * count :])
        return message

    def _learn(self, connection: _Connection, definitions: bytes) -> None:
        texts = definitions.decode("utf-8", "surrogatepass").split("\0")
        for line, function, file in zip(texts[0::3], texts[1::3], texts[2::3], strict=False):
            frame = Frame(sys.intern(file), int(line), sys.intern(function))
            connection.frames.append(self._interned.setdefault(frame, frame))

    def _read(self, connection: _Connection, answer: bytes) -> tuple[Frame, ...]:
        count = int.from_bytes(answer[4:8], "little")
        key = answer[8 : 8 + 4 * count]
        stack = connection.stacks.get(key)
        if stack is None:
            frames = tuple(connection.frames[number] for (number,) in struct.iter_unpack("<I", key))
            stack = connection.stacks[key] = self._stacks.setdefault(frames, frames)
        return stack

    def _sweep(self) -> None:
        """Drop the connections whose process has ended, now and then: there may be thousands over a run."""
        poll = select.poll()
        by_descriptor = {connection.sock.fileno(): tgid for tgid, connection in self._connections.items()}
        for descriptor in by_descriptor:
            poll.register(descriptor, 0)
        for descriptor, _ in poll.poll(0):
            self.forget(by_descriptor[descriptor])
        self._sweep_at = max(64, 2 * len(self._connections))


def _is_unknown(answer: bytes) -> bool:
    return int.from_bytes(answer[4:8], "little") == UNKNOWN_THREAD


def _wait_readable(sock: socket.socket) -> None:
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    poll.poll(_POLL_MS)


def _can_come(connection: _Connection, tid: int, tgid: int, waited_s: float) -> bool:
    """Whether an answer is still on its way: see the module's docstring."""
    state = _state(tgid, connection.helper) if connection.helper else "S"
    if state in {"R", "D"}:
        return waited_s < _STARVED_S
    if state != "S" or waited_s >= _CONTENDED_S:
        return False
    return _others_run(tid, connection.helper, tgid)


def _others_run(tid: int, helper: int, tgid: int) -> bool:
    try:
        others = {int(name) for name in os.listdir(f"/proc/{tgid}/task")} - {tid, helper}
    except OSError:
        return False
    return any(_state(tgid, other) in {"R", "D"} for other in others)


def _state(tgid: int, tid: int) -> str:
    """The kernel's letter for what a thread does; empty when it is no more."""
    try:
        with open(f"/proc/{tgid}/task/{tid}/stat", "rb") as file:
            return chr(file.read().rpartition(b") ")[2][0])
    except (OSError, IndexError):
        return ""


def _find_thread(connection: _Connection, tid: int, tgid: int, candidates: list[int]) -> int:
    """Which of these thread identities is thread `tid`; 0 if none, as for a thread that runs no Python.

    An identity is the address of the C library's thread descriptor, which holds the native id at an offset that is
    the same for all threads. The answering thread's own pair, known from its hello, tells the offset.
    """
    try:
        memory = os.open(f"/proc/{tgid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        example = os.pread(memory, _PTHREAD_BYTES, connection.helper_ident)
        for offset in range(0, len(example) - 3, 4):
            if int.from_bytes(example[offset : offset + 4], "little") == connection.helper:
                for candidate in candidates:
                    if int.from_bytes(os.pread(memory, 4, candidate + offset), "little") == tid:
                        return candidate
    except OSError:
        pass  # the process is dying, or its C library does it otherwise
    finally:
        os.close(memory)
    return 0
