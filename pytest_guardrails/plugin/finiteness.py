"""The fixture `finite` at work: values, files and arithmetic without NaN and infinities. Read `guards.py` next."""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar, final

import pytest

from chaos.child import values
from chaos.oracles.finite import FileScan

__all__ = ["Finite", "strict_arithmetic"]

_T = TypeVar("_T")
_SHOWN = 5


@final
class Finite:
    """What the fixture `finite` gives: call it with a value, or let it look through a folder."""

    def __call__(self, value: _T, name: str = "value") -> _T:
        """Fail the test if NaN or an infinity is anywhere in a value; else the value comes back.

        Args:
            value: any plain value: numbers, containers, dataclasses, NumPy arrays.
            name: what to call it.
        """
        __tracebackhide__ = True
        if isinstance(value, os.PathLike):
            pytest.fail(
                f"finite: {value} is a path, which holds no number; for its files: finite.folder(path)", pytrace=False
            )
        text = values.encode(value)
        places = [place.replace("value", str(name), 1) for place in values.non_finite(text)]
        if places:
            _fail(f"{name} holds a number that is not finite", places, f"it is {values.render(text)}")
        return value

    def folder(self, folder: str | os.PathLike[str]) -> None:
        """Fail the test if a JSON file, an SQLite column or a NumPy file in a folder holds one."""
        __tracebackhide__ = True
        if not (isinstance(folder, (str, os.PathLike)) and os.path.isdir(folder)):
            pytest.fail(f"finite.folder: there is no folder {folder}", pytrace=False)
        root = Path(folder)
        files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        places = FileScan().new_places(files)
        if places:
            _fail(f"a file in {root} holds a number that is not finite", list(places), "")


@contextlib.contextmanager
def strict_arithmetic() -> Iterator[None]:
    """Let NumPy raise `FloatingPointError` at the line that makes a NaN or an infinity, where NumPy is installed."""
    if importlib.util.find_spec("numpy") is None:
        yield
        return
    numpy: Any = importlib.import_module("numpy")
    with numpy.errstate(divide="raise", over="raise", invalid="raise"):
        yield


def _fail(what: str, places: list[str], more: str) -> None:
    __tracebackhide__ = True
    others = [f"and {len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
    lines = [*places[:_SHOWN], *others, *([more] if more else [])]
    pytest.fail(f"finite: {what}\n" + "\n".join(f"  {line}" for line in lines))
