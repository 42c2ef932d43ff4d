"""Who a process is, so that it can't be mistaken for another one: host, boot, number, and when it started.

A process number alone is reused; together with its start time and the kernel's boot id it is unique on a host. Start
times are counted by the kernel since boot, so a step of the wall clock changes none. Where there is no /proc, psutil
answers. Read `lease.py` for the user of `is_alive`.
"""

import os
import sys
from collections.abc import Mapping
from functools import lru_cache

from pytest_guardrails.hints import final
from pytest_guardrails.records import Record

if sys.platform != "linux":
    import socket

    import psutil  # costs 20 ms, and is needed only where there is no /proc

__all__ = ["ProcessIdentity", "boot_id", "identity_of", "is_alive", "own_identity"]


@final
class ProcessIdentity(Record):
    """One process of one boot of one host.

    Attributes:
        pid: its number.
        started: when it started, in the kernel's clock ticks since boot; "" when that can't be known.
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
    """The calling process; asked of the kernel once per process, also after a fork."""
    return _own(os.getpid())


@lru_cache(maxsize=1)
def _own(pid: int) -> ProcessIdentity:
    return identity_of(pid)


def identity_of(pid: int) -> ProcessIdentity:
    """The process that has this number now; its `started` is "" when there is none."""
    return ProcessIdentity(pid=pid, started=_started(pid), boot=boot_id(), host=_host())


def is_alive(identity: ProcessIdentity) -> bool | None:
    """Whether exactly this process still runs.

    Returns:
        True or False when that is certain; None when it can't be known from here (another host, no start time).
    """
    if identity.host != _host():
        return None
    if identity.boot != boot_id():
        return False
    if not identity.started:
        return None
    return _started(identity.pid) == identity.started


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


def _started(pid: int) -> str:
    if sys.platform != "linux":
        try:
            return f"{psutil.Process(pid).create_time():.6f}"
        except psutil.Error:
            return ""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            content = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses. State Z is
    # a process that ended and waits to be collected by its parent: it runs no more.
    fields = content[content.rindex(b")") + 2 :].split()
    return "" if fields[0] == b"Z" else fields[19].decode("ascii")
