"""Acknowledgements: how a workload says "from here on this must survive".

Under the supervisor an acknowledgement is a `write` to a descriptor number that no process can have open; it is
trapped before the kernel looks at the number, so it works after `os.closerange`, after a fork and after an exec,
and it stands in order with the operations. Other engines name a channel in the environment variable
`CHAOS_ACK_FD`: a descriptor to which one line of JSON is written. A worker of a fleet has a chronicle instead
(`chronicle.py`), which its own process is given by `state_in` and programs that it starts by the environment.
From a shell: `python -m chaos.child.ack VALUE`.

Standard library only, for it runs inside targets. Read `run.py` next.
"""

import json
import os
import sys
from errno import EBADF

from chaos.child.chronicle import CHRONICLE_VARIABLE, Chronicle
from chaos.child.values import encode

__all__ = ["ACK_DESCRIPTOR", "CHANNEL_VARIABLE", "NoSupervisorError", "ack", "ack_text", "state_in"]

ACK_DESCRIPTOR = 0x6ACE_D00D  # above any limit on open files that a kernel accepts (at most 2**30)
CHANNEL_VARIABLE = "CHAOS_ACK_FD"
_joined: list[Chronicle] = []  # this process's own chronicle; empty when there is none


class NoSupervisorError(RuntimeError):
    """Nobody is there to hear an acknowledgement."""


def ack_text(text: str) -> None:
    """Acknowledge a value that is canonical JSON text already; in a fleet, state what has its letter in front.

    Raises:
        NoSupervisorError: this process runs under no engine, and no channel is named.
    """
    chronicle = _chronicle()
    if chronicle is not None:
        chronicle.append(text)
        return
    data = text.encode("utf-8", "surrogatepass")
    channel = os.environ.get(CHANNEL_VARIABLE)
    if channel:
        _write_all(int(channel), data + b"\n")
        return
    try:
        os.write(ACK_DESCRIPTOR, data)
    except OSError as error:
        if error.errno != EBADF:
            raise
        raise NoSupervisorError(
            f"ack({text[:80]}) was called outside any recording: run this program by `chaos record`, `chaos run` or "
            f"the fixture `crash`, or name a channel's descriptor in {CHANNEL_VARIABLE}"
        ) from None


def ack(value: object) -> None:
    """Acknowledge any plain value, as the canonical text that `values.encode` gives it.

    Raises:
        NoSupervisorError: this process runs under no engine, and no channel is named.
        Unencodable: the value has no text.
    """
    text = encode(value)
    ack_text(text if _chronicle() is None else "a" + text)


def state_in(chronicle: Chronicle) -> None:
    """From now on whatever this process acknowledges, and its forks, goes into a fleet's chronicle."""
    _joined[:] = [chronicle]


def _chronicle() -> Chronicle | None:
    if not _joined and CHRONICLE_VARIABLE in os.environ:
        state_in(Chronicle.from_environment(os.environ[CHRONICLE_VARIABLE]))
    return _joined[0] if _joined else None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m chaos.child.ack VALUE   (JSON, or else taken as a string)\n")
        return 2
    try:
        value = json.loads(arguments[0])
    except ValueError:
        value = arguments[0]
    try:
        ack(value)
    except NoSupervisorError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
