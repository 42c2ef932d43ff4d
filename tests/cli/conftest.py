"""One process checks states, unless a test says how many: pytest runs as many tests at once as there are processors."""

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="package")
def _one_job() -> Iterator[None]:
    """Each exploration starts a crew, which takes longer than the few states of most of these scenarios."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CHAOS_JOBS", "1")
        yield
