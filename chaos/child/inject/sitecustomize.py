"""Starts the source line thread in a Python subprocess of the target, then makes way for what it shadowed.

This folder is put first on PYTHONPATH by the supervisor. Python imports `sitecustomize` at its start; the one that
would have been found without us runs afterwards, under its own name, and `sys.path` looks as without us. Any
Python may read this file, also one that is too old for the harness, and one where `chaos` is not installed: hence
the import by folder and the old-fashioned syntax. `python -I`, `-E` and `-S` skip it, and simply give no lines.
"""

import os
import sys
from importlib import import_module
from importlib.machinery import SourceFileLoader

__all__ = []

_here = os.path.dirname(os.path.abspath(__file__))


def _start():
    # type: () -> None
    if sys.version_info < (3, 10) or not os.environ.get("CHAOS_FRAMES"):
        return
    # Not `chaos.child.frames`: the target may have a package `chaos` of its own.
    path = os.path.join(os.path.dirname(_here), "frames.py")
    module = type(sys)("_chaos_frames")
    module.__file__ = path
    sys.modules["_chaos_frames"] = module
    SourceFileLoader("_chaos_frames", path).exec_module(module)
    module.start()


def _make_way():
    # type: () -> None
    mine = sys.modules.pop("sitecustomize")
    try:
        import_module("sitecustomize")  # the one that we shadowed
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = mine


if __name__ == "sitecustomize":
    sys.path[:] = [entry for entry in sys.path if entry != _here]
    _start()
    _make_way()
