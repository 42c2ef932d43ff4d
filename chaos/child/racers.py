"""The warm process that racing participants are forked from: the targets are imported once, each episode is some forks.

It runs under the race's filter itself, and so do its children; what they ask for is answered over one listener.
Standard library only. Messages over the control socket, one packet of JSON each:

- first, to here: the job (`workers`, `setup`, `check`: specs as in `actors.py`; `disk`; `clock`: path of the shared
  memory of the steady clock that racers see); back `{"ready": pid}`, or
  `wrong`;
- `{"race": true, "frames": address, "environment": {...}}`: fork one child for each worker; back `{"racers": [pid,
  ...]}`; with an address they can tell their source lines there;
- `{"run": "setup" | "check", "results": [...]}`: in a child of its own, unsteered; back `{"running": pid}`;
- from each child `{"racer": n, "ending": ..., "value" | "error": ...}`, n = -1 from the unsteered;
- `{"reap": [pid, ...]}`, once they have ended: back `{"reaped": [wait status, ...]}`.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from chaos.child import frames, values
from chaos.child.ack import ACK_DESCRIPTOR
from chaos.child.actors import Spec, TargetError, objecting, recover_actor, work_actor
from chaos.child.clocks import Clocks, interpose
from chaos.child.isolated import report_of_error
from chaos.child.lean import Any
from chaos.child.witness import Witness

__all__ = ["main", "serve"]

_PACKET_BYTES = 1 << 17
_VALUE_LIMIT = 1 << 16  # characters; a packet must hold it
_UNSTEERED = -1


def main(arguments: list[str]) -> None:
    """Serve the race at the other end of the inherited socket whose number is given; the job comes over it."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    serve(control, json.loads(control.recv(_PACKET_BYTES)))


def serve(control: socket.socket, job: dict[str, Any]) -> None:
    """Serve a race until the other end of the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at the terminal it is the harness's alone
    disk = Path(job["disk"])
    shown = _interposed(job["clock"])  # before the targets are imported
    try:
        workers = [work_actor(spec) for spec in job["workers"]]
        unsteered = {
            "setup": None if job["setup"] is None else recover_actor(job["setup"]),
            "check": None if job["check"] is None else _check_actor(job["check"]),
        }
    except TargetError as error:
        _tell(control, {"wrong": str(error)})
        return
    gc.collect()
    gc.freeze()
    gc.disable()
    _tell(control, {"ready": os.getpid()})
    while packet := control.recv(_PACKET_BYTES):
        message = json.loads(packet)
        if "race" in message:
            races = [partial(_race, disk, number, worker, message, shown) for number, worker in enumerate(workers)]
            _tell(control, {"racers": [_fork(control, number, race) for number, race in enumerate(races)]})
        elif "run" in message:
            role = unsteered[message["run"]]
            results = [[values.decode(text) for text in message["results"]]] if "results" in message else []
            _tell(control, {"running": _fork(control, _UNSTEERED, partial(_called, role, disk, *results))})
        else:
            _tell(control, {"reaped": [os.waitpid(pid, 0)[1] for pid in message["reap"]]})


def _interposed(path: str) -> Clocks:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    shown = Clocks(file, 1)
    os.close(file)
    interpose(shown, wall=False)  # the files' times, which it is held against, can't be shifted
    return shown


def _check_actor(spec: Spec) -> Callable[..., Any]:
    """What is behind a check, to be called `check(disk, results)`; a command's value is what it prints."""
    if spec[0] != "command":
        return objecting(work_actor(spec))
    check = recover_actor(spec)
    return lambda disk, _: check(disk)


def _called(role: Callable[..., Any] | None, *arguments: Any) -> Any:
    return None if role is None else role(*arguments)


def _fork(control: socket.socket, number: int, role: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as the target would have it
        _tell(control, {"racer": number, **_outcome(role)})
    finally:
        os._exit(0)


def _race(disk: Path, number: int, worker: Callable[..., Any], message: dict[str, Any], shown: Clocks) -> Any:
    shown.worker = 0
    if "random" in sys.modules:  # a fork seeds it anew from the system, and then no two episodes would be alike
        sys.modules["random"].seed(number)
    os.environ.update(message["environment"])
    if message["frames"]:
        frames.start(message["frames"])
    os.write(ACK_DESCRIPTOR, b"!%d" % number)  # held here until everyone is
    return worker(disk, Witness(number))


def _outcome(role: Callable[[], Any]) -> dict[str, Any]:
    try:
        value = values.encode(role())
        if len(value) > _VALUE_LIMIT:
            raise ValueError(f"the value returned takes {len(value)} characters; a race can carry {_VALUE_LIMIT}")
        return {"ending": "returned", "value": value}
    except BaseException as error:  # noqa: BLE001 - the process's edge: whatever the target raises is the result
        return report_of_error(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # the target closed it
                stream.flush()


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
