"""Handlers for calls that set an extended attribute: an access list sets permission bits as well.

`sed -i`, `cp -p` and `install` give a new file the mode of another by its access list, without any chmod. Other
attributes are no part of a tree, and the kernel sets them by itself. Read `process_calls.py` next.
"""

import os
import stat
from collections.abc import Mapping
from typing import Final, final

from chaos.syscalls.calls import CONTINUE, Handler, Steps, Trap
from chaos.trace.model import Kind, NodeType
from chaos.trace.places import AT_FDCWD
from chaos.trace.recording import Recording

__all__ = ["ModeCalls"]

_ACCESS_LIST: Final = "system.posix_acl_access"
_LARGEST_BYTES: Final = 1 << 16  # XATTR_SIZE_MAX; the kernel refuses more


@final
class ModeCalls:
    """The handlers, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return {
            "setxattr": lambda trap: self._by_path(trap, follow=True),
            "lsetxattr": lambda trap: self._by_path(trap, follow=False),
            "fsetxattr": self._by_descriptor,
        }

    def _by_path(self, trap: Trap, *, follow: bool) -> Steps:
        if not _is_access_list(trap):
            return CONTINUE
        places = self._recording.places
        place = places.locate(trap, AT_FDCWD, trap.process.read_path(trap.arguments[0]))
        if follow:
            place = places.follow(trap, place)
        try:
            descriptor = os.open(
                place.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place.directory.descriptor
            )
        except OSError:
            return CONTINUE  # the kernel knows why better
        return (yield from self._set(trap, descriptor))

    def _by_descriptor(self, trap: Trap) -> Steps:
        descriptor = trap.process.duplicate(trap.signed(0)) if _is_access_list(trap) else -1
        return CONTINUE if descriptor < 0 else (yield from self._set(trap, descriptor))

    def _set(self, trap: Trap, descriptor: int) -> Steps:
        """Set it in the caller's place; the descriptor is closed in the end."""
        try:
            node = self._recording.nodes.find(os.fstat(descriptor))
            if node is None or node.type is NodeType.SYMLINK or trap.arguments[3] > _LARGEST_BYTES:
                return CONTINUE
            value = trap.process.read_exactly(trap.arguments[2], trap.arguments[3])
            yield self._recording.call(trap, node.path)
            before = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.setxattr(f"/proc/self/fd/{descriptor}", _ACCESS_LIST, value, trap.signed(4))
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode != before:
                if node.type is NodeType.DIRECTORY:
                    self._recording.places.forget()
                self._recording.journal.add(trap, Kind.CHMOD, node, mode=mode)
            return 0
        finally:
            os.close(descriptor)


def _is_access_list(trap: Trap) -> bool:
    return trap.process.read_path(trap.arguments[1]) == _ACCESS_LIST
