"""The portable engine inside the target: the functions of `os` and `open` that change files, each with an entry made.

`install` puts functions of the same signature in place of Python's own, in `os`, `io`, `builtins` and wherever they
were bound by name before. What goes through them is recorded: `pathlib`, `shutil`, `tempfile`, file objects of any
kind. C code that calls the operating system by itself is not; the recorder notices by comparing the files. Errors
are those of the real functions, and a call that failed is no operation (but for syncs, where it matters).

Standard library only, and of `chaos` only what `inject/` can load without the package. Read `ledger.py` first, then
`interposed_files.py`.
"""

import builtins
import io
import mmap
import os
import sys
from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from chaos.child.interposed_files import file_class, opener_of
from chaos.child.ledger import Ledger
from chaos.child.recorded_calls import RecordedCalls

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["FOLDER_VARIABLE", "JOURNAL_VARIABLE", "install", "install_from_environment"]

FOLDER_VARIABLE = "CHAOS_INTERPOSE"
JOURNAL_VARIABLE = "CHAOS_JOURNAL"
_SUPPORT = ("supports_dir_fd", "supports_fd", "supports_follow_symlinks", "supports_effective_ids")
_INSTALLED: list[Ledger] = []


def install_from_environment() -> bool:
    """Install in a Python subprocess of the target; whether the environment asks for it."""
    folder, journal = os.environ.get(FOLDER_VARIABLE), os.environ.get(JOURNAL_VARIABLE)
    if not folder or not journal:
        return False
    install(folder, journal)
    return True


def install(folder: str, journal: str) -> None:
    """Record from here on what this process does to `folder`; once a process.

    Raises:
        OSError: there is no such folder or journal.
    """
    if _INSTALLED:
        return
    ledger = Ledger(folder, journal)
    with ledger:
        pass  # opens the journal, or says why not
    _INSTALLED.append(ledger)
    calls = RecordedCalls(ledger)
    file_type = file_class(ledger)
    replaced: dict[int, tuple[Any, Any]] = {}
    for name, function in calls.functions().items():
        _replace(os, name, function, replaced)
    _replace(io, "open", opener_of(file_type), replaced)
    builtins.open = io.open
    replaced[id(io.FileIO)] = (io.FileIO, file_type)
    io.FileIO = file_type  # type: ignore[misc]
    mmap_type = _mmap_class(ledger)
    replaced[id(mmap.mmap)] = (mmap.mmap, mmap_type)
    mmap.mmap = mmap_type  # type: ignore[assignment, misc]
    if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: the sync that SQLite and careful programs use there
        _replace(fcntl, "fcntl", calls.full_sync(fcntl.fcntl, fcntl.F_FULLFSYNC), replaced)
    _rebind(replaced)


class _Replacement:
    """A function that stays itself as a class attribute, as built-in ones do: Python 3.10's `pathlib` relies on it."""

    def __init__(self, function: Callable[..., Any], original: Any, module: str) -> None:
        update_wrapper(self, original)
        del self.__wrapped__
        self._function = function
        self.__module__ = module

    def __call__(self, *args: Any, **settings: Any) -> Any:
        return self._function(*args, **settings)

    def __reduce__(self) -> str:
        return self.__qualname__

    __wrapped__: Any
    __qualname__: str


def _replace(module: Any, name: str, call: Callable[..., Any], replaced: dict[int, tuple[Any, Any]]) -> None:
    """Put a function in the place of one, also in the sets by which `os` tells what its functions can do."""
    original = getattr(module, name)
    function = _Replacement(call, original, module.__name__)
    setattr(module, name, function)
    replaced[id(original)] = (original, function)
    for support in _SUPPORT:
        known = getattr(os, support)
        if original in known:
            known.add(function)


def _rebind(replaced: dict[int, tuple[Any, Any]]) -> None:
    """Reach the names that were bound before us, as by `from os import replace`; the engine keeps the real ones."""
    ours = {"chaos.child.ledger", "chaos.child.recorded_calls", "chaos.child.interposed_files"}
    for name, module in list(sys.modules.items()):
        space = getattr(module, "__dict__", None)
        # `posix` and `_io` are where the real ones live, and what asks for them there is the interpreter itself.
        if not isinstance(space, dict) or name in ours or name in {"posix", "nt", "_io"}:
            continue
        for key, value in list(space.items()):
            if id(value) in replaced:
                space[key] = replaced[id(value)][1]
    # Python 3.10: `pathlib` keeps its functions in a class.
    accessor = getattr(sys.modules.get("pathlib"), "_NormalAccessor", None)
    for key, value in list(vars(accessor).items()) if accessor is not None else ():
        plain = value.__func__ if isinstance(value, staticmethod) else value
        if id(plain) in replaced:
            setattr(accessor, key, staticmethod(replaced[id(plain)][1]))
    shutil: Any = sys.modules.get("shutil")
    if getattr(shutil, "_HAS_FCOPYFILE", False):  # macOS: a copy inside the C library
        shutil._HAS_FCOPYFILE = False


def _mmap_class(ledger: Ledger) -> type:
    """`mmap.mmap`, that reports writable shared mappings of the folder's files: stores into them make no call."""
    real: Any = mmap.mmap

    class mmap_(real):  # type: ignore[misc]  # noqa: N801 - stands for the real one
        def __new__(cls, fileno: int, *args: Any, **settings: Any) -> Any:
            made = super().__new__(cls, fileno, *args, **settings)
            access = settings.get("access", mmap.ACCESS_DEFAULT)
            private = settings.get("flags", args[1] if len(args) > 1 else 0) == getattr(mmap, "MAP_PRIVATE", -1)
            if fileno >= 0 and not private and access not in {mmap.ACCESS_READ, mmap.ACCESS_COPY}:
                status = os.fstat(fileno)
                if ledger.knows(status, fileno):
                    ledger.append({"key": ledger.learn(status), "miss": "mapped for writing: its stores make no call"})
            return made

    mmap_.__name__ = mmap_.__qualname__ = "mmap"
    mmap_.__module__ = "mmap"
    return mmap_
