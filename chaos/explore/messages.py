"""What travels between an exploration and its workers: JSON texts, each behind its length; one pickled job first.

Both ends belong to one exploration and no third party can reach the socket, so the job may be pickled. Answers are
turned into `Outcome`s here. Read `crew.py` next.
"""

import json
import struct
from typing import Any, final

from chaos.explore.server import Answer
from chaos.observations import Ending, Outcome
from chaos.trace.model import Frame

__all__ = ["Inbox", "outcome_of", "packed"]

_LENGTH = struct.Struct("<Q")
_TUPLES = ("acks", "names", "leftovers")


def packed(message: object) -> bytes:
    """A message ready to send."""
    text = message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
    return _LENGTH.pack(len(text)) + text


@final
class Inbox:
    """Cuts a stream that arrives in pieces into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, piece: bytes) -> list[Any]:
        """Messages complete with this piece."""
        self._buffer += piece
        found = []
        while len(self._buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            found.append(json.loads(bytes(self._buffer[_LENGTH.size : end])))
            del self._buffer[:end]
        return found


def outcome_of(answer: Answer) -> Outcome:
    """A worker's answer as an outcome."""
    fields = dict(answer)
    fields["ending"] = Ending(fields.get("ending", "returned"))
    if "frames" in fields:
        fields["frames"] = tuple(Frame(file, line, function) for file, line, function in fields["frames"])
    for name in _TUPLES:
        if name in fields:
            fields[name] = tuple(fields[name])
    return Outcome(**fields)
