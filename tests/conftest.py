"""Settings shared by all tests: property tests run derandomised unless a nightly run asks for chance; Ctrl-C works."""

import os
import signal

from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", derandomize=True, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("nightly", parent=settings.get_profile("ci"), derandomize=False, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background so, and every program started by a test would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["pytester"]
