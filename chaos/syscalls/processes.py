"""The traced processes, as far as a trapped call needs them: descriptors, memory, limits, identity.

Looking a process up in /proc costs more than a whole trapped call may, so it is done once and kept. What is kept
dies with what it describes: a thread at its `exit`, all of a process's threads at `execve` (the new program's first
thread takes the leader's number), the process when its pidfd says that it ended. A pidfd, and a descriptor of
/proc/PID/mem, name one process for ever, so a recycled number can't lead elsewhere. Read `supervisor.py` next.
"""

import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from errno import EBADF, EFAULT, ENAMETOOLONG, ENOENT, ESRCH
from typing import final

from chaos.syscalls.kernel import duplicate_descriptor, signal_thread

__all__ = ["Identity", "Process", "ProcessGone", "ProcessTable", "Unreadable", "own_identity"]

_PATH_MAX = 4096
_PATH_NEAR = 256  # most names end within that
_ENCODING = sys.getfilesystemencoding()
_NO_FIRST_THREAD = "its first thread has ended, and the kernel shows a process through that one"
_STATUS_FIELDS = ("Tgid:", "Umask:", "Uid:", "Gid:", "Groups:")
Identity = tuple[int, int, tuple[int, ...]]  # user, group, further groups


class ProcessGone(Exception):  # noqa: N818 - an event, not a malfunction
    """The caller ended while its call was being looked at."""


class Unreadable(Exception):  # noqa: N818 - likewise
    """The kernel lets nobody look into this process."""


@final
class Process:
    """One traced process.

    Attributes:
        number: in order of appearance, from 0.
        id: its process id (the thread group's).
        pidfd: refers to it and no other.
        umask: of the files it creates.
        identity: user, group and groups by which the kernel judges its file accesses; None when to be read again.
        file_limit: the largest file it may write, in bytes; None where there is no limit.
        unreadable: whether that was reported already.
    """

    __slots__ = ("_file_limit", "_memory", "id", "identity", "number", "pidfd", "umask", "unreadable")

    def __init__(self, number: int, id_: int, pidfd: int, status: dict[str, str]) -> None:
        self.number = number
        self.id = id_
        self.pidfd = pidfd
        self._memory = -1
        self._file_limit: int | None = -1
        self.unreadable = False
        self.umask = int(status["Umask:"], 8)
        self.identity: Identity | None = _identity(status)

    def duplicate(self, descriptor: int) -> int:
        """A duplicate of one of its descriptors, sharing offset and flags; -1 when it has none of that number.

        Raises:
            ProcessGone: it ended.
            Unreadable: it may not be looked into.
        """
        try:
            return duplicate_descriptor(self.pidfd, descriptor)
        except OSError as error:
            if error.errno == EBADF and not self._lost_first_thread():  # Linux 6.9 and later say ESRCH then
                return -1
            raise self._refused(error) from None

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes of its memory; fewer where the mapped memory ends.

        Raises:
            OSError: EFAULT, there is no memory at all at `address`.
        """
        if size == 0:
            return b""
        for fresh in (False, True):
            if fresh:
                self.forget_memory()
            if self._memory < 0:
                self._open_memory()
            try:
                data = os.pread(self._memory, size, address)
            except (OSError, OverflowError):
                continue  # not mapped, or the memory of the program before the last execve
            if data:
                return data
        if self._lost_first_thread():
            raise Unreadable(_NO_FIRST_THREAD)
        raise OSError(EFAULT, os.strerror(EFAULT))

    def read_exactly(self, address: int, size: int) -> bytes:
        """`size` bytes of its memory.

        Raises:
            OSError: EFAULT, they are not all mapped.
        """
        data = self.read(address, size)
        if len(data) < size:
            raise OSError(EFAULT, os.strerror(EFAULT))
        return data

    def read_path(self, address: int) -> str:
        """A file name, with undecodable bytes as surrogates.

        Raises:
            OSError: EFAULT; ENAMETOOLONG; ENOENT for the empty name is the caller's to raise.
        """
        text = self.read(address, _PATH_NEAR)
        end = text.find(b"\0")
        if end < 0:
            text = self.read(address, _PATH_MAX)
            end = text.find(b"\0")
        if end < 0:
            number = EFAULT if len(text) < _PATH_MAX else ENAMETOOLONG
            raise OSError(number, os.strerror(number))
        return text[:end].decode(_ENCODING, "surrogateescape")

    def write(self, address: int, data: bytes) -> None:
        """Store into its memory.

        Raises:
            OSError: EFAULT, it may not be written there.
        """
        memory = os.open(f"/proc/{self.id}/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            if os.pwrite(memory, data, address) < len(data):
                raise OSError(EFAULT, os.strerror(EFAULT))
        except OSError:
            raise OSError(EFAULT, os.strerror(EFAULT)) from None
        finally:
            os.close(memory)

    @property
    def file_limit(self) -> int | None:
        """RLIMIT_FSIZE in bytes."""
        if self._file_limit is not None and self._file_limit < 0:
            try:
                limit = resource.prlimit(self.id, resource.RLIMIT_FSIZE)[0]
            except (OSError, ValueError):
                limit = resource.RLIM_INFINITY
            self._file_limit = None if limit == resource.RLIM_INFINITY else limit
        return self._file_limit

    def forget_limit(self) -> None:
        """Some process changed a limit."""
        self._file_limit = -1

    def forget_memory(self) -> None:
        """It may be about to become another program."""
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def prepare(self) -> Identity:
        """Take what its identity has no right to take, before the supervisor assumes that; and say which it is.

        Raises:
            ProcessGone: it ended.
            Unreadable: it may not be looked into.
        """
        if self._memory < 0:
            self._open_memory()
        if self.identity is None:
            self.identity = _identity(_status(str(self.id)))
        return self.identity

    def kill(self) -> None:
        """SIGKILL."""
        self._signal(signal.SIGKILL)

    def stop(self, but: int) -> None:
        """SIGSTOP, by way of the threads other than `but`, which is held at a call.

        A signal for the process as a whole may be given to the one that is held, which takes it when its call is over.
        """
        with suppress(OSError):  # it is ending
            for thread in os.listdir(f"/proc/{self.id}/task"):
                if int(thread) != but:
                    with suppress(OSError):  # likewise
                        signal_thread(self.id, int(thread), signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, number)

    def close(self) -> None:
        """Give the descriptors up."""
        self.forget_memory()
        os.close(self.pidfd)

    def _open_memory(self) -> None:
        try:
            self._memory = os.open(f"/proc/{self.id}/mem", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._refused(error) from None

    def _refused(self, error: OSError) -> Exception:
        if error.errno == EBADF or (error.errno in (ESRCH, ENOENT) and not _has_ended(self.pidfd)):
            return Unreadable(_NO_FIRST_THREAD)
        return ProcessGone() if error.errno in (ESRCH, ENOENT) else Unreadable(error.strerror)

    def _lost_first_thread(self) -> bool:
        try:
            with open(f"/proc/{self.id}/stat", "rb") as file:
                return file.read().rpartition(b") ")[2][:1] == b"Z"
        except OSError:
            return False


@final
class ProcessTable:
    """Thread id -> (process, thread number), filled as threads appear.

    Args:
        watch: called with the pidfd of each new process, to be told of its end.
    """

    def __init__(self, watch: Callable[[int], None]) -> None:
        self._watch = watch
        self._threads: dict[int, tuple[Process, int]] = {}
        self._by_id: dict[int, Process] = {}
        self._by_pidfd: dict[int, Process] = {}
        self._thread_counts: dict[int, int] = {}
        self._count = 0

    def find(self, thread: int) -> tuple[Process, int] | None:
        """The process of a thread, and the thread's number in it; None when the thread is new here."""
        return self._threads.get(thread)

    def enter(self, thread: int) -> tuple[Process, int]:
        """Take up a new thread; the caller must then make sure that the thread was still waiting.

        Raises:
            ProcessGone: there is no such thread any more.
        """
        status = _status(str(thread))
        leader = int(status["Tgid:"])
        process = self._by_id.get(leader)
        if process is not None and _has_ended(process.pidfd):
            self.process_ended(process.pidfd)
            process = None
        if process is None:
            process = self._by_id[leader] = self._open(leader, status)
        number = self._thread_counts[process.number]
        self._thread_counts[process.number] += 1
        self._threads[thread] = (process, number)
        return process, number

    def processes(self) -> tuple[Process, ...]:
        """Those known and not ended, in order of appearance."""
        return tuple(self._by_id.values())

    def thread_ended(self, thread: int) -> None:
        """The thread made its last call; its id may be given to another one."""
        self._threads.pop(thread, None)

    def program_replaced(self, process: Process) -> None:
        """The process called execve: its first thread alone will remain, with other memory."""
        process.forget_memory()
        self._forget_threads(process, keep=process.id)

    def process_ended(self, pidfd: int) -> None:
        """The pidfd became readable."""
        process = self._by_pidfd.pop(pidfd, None)
        if process is not None:
            self._forget_threads(process, keep=0)
            if self._by_id.get(process.id) is process:
                del self._by_id[process.id]
            process.close()

    def close(self) -> None:
        """Give all descriptors up."""
        for pidfd in list(self._by_pidfd):
            self.process_ended(pidfd)

    def _forget_threads(self, process: Process, *, keep: int) -> None:
        for thread in [thread for thread, (owner, _) in self._threads.items() if owner is process and thread != keep]:
            del self._threads[thread]

    def _open(self, leader: int, status: dict[str, str]) -> Process:
        try:
            pidfd = os.pidfd_open(leader)
        except OSError:
            raise ProcessGone from None
        process = Process(self._count, leader, pidfd, status)
        self._count += 1
        self._thread_counts[process.number] = 0
        self._by_pidfd[pidfd] = process
        self._watch(pidfd)
        return process


def own_identity() -> Identity:
    """That of the calling thread."""
    return _identity(_status("thread-self"))


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _status(thread: str) -> dict[str, str]:
    try:
        with open(f"/proc/{thread}/status", encoding="utf-8", errors="surrogateescape") as file:
            fields = dict(line.rstrip("\n").split("\t", 1) for line in file if line.startswith(_STATUS_FIELDS))
    except OSError:
        raise ProcessGone from None
    if "Umask:" not in fields:  # a zombie has none
        raise ProcessGone
    return fields


def _identity(status: dict[str, str]) -> Identity:
    groups = tuple(sorted(int(group) for group in status["Groups:"].split()))
    return int(status["Uid:"].split()[3]), int(status["Gid:"].split()[3]), groups
