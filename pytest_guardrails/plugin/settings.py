"""The plugin's settings: command line, then environment, then ini file, then default.

The budget alone may be given by a test too: it comes before the ini file's, which is for all, and after what somebody
asked for when pytest was called. Read `crash_call.py` next.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest

from chaos.errors import UsageError
from chaos.scenario import Profile, RunOptions
from chaos.scenario.model import ENGINES, Budget
from chaos.scenario.quantities import budget

__all__ = ["ini_budget", "run_options", "skips_unmeasured"]

_FAIL, _SKIP = "fail", "skip"

_T = TypeVar("_T")


def run_options(config: pytest.Config) -> RunOptions:
    """The options of this session.

    Raises:
        UsageError: which setting is wrong, where it stands, and what was expected.
    """
    return RunOptions(
        seed=_setting(config, "seed", _whole_number) or 0,
        budget=_called_with(config, "budget", budget),
        profile=_setting(config, "profile", _one_of(Profile, lambda profile: profile.value)) or Profile.CI,
        engine=_setting(config, "engine", _one_of(ENGINES, str)),
        # Under xdist the other processors are busy with other tests.
        jobs=1 if "PYTEST_XDIST_WORKER" in os.environ else 0,
        report_dir=config.rootpath / (_setting(config, "report", Path) or ".chaos"),
    )


def ini_budget(config: pytest.Config) -> Budget | None:
    """The budget of tests that have none of their own, from the ini file.

    Raises:
        UsageError: it is wrong.
    """
    return _of_ini(config, "budget", budget)


def skips_unmeasured(config: pytest.Config) -> bool:
    """Whether tests that this machine can't measure are skipped; they fail unless that is asked for.

    Raises:
        UsageError: it is neither.
    """
    return _setting(config, "no_engine", _one_of((_FAIL, _SKIP), str)) == _SKIP


def _setting(config: pytest.Config, name: str, parse: Callable[[str], _T]) -> _T | None:
    """What is given first; None when nothing is."""
    called_with = _called_with(config, name, parse)
    return _of_ini(config, name, parse) if called_with is None else called_with


def _called_with(config: pytest.Config, name: str, parse: Callable[[str], _T]) -> _T | None:
    variable = f"CHAOS_{name.upper()}"
    option = f"--chaos-{name.replace('_', '-')}"
    on_line = _parsed(option, config.getoption(option), parse)
    return _parsed(variable, os.environ.get(variable), parse) if on_line is None else on_line


def _of_ini(config: pytest.Config, name: str, parse: Callable[[str], _T]) -> _T | None:
    return _parsed(f"chaos_{name} in the ini file", config.getini(f"chaos_{name}"), parse)


def _parsed(source: str, given: object, parse: Callable[[str], _T]) -> _T | None:
    if not given:
        return None
    try:
        return parse(str(given))
    except ValueError as error:
        raise UsageError(f'{source}: expected {error}, got "{given}"') from None


def _whole_number(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise ValueError("a whole number")
    return int(text)


def _one_of(known: Iterable[_T], name_of: Callable[[_T], str]) -> Callable[[str], _T]:
    named = {name_of(one): one for one in known}

    def parse(text: str) -> _T:
        if text not in named:
            raise ValueError(f"one of {', '.join(named)}")
        return named[text]

    return parse
