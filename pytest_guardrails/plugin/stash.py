"""Under which keys the plugin keeps what it knows with pytest's session and tests. Read `hooks.py` next."""

from collections.abc import Callable

import pytest

__all__ = ["CHECKS", "ENDINGS", "PROPERTY", "REPLAYED"]

# Of a test's report: the name of the properties that tell what was tried.
PROPERTY = "chaos"

# Of the session: what has to be closed when it ends; whoever opens something puts its closing function here.
ENDINGS = pytest.StashKey[list[Callable[[], None]]]()
# Of the session: the test whose finding is tried again, by its node id.
REPLAYED = pytest.StashKey[str]()
# Of a test: what is asked when its call has passed, each failing it when it tested nothing; fixtures add to it.
CHECKS = pytest.StashKey[list[Callable[[], None]]]()
