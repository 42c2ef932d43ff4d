"""Where crash states are laid out: one folder an exploration, in memory where the system allows it.

The folder's name tells whose it is (process id and start time), so that what a killed exploration left is removed
by the next one, and never anything else. Read `roots.py` next.
"""

import fcntl
import os
import stat

from chaos.errors import HarnessFault

__all__ = ["TURN", "base_folder", "make_folder", "remove", "sweep"]

TURN = "turn"
"""The file in such a folder that is locked while the folder's path is lent (`lending.py`), though its owner is gone."""

_PREFIX = "chaos-explore-"
_MEMORY = "/dev/shm"  # noqa: S108 - made with a random name and mode 0700 below
_LEAST_FREE_BYTES = 64 << 20  # containers often give /dev/shm only this much


def base_folder() -> str:
    """A tmpfs that can be written to, else the folder for temporary files."""
    # Not `tempfile`: this module is loaded in workers, where what it imports would make every fork dearer.
    fallback = os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - as above
    try:
        space = os.statvfs(_MEMORY)
    except OSError:
        return fallback
    roomy = space.f_bavail * space.f_frsize >= _LEAST_FREE_BYTES
    return _MEMORY if roomy and os.access(_MEMORY, os.W_OK | os.X_OK) else fallback


def make_folder(base: str) -> str:
    """Make this exploration's folder in `base`, and remove those of explorations that died.

    Raises:
        HarnessFault: it can't be made.
    """
    sweep(base)
    pid = os.getpid()
    root = os.path.join(base, f"{_PREFIX}{pid}-{_start_time(pid)}-{os.urandom(4).hex()}")
    try:
        os.mkdir(root, 0o700)
    except OSError as error:
        raise HarnessFault(f"no folder for crash states can be made in {base}: {error}", "set TMPDIR") from error
    return root


def sweep(base: str) -> None:
    """Remove the folders of this user's explorations whose process is gone."""
    for name in os.listdir(base):
        path = os.path.join(base, name)
        if name.startswith(_PREFIX) and not _owner_lives(name) and _is_mine(path) and not _is_lent(path):
            remove(path)


def remove(path: str) -> None:
    """Remove a file or a folder with all that is in it, whatever its permissions; nothing happens if it is gone."""
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)
            return
        os.chmod(path, 0o700)
        for name in os.listdir(path):
            remove(os.path.join(path, name))
        os.rmdir(path)
    except FileNotFoundError:
        return


def _owner_lives(name: str) -> bool:
    pid, _, rest = name[len(_PREFIX) :].partition("-")
    return pid.isdigit() and _start_time(int(pid)) == rest.partition("-")[0]


def _is_mine(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()


def _is_lent(path: str) -> bool:
    try:
        file = os.open(os.path.join(path, TURN), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _start_time(pid: int) -> str:
    """When a process began, in clock ticks since boot, which tells it from a later one of the same id; "" if gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
