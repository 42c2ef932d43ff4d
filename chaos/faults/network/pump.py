"""One direction of one connection: reads, hurts as the rules say, passes on. Read `proxy.py` for who makes pumps.

Two tasks and a queue between them: the one that reads decides what becomes of each piece of data and when it is due,
the one that writes waits for that moment, so that many pieces are under way at once as on a real line. Rules are looked
up anew for each piece; when they change, nothing waits any longer for a fault that is gone.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol, final

from chaos.faults.network.corruption import Corrupter
from chaos.faults.network.loopback import reset
from chaos.faults.network.statistics import Ledger
from chaos.faults.network_rules import Corrupt, Cut, Delay, Direction, Ending, Fault, SlowClose, Throttle

__all__ = ["Flow", "Pump"]

_PIECE_BYTES = 64 << 10
_UNDER_WAY = 64  # pieces between the two tasks, 4 MiB: as much as a fast line holds
_SLICES_PER_S = 20  # in how many small pieces a throttled second is sent


class Flow(Protocol):
    """What a pump asks of its proxy; all of it in the server's thread."""

    ledger: Ledger

    def faults(self, connection: int, direction: Direction) -> Sequence[tuple[str, Fault]]:
        """The faults of now, each with the seed of what it draws."""
        ...

    async def wait_changed(self, duration_s: float | None) -> bool:
        """Wait until the rules are other ones, or until the time is over; tells whether they are other ones."""
        ...

    def cut(self, connection: int, ending: Ending) -> None:
        """Note that a connection is cut; with RESET and TRUNCATE both ends are told."""
        ...

    def ending(self, connection: int) -> Ending | None:
        """How the connection was cut, if it was."""
        ...


@final
@dataclass(frozen=True, slots=True)
class _Piece:
    """Data on its way, or the end of the stream (no data), or a cut."""

    data: bytes
    due: float
    ending: Ending | None = None


@final
class Pump:
    """Moves bytes from `source` to `sink` until the stream ends or the connection is cut."""

    def __init__(
        self, flow: Flow, connection: int, direction: Direction, source: StreamReader, sink: StreamWriter
    ) -> None:
        self._flow, self._connection, self._direction = flow, connection, direction
        self._source, self._sink = source, sink
        self._queue: asyncio.Queue[_Piece] = asyncio.Queue(_UNDER_WAY)
        self._read_bytes = 0
        self._swallowing = False
        self._random: dict[str, Random] = {}
        self._corrupters: dict[str, Corrupter] = {}

    async def run(self) -> None:
        """Move bytes until the end.

        Raises:
            ConnectionError: one end was reset.
        """
        reading = asyncio.create_task(self._read())
        writing = asyncio.create_task(self._write())
        try:
            await _both(reading, writing)
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while data := await self._source.read(_PIECE_BYTES):
                if not await self._take(data):
                    return
        except ConnectionError:
            if not self._vanishes():
                raise
        if not self._vanishes():
            await self._queue.put(_Piece(b"", self._due()))

    async def _take(self, data: bytes) -> bool:
        """Decide about a piece of data; False when nothing after it counts."""
        before, self._read_bytes = self._read_bytes, self._read_bytes + len(data)
        cut = self._cut_now()
        if self._flow.ending(self._connection) is not None:  # in the other direction
            return True
        if cut is None:
            self._swallowing = False
            await self._queue.put(_Piece(self._changed(data), self._due()))
            return True
        kept = data[: max(0, cut.after_bytes - before)]
        if kept:
            await self._queue.put(_Piece(self._changed(kept), self._due()))
        self._flow.ledger.injected("swallowed", len(data) - len(kept))
        if cut.how is not Ending.BLACKHOLE:
            await self._queue.put(_Piece(b"", self._due(), cut.how))
            return False
        if not self._swallowing:
            self._swallowing = True
            self._flow.ledger.injected(cut.how.value)
        return True

    def _cut_now(self) -> Cut | None:
        """The cut that the bytes read so far have reached, the earliest of several."""
        cuts = [fault for _, fault in self._faults() if isinstance(fault, Cut)]
        reached = [cut for cut in cuts if cut.after_bytes < self._read_bytes]
        return min(reached, key=lambda cut: cut.after_bytes, default=None)

    def _vanishes(self) -> bool:
        """Whether the end of this stream, if it came now, is one that nobody is told of."""
        if self._flow.ending(self._connection) is not None:
            return True
        cuts = [fault for _, fault in self._faults() if isinstance(fault, Cut) and fault.how is Ending.BLACKHOLE]
        return any(cut.after_bytes <= self._read_bytes for cut in cuts)

    def _changed(self, data: bytes) -> bytes:
        for seed, fault in self._faults():
            if isinstance(fault, Corrupt):
                if seed not in self._corrupters:
                    self._corrupters[seed] = Corrupter(fault.rate, seed)
                corrupter = self._corrupters[seed]
                flipped = corrupter.flipped
                data = corrupter.feed(data)
                self._flow.ledger.injected("corrupt", corrupter.flipped - flipped)
        return data

    def _due(self) -> float:
        """When what was just read is to arrive; what was read before it goes first in any case."""
        now = asyncio.get_running_loop().time()
        delays = [fault.draw_s(self._drawing(seed)) for seed, fault in self._faults() if isinstance(fault, Delay)]
        if delays:
            self._flow.ledger.injected("delay")
        return now + sum(delays)

    def _drawing(self, seed: str) -> Random:
        if seed not in self._random:
            self._random[seed] = Random(seed)  # noqa: S311 - reproducible on purpose
        return self._random[seed]

    async def _write(self) -> None:
        while True:
            piece = await self._queue.get()
            await self._wait_due(piece.due)
            if piece.ending is not None:
                await self._end(piece.ending)
                return
            if not piece.data:
                await self._close()
                return
            await self._send(piece.data)

    async def _wait_due(self, due: float) -> None:
        while (left := due - asyncio.get_running_loop().time()) > 0:
            changed = await self._flow.wait_changed(left)
            if changed and not any(isinstance(fault, Delay) for _, fault in self._faults()):
                return

    async def _send(self, data: bytes) -> None:
        while data and (rate := self._rate()):
            self._flow.ledger.injected("throttle")
            size = max(1, int(rate / _SLICES_PER_S))
            piece, data = data[:size], data[size:]
            await self._pass(piece)
            await self._flow.wait_changed(len(piece) / rate)
        if data:
            await self._pass(data)

    def _rate(self) -> float:
        return min((fault.bytes_per_s for _, fault in self._faults() if isinstance(fault, Throttle)), default=0.0)

    async def _pass(self, data: bytes) -> None:
        if self._flow.ending(self._connection) is None:
            # Counted first: who has got the bytes, and asks, is told of them.
            self._flow.ledger.passed(self._direction, len(data))
            self._sink.write(data)
            await self._sink.drain()

    async def _close(self) -> None:
        """Pass the end of the stream on; the other direction may go on."""
        delay_s = sum(fault.delay_s for _, fault in self._faults() if isinstance(fault, SlowClose))
        if delay_s:
            self._flow.ledger.injected("slow close")
            await self._flow.wait_changed(delay_s)
        if self._flow.ending(self._connection) is None:
            self._sink.write_eof()

    async def _end(self, ending: Ending) -> None:
        self._flow.ledger.injected(ending.value)
        self._flow.cut(self._connection, ending)
        if ending is Ending.HALF_OPEN:
            reset(self._sink)
            await self._wait_healed_or_gone()
            # The next packet of an end that still believes in the connection would be answered so.
            self._flow.cut(self._connection, Ending.RESET)
        elif ending is Ending.TRUNCATE:
            await self._wait_gone()

    async def _wait_healed_or_gone(self) -> None:
        gone = asyncio.create_task(self._wait_gone())
        healed = asyncio.create_task(self._wait_healed())
        try:
            await asyncio.wait({gone, healed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            healed.cancel()
            await asyncio.gather(gone, healed, return_exceptions=True)

    async def _wait_gone(self) -> None:
        while await self._source.read(_PIECE_BYTES):
            pass

    async def _wait_healed(self) -> None:
        while self._cut_now() is not None:
            await self._flow.wait_changed(None)

    def _faults(self) -> Sequence[tuple[str, Fault]]:
        return self._flow.faults(self._connection, self._direction)


async def _both(reading: "asyncio.Task[None]", writing: "asyncio.Task[None]") -> None:
    """Wait until all is written, or one of the two failed."""
    await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_EXCEPTION)
    for task in (reading, writing):
        if task.done():
            task.result()
