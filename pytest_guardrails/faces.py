"""Packages whose public names are loaded on first use: for programs that must start within milliseconds.

A package face that imports all its modules makes everybody pay for all of them. One made with `lazy` knows where each
name lives and loads that module alone. For type checkers and readers the face has the plain imports under
`TYPE_CHECKING`; a test compares the two.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """A module-level `__getattr__` (PEP 562) for a package.

    Args:
        package: its full name.
        homes: for each of its modules, or of another package's by its full name, the public names that live there,
            separated by spaces.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}

    def load(name: str) -> object:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(_full(package, home_of[name])), name)
        setattr(sys.modules[package], name, value)
        return value

    return load


def _full(package: str, home: str) -> str:
    return home if home.startswith(f"{package.partition('.')[0]}.") else f"{package}.{home}"
