"""No test here leaves a process behind, whether it passed or not; and a folder that is quick to sync."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.processes import kill_leftovers


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    kill_leftovers()


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """In memory where that is possible: for what is laid out and opened thousands of times and never loses power."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        yield Path(folder)
