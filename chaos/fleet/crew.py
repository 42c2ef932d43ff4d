"""The harness's side of a fleet's processes: a guardian, a tender, and the workers below. It acts when it is told to.

Nothing of it outlives the harness, whatever happens to that: the guardian sees to it. Read `chaos/child/tender.py` for
what the tender does, `running.py` for who tells it what.
"""

import json
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from typing import Any, final

from chaos.child import tender
from chaos.child.clocks import SLOT_BYTES, Clocks
from chaos.child.isolated import unpack
from chaos.child.tender import PACKET_BYTES, ROLE, Job
from chaos.errors import HarnessFault, NotMeasured, UsageError, refused_target
from chaos.fleet.places import Places
from chaos.fleet.supervised import Gate, Supervised
from chaos.syscalls.launch import Ended, Guarded, launch

__all__ = ["Crew", "refusal"]

_READY_S = 60.0  # importing a large target on a busy machine
_REAPED_S = 10.0
_GRACE_S = 0.2  # what ends within this after the last worker is no leftover


@final
class Crew:
    """Guardian, tender and workers of one fleet; use it as a context manager.

    Args:
        places: where everything lies.
        job: what the tender is told; its roles are specs.
        clocks: whether clocks can be set.
        gate: decides about system calls, under the supervisor; None when none is to be struck.

    Attributes:
        port: at which the service listens; 0 without one.
    """

    def __init__(self, places: Places, job: Job, *, clocks: bool, gate: Gate | None = None) -> None:
        self.places, self._gate = places, gate
        self._supervised: Supervised | None = None
        self.messages: list[dict[str, Any]] = []
        self._clocks: Clocks | None = None
        if clocks:
            job["clocks"] = places.path("clocks")
            self._clocks = _make_clocks(job["clocks"], job["workers"])
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._guarded: Guarded | None = None
        try:
            self._launch(job, theirs)
            answer = self._hear(_READY_S)
            if "wrong" in answer:
                raise refusal(answer)
            self.port = int(answer["port"])
        except BaseException:
            self.close()
            raise
        finally:
            theirs.close()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Readable when there is news."""
        return self._control.fileno()

    def start(self, worker: int, life: int, *, shift_s: float = 0.0, service: str = "") -> None:
        """Start a worker; the steady clocks of all its code are shifted, and it finds the service at an address."""
        self._tell({"start": worker, "life": life, "shift_s": shift_s, "service": service})

    def serve(self) -> None:
        """Start the service; it listens already."""
        self._tell({"serve": True})

    def signal(self, worker: int, number: int) -> None:
        """Send a signal to a worker and its process group; nothing happens when it is not there."""
        self._tell({"signal": number, "worker": worker})

    def limit(self, worker: int, what: str, value: int | None) -> None:
        """Set a limit, or lift it."""
        self._tell({"limit": what, "worker": worker, "value": value})

    def leave_room(self, room_bytes: int | None) -> None:
        """Let so much room be left on the disk; None: all that there was."""
        self._tell({"room": room_bytes})

    def set_clock(self, worker: int, clock: str, *, shift_ns: int = 0, frozen_ns: int = 0) -> None:
        """Set a clock that a worker sees."""
        assert self._clocks is not None
        self._clocks.set(worker, clock, shift_ns=shift_ns, frozen_ns=frozen_ns)

    def news(self) -> list[dict[str, Any]]:
        """What the tender told since the last time."""
        while True:
            try:
                packet = self._control.recv(PACKET_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            except ConnectionResetError:
                packet = b""
            if not packet:
                self._raise_supervisors()
                raise self._fault("it ended")
            self.messages.append(json.loads(packet))
        found, self.messages = self.messages, []
        return found

    def play(self, role: str, deadline_s: float) -> dict[str, Any]:
        """Let a role be played in a process of its own, and return its report; other news waits meanwhile.

        The report has the fields of an outcome, `ending` among them when it is not "returned", and how long it took.
        """
        where = self.places.path(role)
        began = time.monotonic()
        self._tell({"role": role, "to": where, "from": self.places.path("acked")})
        ended = self._await_role(began + deadline_s)
        took_s = time.monotonic() - began
        if ended is None:
            self.signal(ROLE, signal.SIGKILL)
            self._await_role(time.monotonic() + _REAPED_S)
            return {"ending": "hung", "duration_s": took_s}
        try:
            with open(where, "rb") as file:
                content = file.read()
            os.unlink(where)
        except FileNotFoundError:
            code = os.waitstatus_to_exitcode(ended["status"])
            kind = (
                {"ending": "killed", "error_type": "signal"} if code < 0 else {"ending": "exited", "error_type": "exit"}
            )
            return {**kind, "detail": abs(code), "duration_s": took_s}
        report = json.loads(content) if role == "look" else unpack(content)
        return {**report, "duration_s": took_s}

    def end(self) -> tuple[str, ...]:
        """Let the tender go, and return the names of processes that are still there; they are killed."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        if self._supervised is not None:
            self.close()
            return tuple(self._supervised.strays.split())
        if self._guarded is None:
            return ()
        guarded, self._guarded = self._guarded, None
        strays = ""
        poll = select.poll()
        poll.register(guarded.control, select.POLLIN)
        deadline = time.monotonic() + _REAPED_S
        waited_ms = _GRACE_S * 1000
        try:
            while time.monotonic() < deadline:
                if not poll.poll(waited_ms):
                    guarded.kill()
                    waited_ms = _REAPED_S * 1000
                    continue
                message = guarded.read()
                if isinstance(message, Ended):
                    strays = message.names if message.killed else ""
                    break
        finally:
            guarded.end()
            self._control.close()
        return tuple(strays.split())

    def close(self) -> None:
        """Kill whatever is left; closing twice is fine."""
        if self._guarded is not None:
            self._guarded.end()
            self._guarded = None
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()
        if self._clocks is not None:
            self._clocks.close()
        if self._supervised is not None and not self._supervised.join(_REAPED_S):
            raise HarnessFault("the supervisor of a fleet does not end")

    def _launch(self, job: Job, theirs: socket.socket) -> None:
        specs = (job["worker"], job["setup"], job["recover"], job["check"], job["service"])
        forks = any(spec is not None and spec[0] == "callable" for spec in specs)
        if not forks:
            os.set_inheritable(theirs.fileno(), True)
            self._tell({**job})
        command = (sys.executable, "-u", "-c", _PROGRAM, str(theirs.fileno()))
        program = partial(_serve, theirs, self._control, job) if forks else command
        if self._gate is None:
            self._guarded = launch(program, program_filter=(), output=self.places.output)
            theirs.close()  # so that the tender's end is noticed
        else:
            self._supervised = Supervised(program, self.places, self._gate, ended=theirs.close)

    def _await_role(self, deadline: float) -> dict[str, Any] | None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while True:
            for number, message in enumerate(self.messages):
                if message.get("ended") == ROLE:
                    return self.messages.pop(number)
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1000):
                return None
            self.messages = [*self.messages, *self.news()]

    def _hear(self, deadline_s: float) -> dict[str, Any]:
        self._control.settimeout(deadline_s)
        try:
            packet = self._control.recv(PACKET_BYTES)
        except TimeoutError:
            raise UsageError(f"the target could not be imported within {deadline_s:g} s") from None
        except ConnectionResetError:
            packet = b""
        finally:
            self._control.settimeout(None)
        if not packet:
            self._raise_supervisors()
            raise UsageError("importing the target ends its process", "run the import by itself")
        return dict(json.loads(packet))

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError as error:
            raise self._fault(str(error)) from error

    def _raise_supervisors(self) -> None:
        """Raise what the supervisor failed with, if it did."""
        if self._supervised is not None and self._supervised.join(_REAPED_S) and self._supervised.error is not None:
            raise self._supervised.error

    def _fault(self, why: str) -> HarnessFault:
        printed = " ".join(self.places.tail("above").split())[-500:]
        words = f"the process above the fleet's workers is gone: {why}"
        return HarnessFault(f"{words} ({printed})" if printed else words)


_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_PROGRAM = f"import sys; sys.path.append({_PACKAGE_ROOT!r}); from chaos.child.tender import main; main(sys.argv[1:])"


def _serve(theirs: socket.socket, ours: socket.socket, job: Job) -> None:
    ours.close()
    tender.serve(theirs, job)


def refusal(answer: dict[str, Any]) -> Exception:
    """What to raise when the tender says that something is wrong."""
    if answer.get("lacking"):
        return NotMeasured(
            f"this system does not give the fleet what its faults need: {answer['wrong']}", "run it as root"
        )
    return refused_target(str(answer["wrong"]), "run the import by itself")


def _make_clocks(path: str, workers: int) -> Clocks:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(file, SLOT_BYTES * workers)
        return Clocks(file, workers)
    finally:
        os.close(file)
