"""A TCP proxy on loopback that hurts what passes through it, as its rules say.

    with ChaosProxy(("127.0.0.1", port), seed=7) as proxy:
        proxy.inject(Cut(how=Ending.RESET, after_bytes=100), connections={2})
        ...  # connect to proxy.address
        proxy.heal()

It forwards bytes both ways, passes the end of each stream on, and a reset too, so that without rules it can't be told
from the server. Rules may be changed while connections are open. Read
`chaos/faults/network_rules.py` for what can be done.

The ways of Toxiproxy (toxics, streams, toxicity) are followed where they fit; new here are seeded draws, a cut after an
exact number of bytes, half-open connections, and statistics that tell what was really injected.
"""

import asyncio
import contextlib
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterable, Sequence
from typing import final

from chaos.errors import UsageError, is_usage
from chaos.faults.network.loopback import HOST, Loopback, reset
from chaos.faults.network.pump import Pump
from chaos.faults.network.statistics import Ledger, ProxyStatistics
from chaos.faults.network_rules import Direction, Ending, Fault, Rule, rule_words

__all__ = ["ChaosProxy"]

# In a test that gave a wrong value, pytest shows the line of the test.
__tracebackhide__ = is_usage


@final
class ChaosProxy:
    """A proxy in front of one server; use it as a context manager, or `close` it.

    Guarantees: listens on 127.0.0.1 alone; after `close` no thread and no socket of it is left. Does not: look into
    what it forwards, so a fault is placed by bytes, not by requests. Threads: every method from any. Forks: it does
    not run in a child.

    Attributes:
        host: where it listens: 127.0.0.1.
        port: the port that the system chose.
    """

    def __init__(self, server: tuple[str, int], *, seed: int = 0, rules: Iterable[Rule] = ()) -> None:
        """Listen, and forward to `server`, a host and a port.

        Args:
            server: where to forward to; it need not be there yet.
            seed: of all that is drawn by chance.
            rules: the faults at the start.
        """
        self._flow = _Flow(server, seed, tuple(rules))
        self._loopback = Loopback("chaos proxy", self._flow.serve)
        self._flow.own = self._loopback.own
        self.host, self.port = HOST, self._loopback.port

    def __enter__(self) -> "ChaosProxy":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> tuple[str, int]:
        """What to connect to."""
        return self.host, self.port

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules of now."""
        return self._flow.rules

    @property
    def asked(self) -> str:
        """What was ever asked for, in words; "" when nothing was."""
        return "; ".join(map(_asked_words, self._flow.asked))

    def inject(
        self,
        *faults: Fault,
        direction: Direction | str = Direction.BOTH,
        connections: Iterable[int] | None = None,
        probability: float = 1.0,
    ) -> None:
        """Add faults to what is done already; they take effect on open connections too, from their next bytes on.

        Args:
            faults: what is done.
            direction: to which bytes.
            connections: to which connections, by number, from 1; to all when None.
            probability: to how many of those, by chance.

        Raises:
            UsageError: a number is out of its range, or there is no fault.
        """
        if not faults:
            raise UsageError("inject takes at least one fault", "such as Cut(how=Ending.RESET) or Delay(latency_s=0.1)")
        if direction not in tuple(Direction):
            raise UsageError(
                f"no such direction: {direction!r}", f"choose among: {', '.join(d.value for d in Direction)}"
            )
        if not (connections is None or isinstance(connections, Iterable)):
            raise UsageError(f"connections must be numbers from 1, not {connections!r}", "such as connections=[1]")
        chosen = None if connections is None else frozenset(connections)
        added = [
            Rule(fault=fault, direction=Direction(direction), connections=chosen, probability=probability)
            for fault in faults
        ]
        self._flow.asked.extend(added)
        self._change((*self._flow.rules, *added))

    def refuse(self) -> None:
        """Refuse new connections until `heal`; open ones go on."""
        self._loopback.refuse()
        self._flow.ledger.injected("refuse")

    def obey(self, rules: Iterable[Rule]) -> None:
        """Let these be all the rules, on open connections too, from their next bytes on."""
        self._change(tuple(rules))

    def heal(self) -> None:
        """Take all rules away, and accept connections: what was delayed comes at once, what vanished stays lost."""
        self._change(())
        self._loopback.listen()

    def statistics(self) -> ProxyStatistics:
        """What went through so far, and what was done to it."""
        return self._flow.ledger.read()

    def wait_until(self, holds: Callable[[ProxyStatistics], bool], *, deadline_s: float = 30.0) -> ProxyStatistics:
        """Block until its statistics are as asked, and return them.

        Raises:
            NotMeasured: they were not in time.
        """
        return self._flow.ledger.wait_until(holds, deadline_s)

    def close(self) -> None:
        """Close every connection and stop."""
        self._loopback.close()

    def _change(self, rules: tuple[Rule, ...]) -> None:
        async def change() -> None:
            self._flow.change(rules)

        self._loopback.call(change)


def _asked_words(rule: Rule) -> str:
    chosen = f", connections {', '.join(map(str, sorted(rule.connections)))}" if rule.connections else ""
    chance = f", probability {rule.probability:g}" if rule.probability < 1 else ""
    return f"{rule_words(rule)}{chosen}{chance}"


@final
class _Flow:
    """The proxy's part that lives in the server's thread."""

    def __init__(self, server: tuple[str, int], seed: int, rules: tuple[Rule, ...]) -> None:
        self.ledger = Ledger()
        self.rules = rules
        self.asked: list[Rule] = [*rules]
        self.own: Callable[[StreamWriter], None] = _nothing
        self._server, self._seed = server, seed
        self._change: asyncio.Event | None = None
        self._ends: dict[int, tuple[StreamWriter, StreamWriter]] = {}
        self._endings: dict[int, Ending] = {}

    async def serve(self, reader: StreamReader, client: StreamWriter) -> None:
        number = self.ledger.connection()
        try:
            await self._forward(number, reader, client)
        finally:
            self.ledger.closed()

    async def _forward(self, number: int, reader: StreamReader, client: StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(*self._server)
        except OSError:
            self.ledger.unreachable()
            reset(client)
            return
        self.own(server)
        self._ends[number] = client, server
        try:
            await self._pump(number, (reader, client), (answers, server))
        except OSError:  # an end that was reset, or is gone, is so for the other one too
            reset(client)
            reset(server)
        finally:
            del self._ends[number]
            self._endings.pop(number, None)
            server.close()

    async def _pump(
        self, number: int, client: tuple[StreamReader, StreamWriter], server: tuple[StreamReader, StreamWriter]
    ) -> None:
        pumps = [
            asyncio.create_task(Pump(self, number, direction, source[0], sink[1]).run())
            for direction, source, sink in (
                (Direction.UPSTREAM, client, server),
                (Direction.DOWNSTREAM, server, client),
            )
        ]
        try:
            done, _ = await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in done:
                pump.result()
            if number not in self._endings:
                await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def change(self, rules: tuple[Rule, ...]) -> None:
        self.rules = rules
        if self._change is not None:
            self._change.set()
        self._change = asyncio.Event()

    def faults(self, connection: int, direction: Direction) -> Sequence[tuple[str, Fault]]:
        """See `Flow`."""
        found = []
        for place, rule in enumerate(self.rules):
            seed = f"{self._seed} rule {place}"
            if rule.hits(connection, direction, seed=seed):
                found.append((f"{seed} connection {connection} {direction.value} {rule.fault}", rule.fault))
        return found

    async def wait_changed(self, duration_s: float | None) -> bool:
        """See `Flow`."""
        if self._change is None:
            self._change = asyncio.Event()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._change.wait(), duration_s)
            return True
        return False

    def cut(self, connection: int, ending: Ending) -> None:
        """See `Flow`."""
        self._endings[connection] = ending
        for end in self._ends.get(connection, ()):
            if ending is Ending.RESET:
                reset(end)
            elif ending is Ending.TRUNCATE:
                end.write_eof()

    def ending(self, connection: int) -> Ending | None:
        """See `Flow`."""
        return self._endings.get(connection)


def _nothing(_: StreamWriter) -> None:
    pass
