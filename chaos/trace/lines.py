"""Whose code a source line is: the user's own, a library's, or the harness's. Pure; read `sources.py` next."""

import re

from chaos.trace.model import Frame

__all__ = ["is_harness", "is_own"]

# Told by the path's shape, since the target's interpreter need not be this one.
_LIBRARY = re.compile(
    r"[\\/]lib(?:64)?[\\/]python\d[^\\/]*[\\/]|[\\/](?:site|dist)-packages[\\/]|[\\/]Python3\d+[\\/]Lib[\\/]|^<frozen "
)
_HARNESS = re.compile(r"[\\/]chaos[\\/]child[\\/]")


def is_harness(frame: Frame) -> bool:
    """Whether a frame is the harness's code that runs inside targets."""
    return _HARNESS.search(frame.file) is not None


def is_own(frame: Frame) -> bool:
    """Whether a frame is the user's own code."""
    return not _LIBRARY.search(frame.file) and not is_harness(frame)
