"""The fixtures that guard or supply a test of any kind, and the marker `guardrails`.

Each imports its part when it is first used. Read `loops.py`, `finiteness.py`, `leaks.py`, `limits.py`, `services.py`.
"""

# ruff: noqa: PLC0415 - see above

from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from pytest_guardrails.plugin.stash import CHECKS

if TYPE_CHECKING:
    from chaos.faults.llm import FakeLLM
    from pytest_guardrails.plugin.finiteness import Finite
    from pytest_guardrails.plugin.limits import Limits  # noqa: F401 - named by the key below
    from pytest_guardrails.plugin.loops import LoopGuard
    from pytest_guardrails.plugin.services import ChaosProxies

__all__ = [
    "GUARDRAILS_MARKER",
    "chaos_proxy",
    "chaos_seed",
    "fake_llm",
    "finite",
    "guardrails_of_the_test",
    "loop_guard",
    "no_leaks",
    "pytest_fixture_setup",
    "pytest_itemcollected",
    "pytest_runtest_call",
]

GUARDRAILS_MARKER = (
    "guardrails(timeout=, max_rss=, finite=, no_leaks=): limits of this test: '5s' for its call, '100MB' by which the "
    "resident memory may grow, NumPy raising where a NaN is made, nothing left behind"
)
_LIMITS = pytest.StashKey["Limits"]()
_PENDING = pytest.StashKey[bool]()  # whether the guards are still to be begun with
_GUARDS = "_guardrails"


@pytest.fixture
def chaos_seed(request: pytest.FixtureRequest) -> int:
    """The session's seed (--chaos-seed, 0 unless given), for everything that a test draws by chance."""
    from chaos.errors import UsageError
    from pytest_guardrails.plugin.settings import run_options

    try:
        seed = run_options(request.config).seed
    except UsageError as error:
        raise pytest.fail.Exception(f"chaos_seed: {error}", pytrace=False) from None
    request.node.add_report_section("setup", "chaos", f"drawn with --chaos-seed {seed}")
    return seed


@pytest.fixture
def fake_llm(request: pytest.FixtureRequest) -> Iterator["FakeLLM"]:
    """A fake LLM over HTTP on loopback, that does what it is told.

    fake_llm.play("First answer.", Turn(trouble=Trouble.TIMEOUT)); OpenAI(base_url=fake_llm.url, api_key="fake")
    """
    from pytest_guardrails.plugin.services import scripted_llm

    with scripted_llm(request.node.stash.setdefault(CHECKS, [])) as server:
        yield server


@pytest.fixture
def chaos_proxy(chaos_seed: int) -> Iterator["ChaosProxies"]:
    """A proxy in front of any TCP server, that does to connections what it is told.

    proxy = chaos_proxy(port); proxy.inject(Cut(how=Ending.RESET)); connect(proxy.address)
    """
    from pytest_guardrails.plugin.services import chaos_proxies

    with chaos_proxies(chaos_seed) as proxies:
        yield proxies


@pytest.fixture
def loop_guard() -> "LoopGuard":
    """Tell it what each round of a loop brought: it fails a loop that is told the same over and over."""
    from pytest_guardrails.plugin.loops import LoopGuard

    return LoopGuard()


@pytest.fixture
def finite() -> Iterator["Finite"]:
    """Call it with a value: it fails on NaN and infinities. While it is there, NumPy raises where one is made."""
    from pytest_guardrails.plugin.finiteness import Finite, strict_arithmetic

    with strict_arithmetic():
        yield Finite()


@pytest.fixture
def no_leaks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail a test that leaves processes, descriptors, locks, threads or temporary files behind."""
    from pytest_guardrails.plugin.leaks import watched

    with watched(tmp_path_factory.mktemp("no_leaks")):
        yield


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let a test that asks for guards have them; others have nothing more to do than without this plugin."""
    names = getattr(item, "fixturenames", None)
    if names is None or not ("no_leaks" in names or item.get_closest_marker("guardrails")):
        return
    item.stash[_PENDING] = True
    if _GUARDS not in names:
        names.append(_GUARDS)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    """Begin with the guards before the first fixture of the test itself: what that makes and gives back is no leak."""
    if fixturedef.scope == "function" and request.node.stash.get(_PENDING, False):
        if fixturedef.argname in ("no_leaks", "finite"):  # they hold nothing, and the guards may ask for them
            return
        request.node.stash[_PENDING] = False
        if fixturedef.argname == _GUARDS:
            return
        # Raised here, an error would leave this fixture broken for all tests to come. It is kept with the guards, and
        # raised when their own turn comes.
        with suppress(Exception, pytest.fail.Exception):
            request.getfixturevalue(_GUARDS)


@pytest.fixture(name="_guardrails")
def guardrails_of_the_test(request: pytest.FixtureRequest) -> None:
    """Read the marker `guardrails`, and begin with `no_leaks` where it is asked for in whatever way."""
    marker = request.node.get_closest_marker("guardrails")
    if marker is None:
        if "no_leaks" in request.fixturenames:
            request.getfixturevalue("no_leaks")
        return
    from chaos.errors import UsageError
    from pytest_guardrails.plugin.arguments import refusal
    from pytest_guardrails.plugin.limits import limits_of

    try:
        limits = limits_of(marker.args, marker.kwargs)
    except UsageError as error:
        raise pytest.fail.Exception(refusal("guardrails", error), pytrace=False) from None
    request.node.stash[_LIMITS] = limits
    for name, wanted in (("no_leaks", limits.no_leaks), ("finite", limits.finite)):
        if wanted or name in request.fixturenames:
            request.getfixturevalue(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Keep a marked test within its limits of time and memory, and ask in the end whether it tested anything."""
    __tracebackhide__ = True
    limits = item.stash.get(_LIMITS, None)
    if limits is None:
        yield
    else:
        from pytest_guardrails.plugin.limits import limited

        with limited(limits):
            yield
    for check in item.stash.get(CHECKS, ()):
        check()
