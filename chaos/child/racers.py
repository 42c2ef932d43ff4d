"""The warm process that racing participants are forked from: the targets are imported once, each episode is some forks.

It runs under the race's filter itself, and so do its children; what they ask for is answered over one listener.
Standard library only. Messages over the control socket, one packet of JSON each:

- first, to here: the job (`workers`, `setup`, `check`: specs as in `actors.py`; `disk`); back `{"ready": pid}`, or
  `wrong`;
- `{"race": true}`: fork one child for each worker; back `{"racers": [pid, ...]}`, then from each child one
  `{"racer": n, "ending": ..., "value" | "error": ...}`;
- `{"run": "setup" | "check", "results": [...]}`: in a child of its own, unsteered; back the same as a racer's;
- `{"reap": true}`: collect what ended; back `{"reaped": n}`.
"""

import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from chaos.child import values
from chaos.child.ack import ACK_DESCRIPTOR
from chaos.child.actors import TargetError, recover_actor, work_actor
from chaos.child.isolated import report_of_error
from chaos.child.witness import Witness

__all__ = ["main"]

_PACKET_BYTES = 1 << 17


def main(arguments: list[str]) -> None:
    """Serve the race at the other end of the inherited socket whose number is given."""
    control = socket.socket(fileno=int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at the terminal it is the harness's alone
    job = json.loads(control.recv(_PACKET_BYTES))
    disk = Path(job["disk"])
    try:
        workers = [work_actor(spec) for spec in job["workers"]]
        check = None if job["check"] is None else work_actor(job["check"])
        setup = None if job["setup"] is None else recover_actor(job["setup"])
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
            pids = [
                _fork(control, number, partial(_race, disk, number, worker)) for number, worker in enumerate(workers)
            ]
            _tell(control, {"racers": pids})
        elif message.get("run") == "setup" and setup is not None:
            os.waitpid(_fork(control, -1, partial(setup, disk)), 0)
        elif message.get("run") == "check" and check is not None:
            results = [values.decode(text) for text in message["results"]]
            os.waitpid(_fork(control, -1, partial(check, disk, results)), 0)
        else:
            _tell(control, {"reaped": _reap()})


def _fork(control: socket.socket, number: int, role: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        _tell(control, {"racer": number, **_outcome(role)})
    finally:
        os._exit(0)


def _race(disk: Path, number: int, worker: Callable[..., Any]) -> Any:
    os.write(ACK_DESCRIPTOR, b"!%d" % number)  # held here until everyone is
    return worker(disk, Witness(number))


def _outcome(role: Callable[[], Any]) -> dict[str, Any]:
    try:
        return {"ending": "returned", "value": values.encode(role())}
    except BaseException as error:  # noqa: BLE001 - the process's edge: whatever the target raises is the result
        return report_of_error(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


def _reap() -> int:
    count = 0
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            count += 1
    except ChildProcessError:
        pass
    return count


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
