"""The functions of `os` that change files, as the portable engine has them: perform, and make the entry.

Each has the signature of the real one. What can be seen to be outside the watched folder is performed at once, and
nothing is held meanwhile. Standard library only, and of `chaos` only `ledger.py`. Read `interposed_files.py` next.
"""

import os
import stat
from collections.abc import Callable, Sequence
from typing import Any

from chaos.child.ledger import Ledger, Place

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["ACK_DESCRIPTOR", "RecordedCalls", "regular_file", "sync_of", "write_offset"]

ACK_DESCRIPTOR = 0x6ACE_D00D  # as in `ack.py`, which can't be loaded into foreign programs
_CHANGING = os.O_CREAT | os.O_TRUNC
_TMPFILE = getattr(os, "O_TMPFILE", 0) & ~getattr(os, "O_DIRECTORY", 0)
_DSYNC, _SYNC, _NOFOLLOW = getattr(os, "O_DSYNC", 0), getattr(os, "O_SYNC", 0), getattr(os, "O_NOFOLLOW", 0)
_PIECE_BYTES = 8 << 20


def regular_file(descriptor: Any) -> os.stat_result | None:
    """The status of an open regular file; None for anything else, which must not be waited for with the ledger held."""
    try:
        status = os.fstat(descriptor)
    except (OSError, TypeError, ValueError, OverflowError):
        return None  # the real function will say what is wrong
    return status if stat.S_ISREG(status.st_mode) else None


def _flags(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_GETFL) if fcntl is not None else 0


def write_offset(descriptor: int) -> int:
    """Where the next plain write goes."""
    if _flags(descriptor) & os.O_APPEND:
        return os.fstat(descriptor).st_size
    return os.lseek(descriptor, 0, os.SEEK_CUR)


def sync_of(descriptor: int) -> str:
    """What each write makes durable by itself, in the words of `Sync`."""
    flags = _flags(descriptor)
    if not _DSYNC or not flags & _DSYNC:
        return "none"
    return "all" if flags & _SYNC == _SYNC else "data"


class RecordedCalls:
    """The functions, over one ledger; they keep the real ones of the moment they were made."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        names = [name for name in vars(type(self)) if not name.startswith("_")]
        self._real: dict[str, Callable[..., Any]] = {n: getattr(os, n) for n in names if hasattr(os, n)}

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Name in `os` -> function to put there; only those that this system has."""
        return {name: getattr(self, name) for name in self._real}

    # Files

    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        real, ledger = self._real["open"], self._ledger
        nameless = bool(_TMPFILE and flags & _TMPFILE)
        if not flags & _CHANGING and not nameless:
            return int(real(path, flags, mode, dir_fd=dir_fd)) if dir_fd is not None else int(real(path, flags, mode))
        follow = not flags & _NOFOLLOW and flags & (os.O_CREAT | os.O_EXCL) != os.O_CREAT | os.O_EXCL
        place = None if nameless else ledger.locate(path, dir_fd, follow=follow)
        before = place.status() if place is not None else None
        if before is not None and not stat.S_ISREG(before.st_mode):
            place = None  # a pipe may wait for its other end
        if place is None and not nameless:
            return int(real(path, flags, mode, dir_fd=dir_fd)) if dir_fd is not None else int(real(path, flags, mode))
        with ledger:
            before = place.status() if place is not None else None
            settings = {} if dir_fd is None else {"dir_fd": dir_fd}
            descriptor = int(real(path, flags, mode, **settings))
            self._opened(descriptor, place, before, flags)
            return descriptor

    def _opened(self, descriptor: int, place: Place | None, before: os.stat_result | None, flags: int) -> None:
        status, ledger = os.fstat(descriptor), self._ledger
        mode = stat.S_IMODE(status.st_mode)
        if place is None:
            where = ledger.path_of(descriptor) or ""
            if where.startswith(ledger.folder + os.sep):
                ledger.operation("create", "openat", ledger.learn(status), mode=mode)
        elif before is None and place.inside:
            key = ledger.learn(status)
            ledger.operation("create", "openat", key, parent=place.parent(), name=place.name, mode=mode)
        elif before is not None and flags & os.O_TRUNC and before.st_size and (place.inside or ledger.knows(status)):
            ledger.operation("truncate", "openat", ledger.learn(status), size=0)

    def write(self, fd: int, data: Any) -> int:
        if fd == ACK_DESCRIPTOR:
            self._ledger.append({"pid": os.getpid(), "ack": bytes(data).decode("utf-8", "surrogatepass")})
            return len(data)
        return self._written("write", fd, lambda: self._real["write"](fd, data), lambda n: _bytes([data], n))

    def writev(self, fd: int, buffers: Sequence[Any]) -> int:
        return self._written("writev", fd, lambda: self._real["writev"](fd, buffers), lambda n: _bytes(buffers, n))

    def pwrite(self, fd: int, data: Any, offset: int) -> int:
        perform = self._real["pwrite"]
        return self._written("pwrite64", fd, lambda: perform(fd, data, offset), lambda n: _bytes([data], n), offset)

    def pwritev(self, fd: int, buffers: Sequence[Any], offset: int, flags: int = 0) -> int:
        perform = self._real["pwritev"]
        durable = "none"
        if flags & (getattr(os, "RWF_SYNC", 0) | getattr(os, "RWF_DSYNC", 0)):
            durable = "all" if flags & os.RWF_SYNC else "data"
        if flags & getattr(os, "RWF_APPEND", 0) or offset == -1:
            status = regular_file(fd)
            offset = status.st_size if status is not None and flags & getattr(os, "RWF_APPEND", 0) else offset
        done = lambda: perform(fd, buffers, offset, flags)  # noqa: E731 - beside its twin
        return self._written("pwritev2", fd, done, lambda n: _bytes(buffers, n), offset, durable)

    def sendfile(self, out_fd: int, in_fd: int, offset: int | None, count: int, *args: Any, **settings: Any) -> int:
        start = os.lseek(in_fd, 0, os.SEEK_CUR) if offset is None and regular_file(out_fd) is not None else offset
        perform = self._real["sendfile"]
        return self._written(
            "sendfile",
            out_fd,
            lambda: perform(out_fd, in_fd, offset, count, *args, **settings),
            lambda n: _read(in_fd, n, start or 0),
        )

    def copy_file_range(
        self, src: int, dst: int, count: int, offset_src: int | None = None, offset_dst: int | None = None
    ) -> int:
        start = os.lseek(src, 0, os.SEEK_CUR) if offset_src is None and regular_file(dst) is not None else offset_src
        perform = self._real["copy_file_range"]
        return self._written(
            "copy_file_range",
            dst,
            lambda: perform(src, dst, count, offset_src, offset_dst),
            lambda n: _read(src, n, start or 0),
            offset_dst,
        )

    def _written(
        self,
        call: str,
        descriptor: int,
        perform: Callable[[], int],
        payload: Callable[[int], bytes],
        offset: int | None = None,
        durable: str = "none",
    ) -> int:
        status, ledger = regular_file(descriptor), self._ledger
        if status is None:
            return perform()
        if not ledger.knows(status, descriptor):
            count = perform()
            ledger.append({"outside": 1})
            return count
        with ledger:
            end = os.fstat(descriptor).st_size
            start = write_offset(descriptor) if offset is None else offset
            count = perform()
            if count:
                if offset is not None and _flags(descriptor) & os.O_APPEND:
                    # Some systems, Linux among them, append whatever the offset; the size tells.
                    start = end if os.fstat(descriptor).st_size == end + count else offset
                sync = durable if durable != "none" else sync_of(descriptor)
                key = ledger.learn(status)
                ledger.operation("write", call, key, offset=start, data=payload(count), sync=sync)
            return count

    def ftruncate(self, fd: int, length: int) -> None:
        self._resized("ftruncate", fd, lambda: self._real["ftruncate"](fd, length))

    def posix_fallocate(self, fd: int, offset: int, len: int) -> None:  # noqa: A002 - the real one's name
        self._resized("fallocate", fd, lambda: self._real["posix_fallocate"](fd, offset, len))

    def truncate(self, path: Any, length: int) -> None:
        if isinstance(path, int):
            self.ftruncate(path, length)
            return
        place = self._ledger.locate(path, follow=True)
        before = place.status() if place is not None else None
        if before is None or not self._ledger.knows(before):
            self._real["truncate"](path, length)
            return
        with self._ledger:
            self._real["truncate"](path, length)
            if before.st_size != length:
                self._ledger.operation("truncate", "truncate", self._ledger.learn(before), size=length)

    def _resized(self, call: str, descriptor: int, perform: Callable[[], object]) -> None:
        before, ledger = regular_file(descriptor), self._ledger
        if before is None or not ledger.knows(before, descriptor):
            perform()
            return
        with ledger:
            before = os.fstat(descriptor)
            perform()
            after = os.fstat(descriptor)
            if after.st_size != before.st_size:
                ledger.operation("truncate", call, ledger.learn(after), size=after.st_size)

    # Syncs

    def fsync(self, fd: Any) -> None:
        self._synced("fsync", fd, lambda: self._real["fsync"](fd))

    def fdatasync(self, fd: Any) -> None:
        self._synced("fdatasync", fd, lambda: self._real["fdatasync"](fd))

    def sync(self) -> None:
        with self._ledger:
            self._real["sync"]()
            self._ledger.operation("sync", "sync", None)

    def full_sync(self, real: Callable[..., Any], command: int) -> Callable[..., Any]:
        """`fcntl.fcntl`, whose F_FULLFSYNC is a sync."""

        def fcntl_(fd: Any, cmd: int, arg: Any = 0) -> Any:
            return self._synced("fsync", fd, lambda: real(fd, cmd, arg)) if cmd == command else real(fd, cmd, arg)

        return fcntl_

    def _synced(self, kind: str, file: Any, perform: Callable[[], Any]) -> Any:
        ledger = self._ledger
        try:
            descriptor = file if isinstance(file, int) else file.fileno()
            status = os.fstat(descriptor)
        except (OSError, AttributeError, ValueError, OverflowError):
            return perform()
        if not ledger.knows(status, descriptor):
            return perform()
        with ledger:
            try:
                done = perform()
            except OSError as error:
                ledger.operation(kind, kind, ledger.learn(status), errno=error.errno or 0)
                raise
            ledger.operation(kind, kind, ledger.learn(status))
            return done

    # Names

    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        with self._ledger as ledger:
            place = ledger.locate(path, dir_fd)
            self._call("mkdir", path, mode, dir_fd=dir_fd)
            status = place.status() if place is not None and place.inside else None
            if place is not None and status is not None:
                mode = stat.S_IMODE(status.st_mode)
                ledger.operation(
                    "mkdir", "mkdir", ledger.learn(status), parent=place.parent(), name=place.name, mode=mode
                )

    def symlink(self, src: Any, dst: Any, target_is_directory: bool = False, *, dir_fd: int | None = None) -> None:
        with self._ledger as ledger:
            place = ledger.locate(dst, dir_fd)
            self._call("symlink", src, dst, target_is_directory, dir_fd=dir_fd)
            status = place.status() if place is not None and place.inside else None
            if place is not None and status is not None:
                target = os.fsdecode(src)
                ledger.operation(
                    "symlink", "symlink", ledger.learn(status), parent=place.parent(), name=place.name, target=target
                )

    def link(
        self,
        src: Any,
        dst: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        with self._ledger as ledger:
            place = ledger.locate(dst, dst_dir_fd)
            settings: dict[str, Any] = {} if follow_symlinks else {"follow_symlinks": False}
            self._call("link", src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **settings)
            status = place.status() if place is not None and place.inside else None
            if place is not None and status is not None:
                self._arrived("linkat", status, place, None)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._removed("unlink", "unlink", path, dir_fd)

    def remove(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._removed("remove", "unlink", path, dir_fd)

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        self._removed("rmdir", "rmdir", path, dir_fd)

    def _removed(self, name: str, kind: str, path: Any, dir_fd: int | None) -> None:
        with self._ledger as ledger:
            place = ledger.locate(path, dir_fd)
            before = place.status() if place is not None and place.inside else None
            parent = place.parent() if place is not None and before is not None else None
            self._call(name, path, dir_fd=dir_fd)
            if place is not None and before is not None:
                ledger.operation(kind, kind, ledger.learn(before), parent=parent, name=place.name)

    def rename(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        self._renamed("rename", src, dst, src_dir_fd, dst_dir_fd)

    def replace(self, src: Any, dst: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        self._renamed("replace", src, dst, src_dir_fd, dst_dir_fd)

    def _renamed(self, name: str, src: Any, dst: Any, src_dir_fd: int | None, dst_dir_fd: int | None) -> None:
        with self._ledger as ledger:
            old, new = ledger.locate(src, src_dir_fd), ledger.locate(dst, dst_dir_fd)
            source = old.status() if old is not None else None
            victim = new.status() if new is not None and new.inside else None
            self._call(name, src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
            if old is None or new is None or source is None or not (old.inside or new.inside):
                return
            if victim is not None and os.path.samestat(source, victim):
                return  # two names of one file: nothing happens
            over = None if victim is None else ledger.learn(victim)
            if old.inside and new.inside:
                to = {"to_parent": new.parent(), "to_name": new.name, "victim": over}
                ledger.operation("rename", "rename", ledger.learn(source), parent=old.parent(), name=old.name, **to)
            elif stat.S_ISDIR(source.st_mode):
                place, way = (old, "out of") if old.inside else (new, "into")
                ledger.append(
                    {"path": place.path(ledger.folder), "miss": f"a directory was moved {way} the watched folder"}
                )
            elif old.inside:
                ledger.operation("unlink", "rename", ledger.learn(source), parent=old.parent(), name=old.name)
            else:
                self._arrived("rename", source, new, over)

    def _arrived(self, call: str, status: os.stat_result, place: Place, victim: list[int] | None) -> None:
        """A file got a name in the folder; one that came from outside brings its content."""
        ledger, path = self._ledger, os.path.join(place.folder, place.name)
        entry = {"parent": place.parent(), "name": place.name, "victim": victim}
        known = ledger.knows(status)
        key = ledger.learn(status)
        if stat.S_ISLNK(status.st_mode) and not known:
            ledger.operation("symlink", call, key, target=os.readlink(path), **entry)
            return
        if not known:
            ledger.operation("create", call, key, mode=stat.S_IMODE(status.st_mode))
            with open(path, "rb") as file:
                offset = 0
                while data := file.read(_PIECE_BYTES):
                    ledger.operation("write", call, key, offset=offset, data=data, sync="none")
                    offset += len(data)
        ledger.operation("link", call, key, **entry)

    # Modes

    def chmod(self, path: Any, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        if isinstance(path, int):
            self._changed_mode(path, lambda: self._real["chmod"](path, mode))
            return
        settings: dict[str, Any] = {} if follow_symlinks else {"follow_symlinks": False}
        with self._ledger as ledger:
            place = ledger.locate(path, dir_fd, follow=follow_symlinks)
            self._call("chmod", path, mode, dir_fd=dir_fd, **settings)
            status = place.status() if place is not None else None
            if status is not None and ledger.knows(status) and not stat.S_ISLNK(status.st_mode):
                ledger.operation("chmod", "chmod", ledger.learn(status), mode=stat.S_IMODE(status.st_mode))

    def fchmod(self, fd: int, mode: int) -> None:
        self._changed_mode(fd, lambda: self._real["fchmod"](fd, mode))

    def _changed_mode(self, descriptor: int, perform: Callable[[], object]) -> None:
        with self._ledger as ledger:
            perform()
            status = os.fstat(descriptor)
            if ledger.knows(status, descriptor):
                ledger.operation("chmod", "fchmod", ledger.learn(status), mode=stat.S_IMODE(status.st_mode))

    def _call(self, name: str, *args: Any, **settings: Any) -> Any:
        """The real function; directory descriptors only where they were given, for not every system has them."""
        return self._real[name](*args, **{key: value for key, value in settings.items() if value is not None})


def _bytes(buffers: Sequence[Any], count: int) -> bytes:
    """The first bytes of these buffers."""
    return b"".join(memoryview(buffer).cast("B") for buffer in buffers)[:count]


def _read(descriptor: int, count: int, offset: int) -> bytes:
    pieces = []
    while count and (piece := os.pread(descriptor, count, offset)):
        pieces.append(piece)
        count -= len(piece)
        offset += len(piece)
    return b"".join(pieces)
