"""Starts the harness's part in a Python subprocess of the target, then makes way for what it shadowed.

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


def _load(name, file):
    # type: (str, str) -> object
    module = type(sys)(name)
    module.__file__ = os.path.join(os.path.dirname(_here), file)
    sys.modules[name] = module
    SourceFileLoader(name, module.__file__).exec_module(module)
    return module


def _start():
    # type: () -> None
    if sys.version_info < (3, 10):  # noqa: UP036 - whichever Python the target starts
        return
    if os.environ.get("CHAOS_FRAMES"):
        # Not `chaos.child.frames`: the target may have a package `chaos` of its own.
        _load("_chaos_frames", "frames.py").start()  # type: ignore[attr-defined]
    if os.environ.get("CHAOS_INTERPOSE"):
        # Under their own names, by which they import each other; no package `chaos` is loaded for that.
        for name in ("ledger", "recorded_calls", "interposed_files", "interpose"):
            module = _load("chaos.child." + name, name + ".py")
        module.install_from_environment()  # type: ignore[attr-defined]


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
