"""Messages arrive whole, however long they are."""

import threading
from socket import socketpair

import pytest

from chaos.child.link import read_line, send_all


@pytest.mark.parametrize("size", [0, 1, 255, 256, 100_000])
def test_a_line_arrives_whole(size: int) -> None:
    here, there = socketpair()
    line = b"x" * size + b"\n"
    with here, there:
        sender = threading.Thread(target=send_all, args=(there.fileno(), line))
        sender.start()
        assert read_line(here.fileno()) == line
        sender.join()


def test_a_line_whose_sender_is_gone_is_none() -> None:
    here, there = socketpair()
    with here:
        there.sendall(b"half a line")
        there.close()
        assert read_line(here.fileno()) == b""
