"""Workers that hand notes to a service over a network that cuts, delays and swallows: trusting ones, careful ones."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from chaos.child.witness import Witness

_ANSWER_S = 0.2
_PAUSE_S = 0.005


def service(disk: Path, listening: socket.socket) -> None:
    """Writes each line down that it is sent, once, and sends it back."""
    known: set[str] = set()
    lock = threading.Lock()
    with open(disk / "notes", "a") as file:

        def serve(connection: socket.socket) -> None:
            with suppress(OSError), connection, connection.makefile("rw") as stream:
                for line in stream:
                    if not line.endswith("\n"):
                        return  # cut in the middle
                    with lock:
                        if line not in known:
                            known.add(line)
                            file.write(line)
                            file.flush()
                    stream.write(line)
                    stream.flush()

        while True:
            connection, _ = listening.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()


def notes(disk: Path) -> list[str]:
    path = disk / "notes"
    return path.read_text().split() if path.exists() else []


def _connected() -> socket.socket:
    host, _, port = os.environ["CHAOS_SERVICE"].partition(":")
    return socket.create_connection((host, int(port)), timeout=_ANSWER_S)


def _numbered(witness: Witness) -> Iterator[str]:
    return (f"{os.getpid()}.{witness.number}.{number}" for number in count())


def trusting(_: Path, witness: Witness) -> None:
    """What could be sent counts as done."""
    connection = _connected()
    for note in _numbered(witness):
        try:
            connection.sendall(f"{note}\n".encode())
        except OSError:
            connection.close()
            connection = _connected()
            continue
        witness(note)
        time.sleep(_PAUSE_S)


def careful(_: Path, witness: Witness) -> None:
    """The twin: what was sent back counts as done; without an answer in time it is sent once more, elsewhere."""
    stream = None
    for note in _numbered(witness):
        while True:
            try:
                stream = stream or _connected().makefile("rw")
                stream.write(f"{note}\n")
                stream.flush()
                if stream.readline() == f"{note}\n":
                    break
            except OSError:
                time.sleep(_PAUSE_S)
            with suppress(OSError):
                if stream is not None:
                    stream.close()
            stream = None
        witness(note)
        time.sleep(_PAUSE_S)
