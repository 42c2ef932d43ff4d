"""What only the kernel's namespaces can give a process tree: a small disk of its own, other steady clocks.

Both vanish with the last process that lives in them, so nothing has to be cleaned up, whatever is killed. They need
root, or the right to make a user namespace (a disk only). Standard library only; Linux.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["mount_disk", "private_mounts", "resize_disk", "shifted_clocks"]

_NEWNS, _NEWUSER, _NEWTIME = 0x0002_0000, 0x1000_0000, 0x80
_MS_REMOUNT, _MS_REC, _MS_PRIVATE = 0x20, 0x4000, 0x4_0000


def private_mounts() -> None:
    """From now on what this process and its children mount is seen by nobody else.

    Raises:
        OSError: the system forbids it.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        _call("unshare", _NEWNS)
    except PermissionError:
        _call("unshare", _NEWUSER | _NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    _call("mount", None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)


def mount_disk(folder: str, size_bytes: int) -> None:
    """Put an empty disk of so many bytes, in memory, over a folder.

    Raises:
        OSError: the system forbids it.
    """
    options = b"size=%d,mode=0700" % size_bytes
    _call("mount", b"tmpfs", os.fsencode(folder), b"tmpfs", ctypes.c_ulong(0), options)


def resize_disk(folder: str, size_bytes: int) -> None:
    """Change the size of a disk made by `mount_disk`; not below what is on it.

    Raises:
        OSError: it holds more than that.
    """
    target = os.fsencode(folder)
    _call("mount", b"tmpfs", target, b"tmpfs", ctypes.c_ulong(_MS_REMOUNT), b"size=%d" % size_bytes)


@contextmanager
def shifted_clocks(offset_s: float) -> Iterator[None]:
    """Within, children that are forked see the monotonic and boot-time clocks shifted: all their code does, C as well.

    The wall clock has no namespace, and a shift can't be changed once a process lives with it.

    Raises:
        OSError: the system forbids it, or the clocks would become negative.
    """
    home = os.open("/proc/self/ns/time", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", _NEWTIME)
        try:
            seconds, nanoseconds = divmod(round(offset_s * 1e9), 1_000_000_000)
            with open("/proc/self/timens_offsets", "w", encoding="ascii") as file:
                file.write(f"monotonic {seconds} {nanoseconds}\nboottime {seconds} {nanoseconds}\n")
            yield
        finally:
            _call("setns", home, _NEWTIME)
    finally:
        os.close(home)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
