"""Who a process is, so that it can't be mistaken for another one: host, boot, number, and when it started.

A process number alone is reused; together with its start time and the kernel's boot id it is unique on a host. Start
times are counted by the kernel since boot, so a step of the wall clock changes none. In a container or sandbox with
numbers of its own (a PID namespace) the namespace goes with the start time: the same number is another process outside,
and who can't see a process there can't say that it is gone. Where there is no /proc, psutil answers. Read `lease.py`
for the user of `is_alive`.
"""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache

from pytest_guardrails.errors import StorageError
from pytest_guardrails.hints import final
from pytest_guardrails.records import Record

if sys.platform != "linux":
    import socket

    import psutil  # costs 20 ms, and is needed only where there is no /proc

__all__ = ["ProcessIdentity", "boot_id", "identity_of", "is_alive", "own_identity"]

_HOSTS_OWN = "4026531836"  # the PID namespace that each Linux kernel begins with


@final
class ProcessIdentity(Record):
    """One process of one boot of one host.

    Attributes:
        pid: its number.
        started: when it started, in the kernel's clock ticks since boot, followed by "/" and the PID namespace where
            that is not the host's; "" when it can't be known.
        boot: the boot's id.
        host: the host's name, for people.
    """

    pid: int
    started: str
    boot: str
    host: str

    def plain(self) -> dict[str, object]:
        """As JSON knows it."""
        return {"pid": self.pid, "started": self.started, "boot": self.boot, "host": self.host}

    @classmethod
    def parse(cls, plain: object) -> "ProcessIdentity | None":
        """The inverse of `plain`; None for anything else."""
        if not isinstance(plain, Mapping):
            return None
        pid, started, boot, host = (plain.get(name) for name in ("pid", "started", "boot", "host"))
        if type(pid) is not int or not (isinstance(started, str) and isinstance(boot, str) and isinstance(host, str)):
            return None
        return cls(pid=pid, started=started, boot=boot, host=host)


def own_identity() -> ProcessIdentity:
    """The calling process; asked of the kernel once per process, also after a fork.

    Raises:
        StorageError: the kernel does not say, as when no more files can be opened.
    """
    return _own(os.getpid())


@lru_cache(maxsize=1)
def _own(pid: int) -> ProcessIdentity:
    own = identity_of(pid)
    if not own.started:
        raise StorageError(f"process {pid} can't be told from others: /proc/{pid}/stat can't be read; is /proc there?")
    return own


def identity_of(pid: int) -> ProcessIdentity:
    """The process that has this number now; its `started` is "" when there is none, or none that can be seen.

    Raises:
        StorageError: as `own_identity`.
    """
    try:
        started = _started(pid)
        named = started + _space(os.getpid()) if started else ""
        return ProcessIdentity(pid=pid, started=named, boot=boot_id(), host=_host())
    except OSError as error:
        raise StorageError(f"the kernel does not say which process has the number {pid}: {error}") from error


def is_alive(identity: ProcessIdentity) -> bool | None:
    """Whether exactly this process still runs.

    Returns:
        True or False when that is certain; None when it can't be known from here (another host or PID namespace, a
        process of another user that /proc hides, no start time).
    """
    if identity.host != _host():
        return None
    try:
        if identity.boot != boot_id():
            return False
        started, slash, space = identity.started.partition("/")
        if not started or slash + space != _space(os.getpid()) or not _sees_own_numbers():
            return None
        found = _started(identity.pid)
    except OSError:  # no more files can be opened, or there is no /proc: that says nothing of others
        return None
    if found is None and _is_hidden(identity.pid):
        return None
    return found == started


def _host() -> str:
    if sys.platform != "linux":
        return socket.gethostname()
    return os.uname().nodename  # the same name, without the cost of loading sockets


@lru_cache(maxsize=1)
def boot_id() -> str:
    """The running kernel's id, new at each boot; elsewhere the boot time, to the second."""
    if sys.platform != "linux":
        return f"booted-{psutil.boot_time():.0f}"
    with open("/proc/sys/kernel/random/boot_id", encoding="utf-8") as file:
        return file.read().strip()


def _started(pid: int) -> str | None:
    """When; "" for one that ended and waits to be collected by its parent, None where there is none to be seen."""
    if sys.platform != "linux":
        try:
            return f"{psutil.Process(pid).create_time():.6f}"
        except psutil.Error:
            return None
    try:
        with open("/proc/self/stat" if pid == os.getpid() else f"/proc/{pid}/stat", "rb") as file:
            content = file.read()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    fields = content[content.rindex(b")") + 2 :].split()
    return "" if fields[0] == b"Z" else fields[19].decode("ascii")


def _is_hidden(pid: int) -> bool:
    """Whether there is a process of this number all the same: /proc may hide those of other users."""
    if sys.platform != "linux":
        return psutil.pid_exists(pid)
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@lru_cache(maxsize=1)
def _space(_pid: int) -> str:
    """The namespace of this process's number, as it stands in `ProcessIdentity.started`."""
    if sys.platform != "linux":
        return ""
    number = os.readlink("/proc/self/ns/pid").removeprefix("pid:[").removesuffix("]")
    return "" if number == _HOSTS_OWN else "/" + number


def _sees_own_numbers() -> bool:
    """Whether /proc speaks of the numbers that this process knows, and not of those of an outer namespace."""
    return sys.platform != "linux" or os.readlink("/proc/self") == str(os.getpid())
