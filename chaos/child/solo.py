"""The warm process that runs of one target are forked from, one at a time, and that ends what a run leaves running.

The targets are imported once. This process adopts every orphan of a run, and ends them with it; when the other end of
the control socket is gone, it does so too and leaves. Standard library only. Messages, one packet of JSON each:

- first, to here: the job (`roles`: name -> spec as in `actors.py`); back `{"ready": pid}`, or `{"wrong": why}`;
- `{"run": name, "disk": folder, "env": {...}, "values": [...]}`: in a fork, `role(disk, *values)`; back the fields of
  its outcome, and `output`, the tail of what it printed;
- `{"stop": true}`: end what runs; back `{"ending": "hung"}`. A run that is over already answers for itself, and the
  stop that comes too late is passed over.

Read `chaos/scenario/runner/agent_runs.py` for the other end.
"""

import gc
import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

from chaos.child import values
from chaos.child.actors import TargetError, objecting, recover_actor
from chaos.child.adoption import adopt_descendants
from chaos.child.isolated import report_of_error
from chaos.child.lean import Any
from chaos.child.reaping import end_strays

__all__ = ["PACKET_BYTES", "main"]

PACKET_BYTES = 1 << 17
_VALUE_BYTES = 1 << 15  # of a value's text, so that a report fits into a packet
_OUTPUT_BYTES = 4000


def main(arguments: list[str]) -> None:
    """Serve the runs asked for at the other end of the inherited socket whose number is given."""
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at the terminal it is the harness's alone
    adopt_descendants()
    job = json.loads(control.recv(PACKET_BYTES))
    try:
        roles = {name: recover_actor(spec) for name, spec in job["roles"].items()}
        if "check" in roles:
            roles["check"] = objecting(roles["check"])
    except TargetError as error:
        _tell(control, {"wrong": str(error)})
        return
    gc.collect()
    gc.freeze()
    _tell(control, {"ready": os.getpid()})
    while packet := control.recv(PACKET_BYTES):
        message = json.loads(packet)
        if "run" in message:
            report = _run(control, roles[message["run"]], message)
            if report is None:
                break
            _tell(control, report)
    end_strays()


def _run(control: socket.socket, role: Callable[..., Any], message: dict[str, Any]) -> dict[str, Any] | None:
    """One run, to its end; None when nobody wants to know any more."""
    report, printed = os.memfd_create("report"), os.memfd_create("output")
    try:
        pid = os.fork()
        if pid == 0:
            _be_child(role, message, report, printed)
        ending = _wait(control, pid)
        strays = end_strays()
        if ending is None:
            return None
        found = _found(report) or ending
        size = os.lseek(printed, 0, os.SEEK_END)
        output = os.pread(printed, _OUTPUT_BYTES, max(0, size - _OUTPUT_BYTES)).decode("utf-8", "replace")
        return {**found, "output": output, "leftovers": list(strays) if found is not ending else []}
    finally:
        os.close(report)
        os.close(printed)


def _wait(control: socket.socket, pid: int) -> dict[str, Any] | None:
    """How the run ended, if it has no report of its own; None when the other end is gone."""
    handle = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.register(control, select.POLLIN)
    try:
        ready = {descriptor for descriptor, _ in poll.poll()}
        if handle in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if code < 0:
                return {"ending": "killed", "error_type": "signal", "detail": -code}
            return {"ending": "exited", "error_type": "exit", "detail": code}
        if not control.recv(PACKET_BYTES):
            return None
        return {"ending": "hung", "error_type": "deadline"}
    finally:
        os.close(handle)


def _be_child(role: Callable[..., Any], message: dict[str, Any], report: int, printed: int) -> None:
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        os.environ.update(message["env"])
        given = [values.decode(text) for text in message["values"]]
        me = os.getpid()
        found = _outcome(role, Path(message["disk"]), given)
        if os.getpid() == me:  # else a fork of the target came back, too
            os.write(report, json.dumps(found).encode())
    finally:
        os._exit(0)


def _outcome(role: Callable[..., Any], disk: Path, given: list[Any]) -> dict[str, Any]:
    try:
        return {"ending": "returned", "value": values.encode(role(disk, *given), _VALUE_BYTES)}
    except BaseException as error:  # noqa: BLE001 - the process's edge: whatever the target raises is the result
        return report_of_error(error)
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()


def _found(report: int) -> dict[str, Any] | None:
    content = os.pread(report, PACKET_BYTES, 0)
    return dict(json.loads(content)) if content else None


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    control.send(json.dumps(message).encode())
