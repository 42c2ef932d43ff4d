"""Handlers for reads, which change nothing: a policy is asked, and the kernel performs them.

They are trapped only where `RecordOptions.reads` says so. Read `process_calls.py` next.
"""

import os
from collections.abc import Mapping
from typing import final

from chaos.syscalls.calls import CONTINUE, Handler, Steps, Trap
from chaos.trace.recording import Recording

__all__ = ["ReadCalls"]


@final
class ReadCalls:
    """The handlers, over one recording."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def handlers(self) -> Mapping[str, Handler]:
        """Call name -> handler."""
        return dict.fromkeys(("read", "pread64", "readv", "preadv", "preadv2"), self.read)

    def read(self, trap: Trap) -> Steps:
        """A read of a file of the watched folder."""
        duplicate = trap.process.duplicate(trap.signed(0))
        if duplicate < 0:
            return CONTINUE
        try:
            node = self._recording.nodes.find(os.fstat(duplicate))
        finally:
            os.close(duplicate)
        if node is not None:
            yield self._recording.call(trap, node.path)
        return CONTINUE
