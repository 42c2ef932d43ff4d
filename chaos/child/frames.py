"""Which Python line made this system call: a thread inside the target that answers the supervisor's question.

CPython gives up its lock before it enters the kernel for file work, so while the supervisor holds a thread at a
call, another thread of that process can walk the held thread's frames. `start` puts that thread up. It costs the
target one sleeping thread and one descriptor (close-on-exec, numbered far above those that the target opens), and
answers only when asked. C code that keeps the lock during a call gives no answer; the supervisor copes.

This runs in the target: standard library only, and of that only what costs no time to load. It must use no call
that the supervisor traps (so `send`, never `write`), change nothing that the target can see by ordinary means, and
end without a word when the target closes its descriptor or the supervisor is gone. `inject/` starts it in Python
subprocesses. The other end is `chaos/trace/sources.py`.

Messages, little-endian, one datagram each over a SOCK_SEQPACKET connection:

- hello, once, to the supervisor: this thread's native id (4 bytes), its identity (8 bytes);
- question: number (4 bytes), native thread id (4 bytes), identity (8 bytes; 0 = find it yourself);
- answer: number, count n (4 bytes each), n frame numbers (4 bytes each, innermost first), then the definitions of
  the frame numbers that are new on this connection, in the order of their numbers, as UTF-8 with surrogates
  passed: `line NUL function NUL file NUL`;
- answer for a thread that `threading` does not know: number, 0xFFFFFFFF, then the identities (8 bytes each) of the
  threads that it may be. Which one it is can be read from their memory by the supervisor, who then asks again.
"""

import _signal  # type: ignore[import-not-found]  # `signal` adds 4 ms to the start of every traced interpreter
import _socket
import _thread
import gc
import os
import sys
from types import CodeType, FrameType

__all__ = ["ADDRESS_VARIABLE", "DEPTH", "UNKNOWN_THREAD", "start", "stop"]

ADDRESS_VARIABLE = "CHAOS_FRAMES"  # where the supervisor listens: "@name" (abstract) or a path
DEPTH = 24  # frames reported at most: deep enough to leave a library and reach its caller
UNKNOWN_THREAD = 0xFFFFFFFF
_DESCRIPTORS_BELOW = 1024  # ours is taken from just below this, out of the way of the target's own numbers
_CALL_SITES_KEPT = 20_000  # beyond it the tables start anew, so that generated code is not kept alive for ever
_STOP_DEADLINE_S = 0.5  # a thread that can't be stopped by then is left alone; it does no harm
_HARNESS = os.path.dirname(os.path.abspath(__file__)) + os.sep


class _Helper:
    """One connection and the thread that serves it."""

    def __init__(self, sock: _socket.socket) -> None:
        self.sock = sock
        self.peer = sock.getpeername()
        self.owner = os.getpid()
        self.native_id = 0
        self.threads = {_thread.get_native_id(): _thread.get_ident()}
        self.ended = _thread.allocate_lock()
        self.ended.acquire()

    def connected(self) -> bool:
        """Whether the descriptor is still ours: a target that closes all may hold something else there by now."""
        try:
            return bool(self.sock.getpeername() == self.peer)
        except OSError:
            return False

    def run(self) -> None:
        try:
            self.native_id = _thread.get_native_id()
            hello = self.native_id.to_bytes(4, "little") + _thread.get_ident().to_bytes(8, "little")
            if self.connected():
                self.sock.send(hello)
                self.serve()
        except OSError:
            pass  # the supervisor is gone, or the target closed our descriptor
        finally:
            self.ended.release()

    def serve(self) -> None:
        book = _Book()
        while self.connected():
            question = self.sock.recv(16)
            if len(question) < 16 or not self.connected():
                return
            tid = int.from_bytes(question[4:8], "little")
            ident = int.from_bytes(question[8:], "little")
            if ident:
                self.threads[tid] = ident
            self.sock.send(question[:4] + self.answer(tid, book))

    def answer(self, tid: int, book: "_Book") -> bytes:
        frames = _frames_of_threads()
        frame = frames.get(self.threads.get(tid, 0))
        if frame is not None:
            return book.describe(frame)
        known = _known_threads()
        self.threads.update(known)
        if tid in self.threads:
            return book.describe(frames.get(self.threads[tid]))  # None: C code that the interpreter called at its end
        taken = {*known.values(), _thread.get_ident()}
        candidates = [ident for ident in frames if ident not in taken]
        return UNKNOWN_THREAD.to_bytes(4, "little") + b"".join(i.to_bytes(8, "little") for i in candidates)


def _frames_of_threads() -> "dict[int, FrameType]":
    # The collector must not run meanwhile: before Python 3.13 the interpreter holds the lock on its list of threads
    # while it makes the frames, and the removal of a `threading.local` waits for the same lock.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames()
    finally:
        if collecting:
            gc.enable()


class _Book:
    """The frame numbers given out on one connection, by (code object, instruction)."""

    def __init__(self) -> None:
        self.count = 0
        self.numbers: dict[tuple[int, int], bytes] = {}
        self.codes: dict[int, CodeType] = {}  # kept alive: a number is found by the code object's address

    def describe(self, frame: FrameType | None) -> bytes:
        numbers: list[bytes] = []
        new: list[str] = []
        walk = frame
        while walk is not None and len(numbers) < DEPTH:
            code = walk.f_code
            number = self.numbers.get((id(code), walk.f_lasti))
            if number is None:
                number = self.define(walk, code, new)
            if number:
                numbers.append(number)
            elif numbers:
                break  # the harness called the workload from here: the rest is not the target's
            walk = walk.f_back
        text = "".join(new).encode("utf-8", "surrogatepass")
        return len(numbers).to_bytes(4, "little") + b"".join(numbers) + text

    def define(self, frame: FrameType, code: CodeType, new: list[str]) -> bytes:
        """Number a frame not seen before; frames of the harness get the empty number."""
        if len(self.numbers) >= _CALL_SITES_KEPT:
            self.numbers.clear()
            self.codes.clear()
        number = b""
        if not code.co_filename.startswith(_HARNESS):
            number = self.count.to_bytes(4, "little")
            self.count += 1
            texts = (str(frame.f_lineno or 0), code.co_name, code.co_filename)
            new.extend(text.replace("\0", "?") + "\0" for text in texts)
        self.numbers[id(code), frame.f_lasti] = number
        self.codes[id(code)] = code
        return number


class _Life:
    """This process's helper over forks and restarts."""

    helper: _Helper | None = None
    address = ""
    hooked = False


def start(address: str | None = None) -> bool:
    """Start answering, from the thread that calls and in every forked child; repeated calls do no harm.

    Args:
        address: where the supervisor listens; the environment's `ADDRESS_VARIABLE` when None.

    Returns:
        Whether a supervisor was reached. Nothing happens at all when there is no address.
    """
    address = os.environ.get(ADDRESS_VARIABLE, "") if address is None else address
    if not address:
        return False
    injected = sys.modules.get("_chaos_frames")
    if injected is not None and injected.__dict__ is not globals():
        return bool(injected.start(address))  # the copy that `inject/` loaded: one thread is enough
    helper = _Life.helper
    if helper is not None and helper.owner == os.getpid() and address == _Life.address and helper.connected():
        return True
    stop()
    _Life.address = address
    if not _Life.hooked:
        # No helper exists at the moment of a fork: a second thread makes Python 3.12 and later warn, and the child
        # would share the connection.
        os.register_at_fork(before=stop, after_in_parent=_restart, after_in_child=_restart)
        _Life.hooked = True
    return _restart()


def stop() -> None:
    """End the thread and the connection; returns when the kernel no longer counts the thread."""
    helper, _Life.helper = _Life.helper, None
    if helper is None or helper.owner != os.getpid() or not helper.connected():
        return
    try:
        helper.sock.shutdown(_socket.SHUT_RDWR)
        if helper.ended.acquire(timeout=_STOP_DEADLINE_S):
            _wait_gone(helper)
        helper.sock.close()
    except OSError:
        pass


def _restart() -> bool:
    _Life.helper = _connect(_Life.address)
    return _Life.helper is not None


def _connect(address: str) -> _Helper | None:
    try:
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
        sock = _move_up(sock)
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        helper = _Helper(sock)
    except OSError:
        return None  # no supervisor there (any more): no source lines, and the target goes on
    blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())  # inherited by the new thread
    try:
        _thread.start_new_thread(helper.run, ())
    except RuntimeError:
        return None  # the target may start no more threads
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
    return helper


def _move_up(sock: _socket.socket) -> _socket.socket:
    """The same socket under a high descriptor number, so that the target's own are the numbers it would have had."""
    limit = os.sysconf("SC_OPEN_MAX")
    ceiling = min(limit, _DESCRIPTORS_BELOW) if limit > 0 else _DESCRIPTORS_BELOW
    number = ceiling - 1
    while number > sock.fileno() and _is_open(number):
        number -= 1
    if number <= sock.fileno():
        return sock
    moved = os.dup2(sock.fileno(), number, inheritable=False)
    sock.close()
    return _socket.socket(fileno=moved)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _known_threads() -> dict[int, int]:
    """Native id -> identity, as `threading` has them; it is not imported for this."""
    threading = sys.modules.get("threading")
    active = getattr(threading, "_active", {})
    found = {}
    for ident, thread in list(active.items()):
        native_id = getattr(thread, "native_id", None)
        if native_id is not None:
            found[native_id] = ident
    return found


def _wait_gone(helper: _Helper) -> None:
    """Wait until the thread has left the kernel's list; Python's own end of it comes a moment earlier."""
    for _ in range(int(_STOP_DEADLINE_S * 10_000)):
        try:
            os.stat(f"/proc/self/task/{helper.native_id}")
        except OSError:
            return
        waiting = _thread.allocate_lock()
        waiting.acquire()
        waiting.acquire(timeout=0.0001)  # sleeps without the interpreter's lock, by a call that is never trapped
