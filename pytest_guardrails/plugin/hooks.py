"""What pytest calls: options, the markers, which test a replay leaves, and the end of the session.

Everything else waits until a fixture is used. Read `fixtures.py` next.
"""

from typing import Any

import pytest

from pytest_guardrails.plugin.guards import GUARDRAILS_MARKER
from pytest_guardrails.plugin.stash import ENDINGS, PROPERTY, REPLAYED

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_terminal_summary",
    "pytest_unconfigure",
]


_MARKERS = tuple(
    f"{fixture}({examples}, ...): arguments for every call of the fixture `{fixture}` in this test; "
    "those of the call itself come first"
    for fixture, examples in (
        ("crash", "model=, budget="),
        ("faults", "oracles=, budget="),
        ("race", "oracles=, budget="),
        ("fleet", "faults=, budget="),
    )
)
_OPTIONS = (
    ("seed", "seed of everything drawn by chance"),
    ("budget", "where each exploration stops: 60s, or 1000 states or episodes"),
    ("profile", "quick, ci or deep: gives the budget where nobody does"),
    ("engine", "what records: auto, syscalls or portable"),
    ("no_engine", "what becomes of a test that this machine can't measure: fail, or skip"),
    ("report", "folder in which runs are kept, with their findings"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, each with an ini setting of the same name."""
    group = parser.getgroup("chaos", "crashes and what they leave (pytest-guardrails)")
    for name, what in _OPTIONS:
        option = f"--chaos-{name.replace('_', '-')}"
        group.addoption(option, metavar=name.upper(), default=None, help=what)
        parser.addini(f"chaos_{name}", what, default="")
    group.addoption("--chaos-replay", metavar="ID", default=None, help="try only this finding again, in its test")


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and find out whose finding is to be replayed."""
    for marker in (*_MARKERS, GUARDRAILS_MARKER):
        config.addinivalue_line("markers", marker)
    wanted = config.getoption("--chaos-replay")
    if wanted is None:
        return
    from chaos.errors import UsageError  # noqa: PLC0415 - see above
    from pytest_guardrails.plugin.session import owner_of_finding  # noqa: PLC0415 - see above

    try:
        config.stash[REPLAYED] = owner_of_finding(config, wanted)
    except UsageError as error:
        raise pytest.UsageError(f"--chaos-replay: {error}") from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the test whose finding is replayed, where it is among those collected."""
    wanted = config.stash.get(REPLAYED, "")
    if any(item.nodeid == wanted for item in items):
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid != wanted])
        items[:] = [item for item in items if item.nodeid == wanted]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say what the fixtures of the harness tried, where they were used."""
    reports = [
        one
        for some in terminalreporter.stats.values()
        for one in some
        if any(name == PROPERTY for name, _ in getattr(one, "user_properties", ()))
    ]
    verbosity = config.get_verbosity()
    if not reports or verbosity < 0:
        return
    from pytest_guardrails.plugin.summary import call_line, last_line, told  # noqa: PLC0415 - see above

    if calls := list(told(reports)):
        terminalreporter.write_sep("=", "chaos")
        for test, call in calls if verbosity > 0 else ():
            terminalreporter.write_line(call_line(test, call))
        terminalreporter.write_line(last_line(calls))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close what the fixtures opened."""
    endings = config.stash.get(ENDINGS, None)
    for ending in reversed(endings or ()):
        ending()
