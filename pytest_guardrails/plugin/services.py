"""The fixtures `fake_llm` and `chaos_proxy` at work: servers of one test, that are gone when it is over.

They fail a test that tested nothing: a script that was too short, faults that hit no byte. Read `guards.py` for the
fixtures, `chaos/faults/llm/server.py` and `chaos/faults/network/proxy.py` for the servers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

import pytest

from chaos.faults.llm import FakeLLM
from chaos.faults.network import ChaosProxy
from chaos.report.text import counted

__all__ = ["ChaosProxies", "chaos_proxies", "scripted_llm"]

_PORTS = range(1, 2**16)


@contextmanager
def scripted_llm(checks: list[Callable[[], None]]) -> Iterator[FakeLLM]:
    """A fake LLM whose script is still to be given: `play`.

    Args:
        checks: what is asked when the test's call has passed.
    """
    with FakeLLM() as server:
        checks.append(lambda: _check_asked(server))
        yield server
        overrun = server.statistics().overrun
    if overrun:
        pytest.fail(
            f"fake_llm: {overrun} request{'s' if overrun > 1 else ''} came when the script was over\n"
            '  next: give it more turns, or say what comes then: fake_llm.play(..., then="last")',
            pytrace=False,
        )


def _check_asked(server: FakeLLM) -> None:
    if server.played and not server.journal():
        pytest.fail(
            "fake_llm: it was given a script, and nobody asked it anything: nothing was tested\n"
            "  next: point the client at it, base_url=fake_llm.url; a test in which nobody may ask plays nothing",
            pytrace=False,
        )


@final
class ChaosProxies:
    """What the fixture `chaos_proxy` gives: call it for a proxy."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made: list[ChaosProxy] = []

    def __call__(self, server: tuple[str, int] | int) -> ChaosProxy:
        """A proxy in front of a server, that passes everything on until it is told otherwise.

        Args:
            server: host and port, or a port on this machine.
        """
        __tracebackhide__ = True
        address = ("127.0.0.1", server) if isinstance(server, int) else server
        if not _is_address(address):
            hint = "\n  next: chaos_proxy(8080), or chaos_proxy(('127.0.0.1', 8080))"
            pytest.fail(f"chaos_proxy: expected a port or (host, port), got {server!r}{hint}", pytrace=False)
        # Each proxy draws for itself, and the second one draws the same whatever the first one was asked.
        proxy = ChaosProxy(address, seed=self._seed + len(self._made))
        self._made.append(proxy)
        return proxy

    def close(self) -> list[str]:
        """Stop all of them; what was not tested, one line each."""
        untested = []
        for proxy in self._made:
            counts = proxy.statistics()
            if proxy.asked and not counts.injected:
                untested.append(
                    f"{counted(counts.connections, 'connection')} came, and no fault took effect: {proxy.asked}"
                )
            proxy.close()
        return untested


def _is_address(given: object) -> bool:
    if not (isinstance(given, tuple) and len(given) == 2):
        return False
    host, port = given
    return isinstance(host, str) and type(port) is int and port in _PORTS


@contextmanager
def chaos_proxies(seed: int) -> Iterator[ChaosProxies]:
    """Makes proxies for one test."""
    proxies = ChaosProxies(seed)
    untested: list[str] = []
    try:
        yield proxies
    finally:
        untested = proxies.close()
    if untested:
        lines = "\n".join(f"  {line}" for line in untested)
        hint = "let the client connect to proxy.address, or widen the fault"
        pytest.fail(f"chaos_proxy: nothing was injected\n{lines}\n  next: {hint}", pytrace=False)
