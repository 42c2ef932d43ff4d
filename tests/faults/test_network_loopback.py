"""The server under the proxy and under the fake LLM: what it holds, and what it gives back."""

import asyncio
import gc
import os
import socket
import threading
from asyncio import StreamReader, StreamWriter

import pytest

from chaos.errors import UsageError
from chaos.faults.network.loopback import Loopback

PATIENCE_S = 30.0


async def talk_on(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(bytes(64 << 20))  # more than any socket holds: the rest waits here for the client to read
    await asyncio.Event().wait()


def test_closing_gives_up_what_a_client_does_not_read() -> None:
    gc.collect()  # rubbish of other tests must not go while this one counts
    descriptors, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    server = Loopback("test", talk_on)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) as client:
        assert client.recv(1) == b"\0"
        server.close()
        assert len(os.listdir("/proc/self/fd")) == descriptors + 1  # the client's
    assert threading.active_count() == threads


def test_closing_leaves_nothing_of_connections_that_are_just_being_made() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        server = Loopback("test", talk_on)
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S) for _ in range(5)]
        server.close()
        for client in clients:
            client.close()
    gc.collect()  # what was not closed warns now, and a warning is an error
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_it_can_not_be_used_in_a_child() -> None:
    server = Loopback("test", talk_on)
    child = os.fork()
    if child == 0:
        try:
            server.refuse()
        except UsageError:
            server.close()  # and this does nothing
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE_S):
        pass
    server.close()
    with pytest.raises(UsageError, match="closed"):
        server.listen()
