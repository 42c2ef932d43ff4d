"""Settings shared by all tests: property tests run derandomised unless a nightly run asks for chance; Ctrl-C works.

The tests start thousands of interpreters. Where bytecode is not to be written into this checkout, each of them would
compile every module anew, a third of all the time; they share a cache in a temporary folder then.
"""

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings

from tests.warm import warm_pytest_ends

settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", parent=settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and every program started by a test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]


def share_bytecode() -> str:
    """Let this process and all that it starts keep bytecode in a new temporary folder, unless they keep it anyway."""
    if not sys.dont_write_bytecode or sys.pycache_prefix:
        return ""
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = tempfile.mkdtemp(prefix="bytecode-")
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return sys.pycache_prefix


BYTECODE = share_bytecode()  # now: xdist starts its workers, which must have it too, before it asks any hook


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Three for two processors: for a quarter of their time tests wait, for disks, children and deadlines."""
    return max(2, len(os.sched_getaffinity(0)) * 3 // 2)


def pytest_unconfigure() -> None:
    if BYTECODE:
        shutil.rmtree(BYTECODE, ignore_errors=True)  # a process that a test left to die may still write


def descriptors_of_the_harness() -> set[str]:
    """Files in the harness's own folders that this process has open, without waiting for a collection."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # the listing's own
            found.add(f"{number}: " + os.readlink(f"/proc/self/fd/{number}"))
    return {file for file in found if "/chaos-" in file}


@pytest.fixture(autouse=True)
def no_descriptor_of_the_harness_is_left() -> Iterator[None]:
    """What is run a thousand times in one process must not keep one file each time."""
    before = descriptors_of_the_harness()
    yield
    assert descriptors_of_the_harness() <= before


@pytest.fixture(autouse=True, scope="session")
def _no_warm_pytest_is_left() -> Iterator[None]:
    with warm_pytest_ends():
        yield
