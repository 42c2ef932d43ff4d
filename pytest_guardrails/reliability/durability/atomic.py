"""Replace a file in one step: after a crash there is the old content or the new one, whole, and nothing between.

The levels are named after what they survive. `"process"`: SIGKILL at any moment, since the page cache outlives the
process. `"power"`: a power cut as well, once the call has returned. The way: a temporary file in the same directory,
write, fsync, rename over the target, fsync of the directory and of the parents of directories that were made.

A temporary file is locked by its writer for as long as it exists, so whether it is an orphan is the kernel's word,
not a guess from its age or a process number: a writer's first call in a directory removes those that nobody holds.
Neither extended attributes nor hard links are kept. Read `kernel.py` for the lock.
"""

import errno
import os
import stat
import sys
from itertools import count

from pytest_guardrails.errors import ConfigurationError, StorageError
from pytest_guardrails.hints import Final, Literal, final
from pytest_guardrails.reliability.durability.kernel import LockUnsupportedError, try_lock

if sys.platform == "darwin":
    import fcntl  # for F_FULLFSYNC, which exists on this platform alone

__all__ = [
    "Durability",
    "DurabilityUnknownError",
    "Symlinks",
    "remove_orphans",
    "sync_directory",
    "sync_file",
    "write_atomic",
]

Durability = Literal["power", "process"]
Symlinks = Literal["follow", "refuse"]

_SUFFIX: Final = ".writing~"
_STEM_BYTES = 150  # a name has 255 bytes at most, however few characters those are
_serial = count()
_swept: set[str] = set()  # directories whose orphans this process has removed already


@final
class DurabilityUnknownError(StorageError):
    """A change was written, but the disk neither confirmed it nor let it be taken back: a crash may decide either way.

    Writing again, once the disk works, settles it.
    """


def write_atomic(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    durability: Durability = "power",
    symlinks: Symlinks = "follow",
) -> None:
    """Make `data` the whole content of the file at `path`; missing directories are made.

    An existing file's mode and owner are kept; a new one's follow the umask.

    Guarantees: at each moment, and after SIGKILL, readers see the old content or `data`; with `"power"`, after
    the return, also after a power cut. Does not: order two writers (take a `FileLock`). On crash: an orphan
    temporary file may stay until the next start. Threads and processes: any number may write at once, one wins.

    Args:
        path: the file to replace.
        data: its new content.
        durability: what the content survives once this returned.
        symlinks: write what a symbolic link points to, or refuse to.

    Raises:
        StorageError: nothing was changed.
        DurabilityUnknownError: the last step, the directory's fsync, failed after the content was in place.
        ConfigurationError: `path` is a symbolic link and those are refused, or no name that a file can have, or
            `durability` is no level.
    """
    if durability not in ("power", "process"):
        raise ConfigurationError(f'durability must be "power" or "process", not {durability!r}')
    try:
        target = _resolve(os.fspath(path), symlinks)
    except ValueError as error:
        raise ConfigurationError(f"{path!r} can't be the name of a file: {error}") from error
    directory, name = os.path.split(target)
    try:
        _make_directories(directory, durability)
        if directory not in _swept:
            remove_orphans(directory)
            _swept.add(directory)
        old = _existing(target)
        temporary, descriptor = _open_temporary(directory, name, 0o600 if old else 0o666)
    except OSError as error:
        raise _refusal(path, error) from error
    try:
        _fill(descriptor, data, old, durability)
        if durability == "power":
            _replace_and_sync(temporary, target, directory)
        else:
            os.replace(temporary, target)
    except BaseException as error:
        _unlink_quietly(temporary)
        if isinstance(error, OSError):
            raise _refusal(path, error) from error
        raise
    finally:
        os.close(descriptor)


def sync_file(descriptor: int) -> None:
    """Bring an open file's content to the disk itself.

    Raises:
        OSError: it may not be there, and never will: after a failed fsync the kernel forgets the pages.
    """
    if sys.platform == "darwin":
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fsync(descriptor)


def sync_directory(directory: str | os.PathLike[str]) -> None:
    """Bring a directory's entries (creations, renames, removals) to the disk.

    Raises:
        OSError: they may not be there.
    """
    if os.name == "nt":
        return  # directories can't be opened there; NTFS journals its entries
    descriptor = _open_directory(directory)
    try:
        sync_file(descriptor)
    finally:
        os.close(descriptor)


def _open_directory(directory: str | os.PathLike[str]) -> int:
    return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _replace_and_sync(temporary: str, target: str, directory: str) -> None:
    """All that can be refused for want of descriptors or permission comes first: then only the disk is in the way."""
    if os.name == "nt":
        os.replace(temporary, target)
        return
    descriptor = _open_directory(directory)
    try:
        os.replace(temporary, target)
        try:
            sync_file(descriptor)
        except OSError as error:
            raise DurabilityUnknownError(
                f"{target} has its new content, but its directory could not be synced ({error}); write it again"
            ) from error
    finally:
        os.close(descriptor)


def remove_orphans(directory: str | os.PathLike[str]) -> tuple[str, ...]:
    """Remove the temporary files of writers that died; those of living ones are held and stay.

    Returns:
        The names of the removed files.

    Raises:
        OSError: the directory can't be listed.
    """
    names = [name for name in os.listdir(directory) if name.startswith(".") and name.endswith(_SUFFIX)]
    return tuple(name for name in names if _remove_orphan(os.path.join(directory, name)))


def _remove_orphan(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False  # gone meanwhile, or not ours to touch
    try:
        if not try_lock(descriptor, "exclusive"):
            return False
        os.unlink(path)
    except (OSError, LockUnsupportedError):
        return False
    finally:
        os.close(descriptor)
    return True


def _resolve(path: str, symlinks: Symlinks) -> str:
    if symlinks == "refuse" and os.path.islink(path):
        raise ConfigurationError(f"{path} is a symbolic link to {os.readlink(path)}, and links are refused here")
    directory, name = os.path.split(os.path.realpath(path) if symlinks == "follow" else os.path.abspath(path))
    if not name:
        raise ConfigurationError(f"{path!r} names no file")
    return os.path.join(os.path.realpath(directory), name)


def _make_directories(directory: str, durability: Durability) -> None:
    missing = []
    while not os.path.isdir(directory):
        missing.append(directory)
        directory = os.path.dirname(directory)
    for path in reversed(missing):
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        # Also when another process made it: its own sync may still be under way.
        if durability == "power":
            sync_directory(os.path.dirname(path))


def _open_temporary(directory: str, name: str, mode: int) -> tuple[str, int]:
    """A new file of this writer alone, locked; its name says whose it is to people only."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_BINARY", 0)
    stem = os.fsdecode(os.fsencode(name)[:_STEM_BYTES])
    while True:
        path = os.path.join(directory, f".{stem}.{os.getpid()}-{next(_serial)}{_SUFFIX}")
        try:
            descriptor = os.open(path, flags, mode)
        except FileExistsError:
            continue  # an orphan of an earlier process of this number, or one in another pid namespace
        try:
            # Another start may have swept it between the two calls: then it holds the lock, or there is no name left.
            if _hold(descriptor) and os.fstat(descriptor).st_nlink:
                return path, descriptor
        except BaseException:
            os.close(descriptor)
            _unlink_quietly(path)
            raise
        os.close(descriptor)


def _hold(descriptor: int) -> bool:
    try:
        return try_lock(descriptor, "exclusive")
    except LockUnsupportedError:
        return True  # with no locks nobody can sweep either: an orphan then stays


def _fill(descriptor: int, data: bytes, old: os.stat_result | None, durability: Durability) -> None:
    if old is not None and os.name != "nt":
        _keep_mode_and_owner(descriptor, old)
    view = memoryview(data)
    while view:
        written = os.write(descriptor, view)
        if not written:
            raise OSError(errno.EIO, "write() wrote nothing")
        view = view[written:]
    if durability == "power":
        sync_file(descriptor)


def _existing(target: str) -> os.stat_result | None:
    try:
        old = os.stat(target, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(old.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return old


def _keep_mode_and_owner(descriptor: int, old: os.stat_result) -> None:
    new = os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    # After the change of owner, which clears set-id bits; the file was private until here, and is still empty.
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _unlink_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return  # the next start removes it; the error that led here is the one to tell


def _refusal(path: str | os.PathLike[str], error: OSError) -> StorageError:
    reason = error.strerror or str(error)
    return StorageError(f"{os.fspath(path)} was not written and is as before: {reason} ({type(error).__name__})")
