"""The plugin's settings: command line, then environment, then ini file, then default.

Read `crash.py` next.
"""

import os
from pathlib import Path

import pytest

from chaos.errors import UsageError
from chaos.scenario import Profile, RunOptions
from chaos.scenario.model import ENGINES
from chaos.scenario.quantities import budget

__all__ = ["run_options"]


def run_options(config: pytest.Config) -> RunOptions:
    """The options of this session.

    Raises:
        UsageError: which setting is wrong, and what was expected.
    """
    names = ("seed", "budget", "profile", "engine", "report")
    seed, limit, profile, engine, folder = (_setting(config, name) for name in names)
    if not seed.removeprefix("-").isdigit() and seed:
        raise UsageError(f'--chaos-seed: expected a whole number, got "{seed}"')
    profiles = [one.value for one in Profile]
    if profile and profile not in profiles:
        raise UsageError(f'--chaos-profile: expected one of {", ".join(profiles)}, got "{profile}"')
    if engine and engine not in ENGINES:
        raise UsageError(f'--chaos-engine: expected one of {", ".join(ENGINES)}, got "{engine}"')
    try:
        parsed = budget(limit) if limit else None
    except ValueError as error:
        raise UsageError(f'--chaos-budget: expected {error}, got "{limit}"') from None
    return RunOptions(
        seed=int(seed or 0),
        budget=parsed,
        profile=Profile(profile or "ci"),
        engine=engine or None,
        # Under xdist the other processors are busy with other tests.
        jobs=1 if "PYTEST_XDIST_WORKER" in os.environ else 0,
        report_dir=config.rootpath / (Path(folder) if folder else Path(".chaos")),
    )


def _setting(config: pytest.Config, name: str) -> str:
    given = config.getoption(f"--chaos-{name}")
    return str(given or os.environ.get(f"CHAOS_{name.upper()}") or config.getini(f"chaos_{name}"))
