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
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar, final

from chaos.disk.enact import Enactor
from chaos.disk.folder import read_tree
from chaos.disk.tree import Tree
from chaos.disk.workloads import Workload
from chaos.errors import HarnessFault, NotMeasured

__all__ = ["FILESYSTEMS", "Filesystem", "Image", "in_own_namespace", "probe", "real_states"]

_CLONE_NEWNS: Final = 0x00020000
_MS_REC_PRIVATE: Final = 0x4000 | 0x40000
_PIECE_BYTES: Final = 1 << 16
_PREFIX: Final = "chaos-real-"
_INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TRIES: Final = 200
_Result = TypeVar("_Result")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Filesystem:
    """How one kind of file system is made and mounted.

    Attributes:
        name: as mount(8) spells it.
        make: the mkfs command without the image; ext4 would give so small a one blocks of 1 KiB.
        size_bytes: of the image; each file system has a least size, and smaller is faster to copy.
        options: mount options; a copy has the same UUID as its original, which xfs refuses unless told.
    """

    name: str
    make: tuple[str, ...]
    size_bytes: int
    options: str


FILESYSTEMS: Final = {
    "ext4": Filesystem(
        name="ext4", make=("mkfs.ext4", "-q", "-F", "-b", "4096"), size_bytes=32 << 20, options="commit=1"
    ),
    "xfs": Filesystem(name="xfs", make=("mkfs.xfs", "-q", "-f"), size_bytes=304 << 20, options="nouuid"),
    "btrfs": Filesystem(name="btrfs", make=("mkfs.btrfs", "-q", "-f"), size_bytes=128 << 20, options="commit=1"),
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
        in_own_namespace(lambda folder: Image(kind, folder).close())
    except NotMeasured as error:
        return error.message
    return ""


def real_states(workloads: Sequence[Workload], filesystem: str, *, wait_s: float = 0.0) -> list[list[Tree]]:
    """For each workload, the trees that a power cut leaves: item i is what is found after i operations.

    All have an image of their own, mounted at the same time. With `wait_s`, one more item follows, taken so many
    seconds after the last operation of the last of them.

    Raises:
        NotMeasured: this machine can't mount that file system.
        HarnessFault: an operation could not be performed as recorded.
    """
    kind = FILESYSTEMS[filesystem]
    return in_own_namespace(lambda folder: _states_of(workloads, kind, folder, wait_s))


def in_own_namespace(work: Callable[[str], _Result]) -> _Result:
    """`work(folder)` in a forked child with its own mounts; its result, or its error, comes back.

    Mounts, loop devices and the folder are gone at the end, whatever ends it.

    Raises:
        NotMeasured: this machine gives no mount namespace, or `work` says so.
        HarnessFault: `work` failed.
    """
    base = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()  # noqa: S108 - memory, made private here
    with _Deferred() as interruptions:
        _sweep(base)
        folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base)
        try:
            answer = _answer_of_child(work, folder, interruptions)
        finally:
            _remove(folder)
    if not answer:
        raise HarnessFault(
            "the process that mounts images died", "run `dmesg` and look for the file system's complaint"
        )
    result = pickle.loads(answer)  # noqa: S301 - written by our own fork a moment ago
    if isinstance(result, Exception):
        raise result
    return result  # type: ignore[no-any-return]


@final
class _Deferred:
    """Interruptions wait for the end of the block, so that nothing that was made in it is left; but for `allowed`.

    By handlers, not by a mask: another thread would take a signal that this one does not.
    """

    def __enter__(self) -> "_Deferred":
        self._came: list[int] = []
        here = threading.current_thread() is threading.main_thread()  # no other one is ever interrupted
        known = {number: signal.getsignal(number) for number in _INTERRUPTIONS if here}
        self._usual = {number: usual for number, usual in known.items() if usual not in {None, signal.SIG_IGN}}
        self._defer()
        return self

    def __exit__(self, *_: object) -> None:
        self._let_come()

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """What came is raised at once, and so is what comes."""
        try:
            self._let_come()
            yield
        finally:
            self._defer()

    def _defer(self) -> None:
        for number in self._usual:
            signal.signal(number, lambda number, _frame: self._came.append(number))

    def _let_come(self) -> None:
        for number, usual in self._usual.items():
            signal.signal(number, usual)
        came, self._came = self._came, []
        for one in came:
            signal.raise_signal(one)


def _answer_of_child(work: Callable[[str], object], folder: str, interruptions: _Deferred) -> bytes:
    """What `work` gave or raised in a fork, pickled, b"" if it died; only the wait for it can be interrupted."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)
            stream.close()
            _child(work, folder, writer)
        with suppress(PermissionError, ProcessLookupError):  # it did so itself, and perhaps has ended
            os.setpgid(child, child)
        os.close(writer)
        try:
            with interruptions.allowed():
                return stream.read()
        finally:
            os.killpg(child, signal.SIGKILL)  # with the mount or mkfs that it may wait for
            os.waitpid(child, 0)


def _remove(folder: str) -> None:
    """Remove it though a command that was killed a moment ago may still be about to write into it."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.01)


def _sweep(base: str) -> None:
    """Remove what processes left that were killed outright; their mounts went with them."""
    for name in os.listdir(base):
        owner = name.removeprefix(_PREFIX).split("-")[0]
        if name.startswith(_PREFIX) and owner.isdecimal() and not os.path.exists(f"/proc/{owner}"):
            shutil.rmtree(os.path.join(base, name), ignore_errors=True)


def _child(work: Callable[[str], object], folder: str, writer: int) -> NoReturn:
    for number in _INTERRUPTIONS:  # not the caller's handlers, which would unwind the caller's stack here
        signal.signal(number, signal.SIG_DFL)
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
class Image:
    """One mounted image; `snapshot` reads what a power cut would leave now."""

    def __init__(self, kind: Filesystem, folder: str, number: int = 0) -> None:
        """Make and mount it.

        Args:
            kind: which file system.
            folder: where images and mounts are kept; one that was made there before is copied.
            number: tells images in one folder apart.
        """
        self._kind = kind
        self._image, self._copy = os.path.join(folder, f"image-{number}"), os.path.join(folder, "copy")
        self._mounted, self._looked_at = os.path.join(folder, f"mounted-{number}"), os.path.join(folder, "looked-at")
        fresh = os.path.join(folder, "fresh")
        for path in (self._mounted, self._looked_at):
            os.makedirs(path, exist_ok=True)
        if not os.path.exists(fresh):
            with open(self._copy, "wb") as file:
                file.truncate(kind.size_bytes)
            _run(*kind.make, self._copy)
            _copy_sparse(self._copy, fresh)
        _copy_sparse(fresh, self._image)
        _run("mount", "-o", f"loop,{kind.options}", self._image, self._mounted)
        self.disk = os.path.join(self._mounted, "disk")
        os.mkdir(self.disk, 0o755)

    @property
    def bystander(self) -> str:
        """A file beside the disk."""
        return os.path.join(self._mounted, "bystander")

    def snapshot(self) -> Tree:
        """What is found when the power is cut now."""
        _copy_sparse(self._image, self._copy)
        _run("mount", "-o", f"loop,{self._kind.options}", self._copy, self._looked_at)
        try:
            return read_tree(os.path.join(self._looked_at, "disk"))
        finally:
            _run("umount", self._looked_at)

    def close(self) -> None:
        """Unmount it, and forget it."""
        _run("umount", self._mounted)
        os.unlink(self._image)


def _copy_sparse(source: str, target: str) -> None:
    """Copy only what is not a hole or zero: an image of 300 MB holds a few."""
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
                data = os.pread(reader.fileno(), min(position - start, _PIECE_BYTES), start)
                if data.count(0) != len(data):
                    os.pwrite(writer.fileno(), data, start)
                start += len(data)


def _states_of(workloads: Sequence[Workload], kind: Filesystem, folder: str, wait_s: float) -> list[list[Tree]]:
    found: list[list[Tree]] = []
    with ExitStack() as stack:
        images: list[Image] = []
        for number, workload in enumerate(workloads):
            # Where nothing is waited for, one image at a time is mounted.
            with ExitStack() as own:
                image = Image(kind, folder, number)
                (stack if wait_s else own).callback(image.close)
                enactor = Enactor(image.disk, workload.trace.initial, image.bystander)
                (stack if wait_s else own).callback(enactor.close)
                found.append(list(_course(image, enactor, workload)))
                images.append(image)
        if wait_s:
            time.sleep(wait_s)
            for image, states in zip(images, found, strict=True):
                states.append(image.snapshot())
    return found


def _course(image: Image, enactor: Enactor, workload: Workload) -> Iterator[Tree]:
    yield image.snapshot()
    for op, nudge in zip(workload.trace.ops, workload.nudges, strict=True):
        enactor.perform(op)
        if nudge is not None:
            enactor.nudge(nudge)
        yield image.snapshot()
