"""Real file systems as judges of the models: small images, copied after every call, mounted, and read.

Copying the image of a mounted file system without unmounting it is what a power cut does: what the file system has
handed to the device is there, the rest is not, and mounting the copy replays the journal. It needs root, a loop
device and the file system's mkfs; `probe` says which of them is missing. All mounts live in a mount namespace of a
child process, so that they vanish with it, whatever kills it. Read `validate.py` next.
"""

import ctypes
import os
import pickle  # between this process and its own fork, over a pipe; nothing stored, nothing foreign
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, final

from chaos.disk.folder import read_tree
from chaos.disk.tree import Tree
from chaos.errors import HarnessFault, NotMeasured
from chaos.trace.model import InitialNode, Kind, NodeType, Op, Sync, Trace

__all__ = ["FILESYSTEMS", "Filesystem", "probe", "real_states"]

_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_RENAME_EXCHANGE: Final = 2
_Result = TypeVar("_Result")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """How one kind of file system is made and mounted.

    Attributes:
        name: as mount(8) spells it.
        make: the mkfs command without the image.
        size_bytes: of the image; each file system has a least size, and smaller is faster to copy.
        options: mount options; a copy has the same UUID as its original, which xfs refuses unless told.
        commit_s: how long to wait until the background commit has surely run, given the options.
    """

    name: str
    make: tuple[str, ...]
    size_bytes: int
    options: str
    commit_s: float


FILESYSTEMS: Final = {
    "ext4": Filesystem(
        name="ext4", make=("mkfs.ext4", "-q", "-F"), size_bytes=32 << 20, options="commit=1", commit_s=2.5
    ),
    "xfs": Filesystem(name="xfs", make=("mkfs.xfs", "-q", "-f"), size_bytes=304 << 20, options="nouuid", commit_s=2.5),
    "btrfs": Filesystem(
        name="btrfs", make=("mkfs.btrfs", "-q", "-f"), size_bytes=128 << 20, options="commit=1", commit_s=2.5
    ),
}


def probe(filesystem: str) -> str:
    """Why `filesystem` can't be tried here, in words; "" when it can (it was mounted once to know)."""
    kind = FILESYSTEMS.get(filesystem)
    if kind is None:
        return f"unknown file system {filesystem!r}; known: {', '.join(FILESYSTEMS)}"
    if os.geteuid() != 0:
        return "mounting an image needs root"
    for tool in (kind.make[0], "mount", "umount"):
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    try:
        _in_own_namespace(lambda folder: _Image(kind, folder).close())
    except NotMeasured as error:
        return error.message
    return ""


def real_states(traces: Sequence[Trace], filesystem: str, *, commit: bool = False) -> list[list[Tree]]:
    """For each trace, the trees that a power cut leaves: item i is what is found after i operations.

    With `commit`, one more item follows, taken after the background commit interval.

    Raises:
        NotMeasured: this machine can't mount that file system.
        HarnessFault: an operation could not be performed as recorded.
    """
    kind = FILESYSTEMS[filesystem]
    return _in_own_namespace(lambda folder: [_states_of(trace, kind, folder, commit=commit) for trace in traces])


def _in_own_namespace(work: Callable[[str], _Result]) -> _Result:
    """`work(folder)` in a forked child with its own mounts; its result, or its error, comes back."""
    shared_memory = "/dev/shm"  # noqa: S108 - memory, made private by mkdtemp below
    folder = tempfile.mkdtemp(prefix="chaos-real-", dir=shared_memory if os.path.isdir(shared_memory) else None)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _child(work, folder, writer)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as stream:
            answer = stream.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.waitpid(child, 0)
        shutil.rmtree(folder, ignore_errors=True)
    if not answer:
        raise HarnessFault(
            "the process that mounts images died", "run `dmesg` and look for the file system's complaint"
        )
    result = pickle.loads(answer)  # noqa: S301 - written by our own fork a moment ago
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]


def _child(work: Callable[[str], object], folder: str, writer: int) -> None:
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
        if libc.unshare(_CLONE_NEWNS) or libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None):
            code = ctypes.get_errno()
            raise NotMeasured(f"no mount namespace of our own: {os.strerror(code)}")
        answer: object = work(folder)
    except (NotMeasured, HarnessFault) as error:
        answer = error
    except Exception as error:  # noqa: BLE001 - a process edge: the parent raises it
        answer = HarnessFault(f"real file system: {type(error).__name__}: {error}")
    with os.fdopen(writer, "wb") as stream:
        stream.write(pickle.dumps(answer))
    os._exit(0)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasured(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")


@final
class _Image:
    """One mounted image in a folder; `snapshot` reads what a power cut would leave now."""

    def __init__(self, kind: Filesystem, folder: str) -> None:
        self.kind = kind
        self.image = os.path.join(folder, "image")
        self.copy = os.path.join(folder, "copy")
        self.mounted = os.path.join(folder, "mounted")
        self.looked_at = os.path.join(folder, "looked-at")
        fresh = os.path.join(folder, "fresh")
        for path in (self.mounted, self.looked_at):
            os.makedirs(path, exist_ok=True)
        if not os.path.exists(fresh):
            with open(fresh, "wb") as file:
                file.truncate(kind.size_bytes)
            _run(*kind.make, fresh)
        _copy_sparse(fresh, self.image)
        _run("mount", "-o", f"loop,{kind.options}", self.image, self.mounted)

    def snapshot(self) -> Tree:
        _copy_sparse(self.image, self.copy)
        _run("mount", "-o", f"loop,{self.kind.options}", self.copy, self.looked_at)
        try:
            return read_tree(self.looked_at, exclude=("lost+found",))
        finally:
            _run("umount", self.looked_at)

    def close(self) -> None:
        _run("umount", self.mounted)


def _copy_sparse(source: str, target: str) -> None:
    """Copy only what is not a hole: an image of 300 MB holds a few."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        size = os.fstat(reader.fileno()).st_size
        writer.truncate(size)
        position = 0
        while position < size:
            try:
                start = os.lseek(reader.fileno(), position, os.SEEK_DATA)
            except OSError:
                return
            position = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            while start < position:
                data = os.pread(reader.fileno(), min(position - start, 1 << 20), start)
                start += os.pwrite(writer.fileno(), data, start)


def _states_of(trace: Trace, kind: Filesystem, folder: str, *, commit: bool) -> list[Tree]:
    image = _Image(kind, folder)
    try:
        with _Enactor(image.mounted, trace.initial) as enactor:
            states = [image.snapshot()]
            for op in trace.ops:
                enactor.perform(op)
                states.append(image.snapshot())
            if commit:
                time.sleep(kind.commit_s)
                states.append(image.snapshot())
        return states
    finally:
        image.close()


@final
class _Enactor:
    """Performs a trace's operations on a real folder, by descriptors, so that nodes without a name work too."""

    def __init__(self, folder: str, initial: Sequence[InitialNode]) -> None:
        self._open = {0: os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}
        pending = [node for node in initial if node.node]
        while pending:
            ready = [node for node in pending if all(parent in self._open for parent, _ in node.names)]
            if not ready:
                raise HarnessFault("the initial tree has a node without a folder")
            for node in ready:
                self._make(node)
            pending = [node for node in pending if node not in ready]
        self.sync(Op(seq=0, kind=Kind.SYNC, call=""))

    def __enter__(self) -> "_Enactor":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _make(self, node: InitialNode) -> None:
        (parent, name), *more = node.names
        kinds = {NodeType.FILE: Kind.CREATE, NodeType.DIRECTORY: Kind.MKDIR, NodeType.SYMLINK: Kind.SYMLINK}
        self.perform(
            Op(
                seq=0,
                kind=kinds[node.type],
                call="",
                node=node.node,
                parent=parent,
                name=name,
                mode=node.mode,
                target=node.target,
            )
        )
        if node.data:
            self.perform(Op(seq=0, kind=Kind.WRITE, call="", node=node.node, data=node.data))
        for other_parent, other_name in more:
            self.perform(Op(seq=0, kind=Kind.LINK, call="", node=node.node, parent=other_parent, name=other_name))

    def perform(self, op: Op) -> None:
        try:
            _PERFORM[op.kind](self, op)
        except OSError as error:
            raise HarnessFault(f"operation {op.seq} ({op.kind.value} {op.name or op.path}) failed: {error}") from None

    def descriptor(self, node: int | None) -> int:
        if node is None or node not in self._open:
            raise HarnessFault(f"node {node} is not open")
        return self._open[node]

    def create(self, op: Op) -> None:
        folder = self.descriptor(op.parent)
        if op.kind is Kind.MKDIR:
            os.mkdir(op.name, op.mode, dir_fd=folder)
            self._open[op.node] = os.open(op.name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
            os.fchmod(self._open[op.node], op.mode)
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self._open[op.node] = os.open(op.name, flags, op.mode, dir_fd=folder)
            os.fchmod(self._open[op.node], op.mode)

    def symlink(self, op: Op) -> None:
        os.symlink(op.target, op.name, dir_fd=self.descriptor(op.parent))

    def link(self, op: Op) -> None:
        source = f"/proc/self/fd/{self.descriptor(op.node)}"
        os.link(source, op.name, dst_dir_fd=self.descriptor(op.parent), follow_symlinks=True)

    def remove(self, op: Op) -> None:
        folder = self.descriptor(op.parent)
        (os.rmdir if op.kind is Kind.RMDIR else os.unlink)(op.name, dir_fd=folder)

    def rename(self, op: Op) -> None:
        old, new = self.descriptor(op.parent), self.descriptor(op.to_parent)
        if op.kind is Kind.EXCHANGE:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.renameat2(old, os.fsencode(op.name), new, os.fsencode(op.to_name), _RENAME_EXCHANGE):
                raise OSError(ctypes.get_errno(), "renameat2")
        else:
            os.rename(op.name, op.to_name, src_dir_fd=old, dst_dir_fd=new)

    def write(self, op: Op) -> None:
        flags = {Sync.NONE: 0, Sync.DATA: os.RWF_DSYNC, Sync.ALL: os.RWF_SYNC}[op.sync]
        done = 0
        while done < len(op.data):
            done += os.pwritev(self.descriptor(op.node), [op.data[done:]], op.offset + done, flags)

    def truncate(self, op: Op) -> None:
        os.ftruncate(self.descriptor(op.node), op.size)

    def chmod(self, op: Op) -> None:
        os.fchmod(self.descriptor(op.node), op.mode)

    def fsync(self, op: Op) -> None:
        if op.errno == 0:
            (os.fsync if op.kind is Kind.FSYNC else os.fdatasync)(self.descriptor(op.node))

    def sync(self, _: Op) -> None:
        # Not os.sync(): that would also flush every other disk of the machine.
        if ctypes.CDLL(None, use_errno=True).syncfs(self.descriptor(0)):
            raise OSError(ctypes.get_errno(), "syncfs")


_PERFORM: Final[dict[Kind, Callable[[_Enactor, Op], None]]] = {
    Kind.CREATE: _Enactor.create,
    Kind.MKDIR: _Enactor.create,
    Kind.SYMLINK: _Enactor.symlink,
    Kind.LINK: _Enactor.link,
    Kind.UNLINK: _Enactor.remove,
    Kind.RMDIR: _Enactor.remove,
    Kind.RENAME: _Enactor.rename,
    Kind.EXCHANGE: _Enactor.rename,
    Kind.WRITE: _Enactor.write,
    Kind.TRUNCATE: _Enactor.truncate,
    Kind.CHMOD: _Enactor.chmod,
    Kind.FSYNC: _Enactor.fsync,
    Kind.FDATASYNC: _Enactor.fsync,
    Kind.SYNC: _Enactor.sync,
}
