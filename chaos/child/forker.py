"""The lean process that a crash state's recovery is forked from: the target, a few modules, nothing else.

A fork costs what its parent's memory costs, so neither the trace nor the models are here; the worker that lays out
the states (`chaos/explore/worker.py`) holds those, starts one forker, and tells it what to run. Standard library
only. Messages over the link, each behind its length (8 bytes, little endian):

- first, to the forker: its job in JSON (`Stage` says what is in it); back: `ready`, or what is wrong with the target;
- then, to the forker: `r` or `w` (recover, work), the number of acknowledgements made before the crash, and those
  made since, in JSON; back: an `Ended`.
"""

import faulthandler
import json
import os
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

from chaos.child import values
from chaos.child.actors import AckFile, TargetError, check_actor, recover_actor, work_actor
from chaos.child.cell import Abandoned, Cell, Ended, Limits
from chaos.child.isolated import Errand
from chaos.child.reaping import adopt_descendants, end_strays

__all__ = ["READY", "Stage", "main", "pack_ended", "read_message", "send_message", "unpack_ended"]

READY = b"ready"
_LENGTH = struct.Struct("<Q")
_ENDED = struct.Struct("<iBBdIIII")  # code, cut, phase, seconds; then the lengths of output, strays, reports, report
_CHUNK_BYTES = 1 << 18
_WARM_UP_ROUNDS = 20  # the interpreter adapts code as it runs, which writes to memory: let it do so before forking


@final
class Stage:
    """The roles of a target, bound to one folder, ready to be run."""

    def __init__(self, job: dict[str, Any]) -> None:
        """Import the targets.

        Args:
            job: `recover`, `check`, `work`: specs or None; `folder`: this worker's own, which holds `disk` and
                `acks`; `acks`: canonical texts of all acknowledgements; `leftovers`: whether to look for them.

        Raises:
            TargetError: a target can't be found or imported.
        """
        self.folder = os.path.join(job["folder"], "disk")
        self.acks = AckFile(os.path.join(job["folder"], "acks"))
        self._disk = Path(self.folder)
        self._recover = recover_actor(job["recover"])
        self._check = None if job["check"] is None else check_actor(job["check"], self.folder)
        self._work = None if job["work"] is None else work_actor(job["work"])
        self._acked = [values.decode(text) for text in job["acks"]]
        self._leftovers = bool(job["leftovers"])

    def recovery(self, acked: int, since: Sequence[str] = ()) -> Errand:
        """Recovery and the check after a crash with so many acknowledgements, and some made since."""
        known: list[Any] = []
        if self._check is not None:
            known = [*self._acked[:acked], *map(values.decode, since)]
        return Errand(self._recover, (self._disk,), self.folder, self._check, known, self._leftovers)

    def work(self) -> Errand:
        """The workload run on."""
        assert self._work is not None
        return Errand(_run_on, (self._work, self._disk, self.acks), self.folder)


def _run_on(work: Callable[..., Any], disk: Path, acks: AckFile) -> Any:
    acks.open_channel()
    return work(disk, acks)


def main(arguments: list[str]) -> None:
    """Serve the worker at the other end of the inherited socket whose number is given."""
    link = int(arguments[0])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    adopt_descendants()
    content = read_message(link)
    if content is None:
        return
    job = json.loads(content)
    try:
        stage = Stage(job)
    except TargetError as error:
        send_message(link, str(error).encode())
        return
    cell = Cell(link, Limits(*job["limits"]), lasting=True)
    faulthandler.enable(2)
    _warm_up(stage)
    cell.warm()
    send_message(link, READY)
    try:
        while (message := read_message(link)) is not None:
            send_message(link, pack_ended(cell.run(_errand(stage, message))))
    except (Abandoned, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        end_strays()


def _errand(stage: Stage, message: bytes) -> Errand:
    if message[:1] == b"w":
        return stage.work()
    acked, _, since = message[1:].partition(b" ")
    return stage.recovery(int(acked), json.loads(since) if since else ())


def _warm_up(stage: Stage) -> None:
    for _ in range(_WARM_UP_ROUNDS):
        values.decode(values.encode({"warm": ["up", 1, 2.5, None, True]}))
        _errand(stage, b"r0")


def send_message(link: int, content: bytes) -> None:
    """Send a message, waiting as long as it takes.

    Raises:
        OSError: the other end is gone.
    """
    rest = memoryview(_LENGTH.pack(len(content)) + content)
    while rest:
        rest = rest[os.write(link, rest) :]


def read_message(link: int) -> bytes | None:
    """The next message, waited for; None when the other end is gone."""
    head = _exactly(link, _LENGTH.size)
    return None if head is None else _exactly(link, _LENGTH.unpack(head)[0])


def _exactly(link: int, size: int) -> bytes | None:
    try:
        first = os.read(link, size)
        if len(first) == size:
            return first
        buffer = bytearray(first)
        while first and len(buffer) < size:
            first = os.read(link, min(_CHUNK_BYTES, size - len(buffer)))
            buffer += first
    except ConnectionResetError:
        return None
    return bytes(buffer) if len(buffer) == size else None


def pack_ended(ended: Ended) -> bytes:
    """How a run ended, as a message."""
    strays = "\n".join(ended.strays).encode("utf-8", "replace")
    report = ended.reports[0] if ended.reports else b""
    head = _ENDED.pack(
        ended.code, ended.cut, ended.phase, ended.duration_s, len(ended.output), len(strays), len(ended.reports),
        len(report),
    )  # fmt: skip
    return b"".join((head, ended.output, strays, report))


def unpack_ended(message: bytes) -> Ended:
    """A message as how a run ended."""
    code, cut, phase, seconds, output, strays, reports, _ = _ENDED.unpack_from(message)
    start = _ENDED.size
    printed = message[start : start + output]
    left = message[start + output : start + output + strays].decode("utf-8", "replace")
    report = message[start + output + strays :]
    return Ended([report] if reports else [], code, cut, phase, printed, tuple(left.splitlines()), seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
