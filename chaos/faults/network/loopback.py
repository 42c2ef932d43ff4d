"""A server on loopback, in a thread of its own, that is gone when its owner is.

It listens on 127.0.0.1 alone, on a port that the system chose. The thread is a daemon: it ends with the process. A
child that its owner forks keeps none of its sockets, else a connection closed here would stay open there, and a reset
would never be sent. What the server says is another's business: `proxy.py`, `chaos/faults/llm/server.py`.
"""

import asyncio
import contextlib
import os
import socket
import struct
import weakref
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Coroutine
from threading import Thread
from typing import Any, TypeVar, final

from chaos.errors import UsageError

__all__ = ["HOST", "Loopback", "reset"]

HOST = "127.0.0.1"
_LINGER_NOT = struct.pack("ii", 1, 0)  # on, 0 seconds: a close then drops what is unsent and sends a reset
_BACKLOG = 128
_TURNS = 5  # of the event loop; closing takes 2

_Result = TypeVar("_Result")


def reset(writer: StreamWriter) -> None:
    """Close a connection with a TCP reset instead of an orderly end."""
    with contextlib.suppress(OSError):  # it is closed already
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()


@final
class Loopback:
    """Accepts connections and hands each to `serve`; made running, closed by `close`.

    Guarantees: after `close` no thread, no socket and no task of it is left. Threads: `call` and `close` from any but
    its own; `serve` runs in its own. Forks: it does not run in a child, and `close` there does nothing.

    Attributes:
        port: the port that the system chose.
    """

    def __init__(self, name: str, serve: Callable[[StreamReader, StreamWriter], Awaitable[None]]) -> None:
        """Start to listen; `name` is the thread's."""
        self._serve = serve
        self._owner = os.getpid()
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepted: set[socket.socket] = set()
        self._writers: set[StreamWriter] = set()
        # Holds the port while nobody listens on it: whoever connects then is refused.
        self._holder = _bound(0)
        self.port: int = self._holder.getsockname()[1]
        self._listening: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        _LIVE.add(self)
        self.listen()

    def call(self, function: Callable[[], Coroutine[Any, Any, _Result]]) -> _Result:
        """Run a coroutine in the server's thread and wait for what it returns.

        Raises:
            UsageError: the server is closed, or belongs to the parent process.
        """
        if self._owner != os.getpid() or self._loop.is_closed():
            raise UsageError(f"{self._thread.name} is closed, or runs in another process", "make one here")
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result()

    def listen(self) -> None:
        """Accept connections, if it does not."""
        self.call(self._listen)

    def refuse(self) -> None:
        """Accept no connection: whoever connects is refused, at the same port, until `listen`."""
        self.call(self._refuse)

    def close(self) -> None:
        """Close every connection and end the thread; a second call does nothing."""
        if self._owner != os.getpid() or self._loop.is_closed():
            return
        self.call(self._finish)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._holder.close()
        _LIVE.discard(self)

    def own(self, writer: StreamWriter) -> None:
        """Count a connection among those that no forked child may keep, and that `close` closes."""
        self._writers = {one for one in self._writers if _number(one) >= 0} | {writer}

    def forget(self) -> None:
        """In a forked child: let go of every socket, keeping the numbers taken, since objects still name them."""
        listening = () if self._listening is None else (self._listening.fileno(),)
        accepted = (one.fileno() for one in self._accepted)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (self._holder.fileno(), *listening, *accepted, *map(_number, self._writers)):
            if descriptor >= 0:
                os.dup2(null, descriptor, inheritable=False)
        os.close(null)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    # Not `asyncio.start_server`: a connection that it accepts in the moment in which it is closed is never closed.

    async def _listen(self) -> None:
        if self._listening is None:
            self._listening = _bound(self.port)
            self._listening.setblocking(False)
            self._listening.listen(_BACKLOG)
            self._loop.add_reader(self._listening, self._accept, self._listening)

    async def _refuse(self) -> None:
        if self._listening is not None:
            self._loop.remove_reader(self._listening)
            self._listening.close()
            self._listening = None

    def _accept(self, listening: socket.socket) -> None:
        try:
            connection, _ = listening.accept()
        except OSError:  # whoever it was is gone already, or no descriptor is free just now
            return
        connection.setblocking(False)
        self._accepted = {one for one in self._accepted if one.fileno() >= 0} | {connection}
        task = self._loop.create_task(self._attend(connection))
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._tasks.discard)

    async def _attend(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        self.own(writer)
        try:
            await self._serve(reader, writer)
        except (ConnectionError, TimeoutError):  # the other end is gone, which is its right
            pass
        finally:
            writer.close()

    async def _finish(self) -> None:
        await self._refuse()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await _some_turns()
        for connection in self._accepted:
            connection.close()


async def _some_turns() -> None:
    """Long enough for transports to close their sockets, which they do in a later turn than they were told to."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def _number(writer: StreamWriter) -> int:
    """The descriptor of a connection; -1 when it is closed."""
    number: int = writer.get_extra_info("socket").fileno()
    return number


def _bound(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    one.bind((HOST, port))
    return one


_LIVE: "weakref.WeakSet[Loopback]" = weakref.WeakSet()


def _forget_in_child() -> None:
    for one in list(_LIVE):
        one.forget()
    _LIVE.clear()


os.register_at_fork(after_in_child=_forget_in_child)
