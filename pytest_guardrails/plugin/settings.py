"""The plugin's settings: command line, then environment, then ini file, then default.

Read `crash.py` next.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest

from chaos.errors import UsageError
from chaos.scenario import Profile, RunOptions
from chaos.scenario.model import ENGINES
from chaos.scenario.quantities import budget

__all__ = ["run_options"]

_T = TypeVar("_T")


def run_options(config: pytest.Config) -> RunOptions:
    """The options of this session.

    Raises:
        UsageError: which setting is wrong, where it stands, and what was expected.
    """
    return RunOptions(
        seed=_setting(config, "seed", _whole_number) or 0,
        budget=_setting(config, "budget", budget),
        profile=_setting(config, "profile", _one_of(Profile, lambda profile: profile.value)) or Profile.CI,
        engine=_setting(config, "engine", _one_of(ENGINES, str)),
        # Under xdist the other processors are busy with other tests.
        jobs=1 if "PYTEST_XDIST_WORKER" in os.environ else 0,
        report_dir=config.rootpath / (_setting(config, "report", Path) or ".chaos"),
    )


def _setting(config: pytest.Config, name: str, parse: Callable[[str], _T]) -> _T | None:
    """What is given first; None when nothing is."""
    for source, given in (
        (f"--chaos-{name}", config.getoption(f"--chaos-{name}")),
        (f"CHAOS_{name.upper()}", os.environ.get(f"CHAOS_{name.upper()}")),
        (f"chaos_{name} in the ini file", config.getini(f"chaos_{name}")),
    ):
        if given:
            try:
                return parse(str(given))
            except ValueError as error:
                raise UsageError(f'{source}: expected {error}, got "{given}"') from None
    return None


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
