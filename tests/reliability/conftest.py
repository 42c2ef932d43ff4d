"""No test here leaves a process behind, whether it passed or not."""

from collections.abc import Iterator

import pytest

from tests.reliability.processes import kill_leftovers


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    kill_leftovers()
