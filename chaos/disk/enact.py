"""Performs a trace's operations on a real folder, by descriptors, as the recorded program did.

It also gives a file system the nudges by which it may write back early: a disk may do at any time what here is done
on request. It must not judge. Read `real.py` next.
"""

import ctypes
import fcntl
import os
from collections.abc import Callable, Sequence
from typing import Final, final

from chaos.disk.workloads import Nudge, NudgeKind
from chaos.errors import HarnessFault
from chaos.trace.model import InitialNode, Kind, NodeType, Op, Sync

__all__ = ["Enactor"]

_RENAME_EXCHANGE: Final = 2
_WAIT: Final = 1  # SYNC_FILE_RANGE_WAIT_BEFORE
_WRITE_AND_WAIT: Final = 7  # SYNC_FILE_RANGE_WAIT_BEFORE | WRITE | WAIT_AFTER: the data, no journal
# BTRFS_IOC_START_SYNC and BTRFS_IOC_WAIT_SYNC: commit the transaction, as its thread does, without flushing data.
_BTRFS_START_SYNC: Final = 0x80089418
_BTRFS_WAIT_SYNC: Final = 0x40089416


@final
class Enactor:
    """A folder with the initial tree, durable, on which operations are performed one by one.

    Nodes are held open, so that those without a name can be acted upon too.
    """

    def __init__(self, folder: str, initial: Sequence[InitialNode], bystander: str = "") -> None:
        """Lay the initial tree into an empty folder and sync it.

        Args:
            folder: where.
            initial: the tree.
            bystander: a file of the same file system outside the folder, through which its journal is made to commit.

        Raises:
            HarnessFault: the tree can't be made.
        """
        self._bystander = os.open(bystander, os.O_RDWR | os.O_CREAT, 0o600) if bystander else -1
        self._open = {0: os.open(folder, os.O_RDONLY | os.O_DIRECTORY)}
        os.fchmod(self._open[0], next((node.mode for node in initial if not node.node), 0o755))
        pending = [node for node in initial if node.node]
        while pending:
            ready = [node for node in pending if all(parent in self._open for parent, _ in node.names)]
            if not ready:
                raise HarnessFault("the initial tree has a node without a folder")
            for node in ready:
                self._make(node)
            pending = [node for node in pending if node not in ready]
        self._sync(Op(seq=0, kind=Kind.SYNC, call=""))

    def __enter__(self) -> "Enactor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all files."""
        for descriptor in (*self._open.values(), *([self._bystander] if self._bystander >= 0 else ())):
            os.close(descriptor)
        self._open.clear()
        self._bystander = -1

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

    def nudge(self, nudge: Nudge) -> None:
        """Let the file system do early what it may do at any time.

        Raises:
            HarnessFault: it refuses.
        """
        try:
            if nudge.kind is NudgeKind.COMMIT:
                self._commit()
            elif nudge.node in self._open:
                libc = ctypes.CDLL(None, use_errno=True)
                zero = ctypes.c_int64(0)
                if libc.sync_file_range(self._open[nudge.node], zero, zero, _WRITE_AND_WAIT):
                    raise OSError(ctypes.get_errno(), "sync_file_range")
        except OSError as error:
            raise HarnessFault(f"nudge {nudge.kind.value} failed: {error}") from None

    def _await_writes(self) -> None:
        """Wait for what is on its way to the device already.

        A rename over a file makes ext4 begin to flush, and a commit within these milliseconds leaves zeroes (measured).
        The journal commits every five seconds: the moment is left out, here and in the model.
        """
        libc, zero = ctypes.CDLL(None, use_errno=True), ctypes.c_int64(0)
        for descriptor in self._open.values():
            libc.sync_file_range(descriptor, zero, zero, _WAIT)

    def _commit(self) -> None:
        self._await_writes()
        transaction = bytearray(8)
        try:
            fcntl.ioctl(self._bystander, _BTRFS_START_SYNC, transaction)
        except OSError:
            # Not btrfs: one journal takes along all that it holds when any file is synced.
            os.pwrite(self._bystander, b"x", os.fstat(self._bystander).st_size)
            os.fsync(self._bystander)
        else:
            fcntl.ioctl(self._bystander, _BTRFS_WAIT_SYNC, bytes(transaction))

    def perform(self, op: Op) -> None:
        """One operation.

        Raises:
            HarnessFault: it fails here, though it did not when it was recorded.
        """
        try:
            _PERFORM[op.kind](self, op)
        except OSError as error:
            raise HarnessFault(f"operation {op.seq} ({op.kind.value} {op.name or op.path}) failed: {error}") from None

    def _descriptor(self, node: int | None) -> int:
        if node is None or node not in self._open:
            raise HarnessFault(f"node {node} is not open")
        return self._open[node]

    def _create(self, op: Op) -> None:
        folder = self._descriptor(0 if op.parent is None else op.parent)
        if op.parent is None:
            self._open[op.node] = os.open(".", os.O_RDWR | os.O_TMPFILE, op.mode, dir_fd=self._descriptor(0))
        elif op.kind is Kind.MKDIR:
            os.mkdir(op.name, op.mode, dir_fd=folder)
            self._open[op.node] = os.open(op.name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
            os.fchmod(self._open[op.node], op.mode)
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self._open[op.node] = os.open(op.name, flags, op.mode, dir_fd=folder)
            os.fchmod(self._open[op.node], op.mode)

    def _symlink(self, op: Op) -> None:
        os.symlink(op.target, op.name, dir_fd=self._descriptor(op.parent))

    def _link(self, op: Op) -> None:
        source = f"/proc/self/fd/{self._descriptor(op.node)}"
        os.link(source, op.name, dst_dir_fd=self._descriptor(op.parent), follow_symlinks=True)

    def _remove(self, op: Op) -> None:
        folder = self._descriptor(op.parent)
        (os.rmdir if op.kind is Kind.RMDIR else os.unlink)(op.name, dir_fd=folder)

    def _rename(self, op: Op) -> None:
        old, new = self._descriptor(op.parent), self._descriptor(op.to_parent)
        if op.kind is Kind.EXCHANGE:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.renameat2(old, os.fsencode(op.name), new, os.fsencode(op.to_name), _RENAME_EXCHANGE):
                raise OSError(ctypes.get_errno(), "renameat2")
        else:
            os.rename(op.name, op.to_name, src_dir_fd=old, dst_dir_fd=new)

    def _write(self, op: Op) -> None:
        flags = {Sync.NONE: 0, Sync.DATA: os.RWF_DSYNC, Sync.ALL: os.RWF_SYNC}[op.sync]
        done = 0
        while done < len(op.data):
            done += os.pwritev(self._descriptor(op.node), [op.data[done:]], op.offset + done, flags)

    def _truncate(self, op: Op) -> None:
        os.ftruncate(self._descriptor(op.node), op.size)

    def _chmod(self, op: Op) -> None:
        os.fchmod(self._descriptor(op.node), op.mode)

    def _fsync(self, op: Op) -> None:
        if op.errno == 0:
            (os.fsync if op.kind is Kind.FSYNC else os.fdatasync)(self._descriptor(op.node))

    def _sync(self, _: Op) -> None:
        # Not os.sync(): that would also flush every other disk of the machine.
        if ctypes.CDLL(None, use_errno=True).syncfs(self._descriptor(0)):
            raise OSError(ctypes.get_errno(), "syncfs")


_PERFORM: Final[dict[Kind, Callable[[Enactor, Op], None]]] = {
    Kind.CREATE: Enactor._create,
    Kind.MKDIR: Enactor._create,
    Kind.SYMLINK: Enactor._symlink,
    Kind.LINK: Enactor._link,
    Kind.UNLINK: Enactor._remove,
    Kind.RMDIR: Enactor._remove,
    Kind.RENAME: Enactor._rename,
    Kind.EXCHANGE: Enactor._rename,
    Kind.WRITE: Enactor._write,
    Kind.TRUNCATE: Enactor._truncate,
    Kind.CHMOD: Enactor._chmod,
    Kind.FSYNC: Enactor._fsync,
    Kind.FDATASYNC: Enactor._fsync,
    Kind.SYNC: Enactor._sync,
}
