"""The process above a fleet's workers: it starts them, signals them, limits them, and tells how they ended.

It is warm: targets are imported once, and a worker's start is a fork. As the only one who reaps its children, it alone
can signal them by number without ever meeting a stranger, so every kill and pause is asked for here. The guardian above
(`guardian.py`) ends it with everything below when the harness dies. Standard library only.

Over the socket, one packet of JSON each. First, to here, the job (`_Job`), answered by `{"ready": pid}` or
`{"wrong": words, "lacking": bool}`; then, to here:

- `{"start": worker, "life": n}`; back `{"started": worker, "life": n, "pid": pid}`. `shift_s`: with the kernel's steady
  clocks shifted; `service`: the address at which it finds the service;
- `{"serve": true}`: the service, as a child whose number is `SERVICE`, with the listening socket whose port was told
  with `ready`;
- `{"role": "setup" | "recover" | "check" | "look", "to": file, "from": file}`: in a child, whose number is `ROLE`; its
  report is written to a file;
- `{"signal": number, "worker": n}`: to a worker and all of its process group;
- `{"limit": "memory" | "descriptors" | "cpu", "worker": n, "value": n or null}`: for its present life and later ones;
- `{"room": bytes or null}`: so much room is left on the disk, or all there was;

back, whenever it happens, `{"ended": worker, "life": n, "status": wait status, "peak": bytes}`.

Statements (`chronicle.py`) that it makes for a worker: `^` and the process id when a life begins, `.` and the value
when the worker returns, `!` and a report when it raises, `:` and its number when a command ended well.
"""

import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from errno import EINVAL
from pathlib import Path

from chaos.child import clocks, namespaces, values
from chaos.child.ack import state_in
from chaos.child.actors import TargetError, check_actor, recover_actor, work_actor
from chaos.child.adoption import die_with_parent
from chaos.child.board import Board
from chaos.child.chronicle import CHRONICLE_VARIABLE, Chronicle
from chaos.child.isolated import Errand, carry_out, report_of_error
from chaos.child.lean import Any, NoReturn, TypedDict, final
from chaos.child.witness import Witness

__all__ = ["PACKET_BYTES", "ROLE", "SERVICE", "Job", "main", "serve"]

PACKET_BYTES = 1 << 17
ROLE = -2  # the number of a child that is no worker
SERVICE = -3
_SERVICE_VARIABLE = "CHAOS_SERVICE"
_BACKLOG = 128
_FAILED = 1
_ATTEMPTS = 1000  # at a size that workers outgrow while it is being set
_LIMITS = {"memory": resource.RLIMIT_DATA, "descriptors": resource.RLIMIT_NOFILE, "cpu": resource.RLIMIT_CPU}
_KEPT_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)


@final
class Job(TypedDict):
    """What the tender is told first.

    Attributes:
        worker: spec (`actors.py`) of `worker(disk, witness)`, or of commands.
        setup: spec of `setup(disk)`.
        recover: spec of `recover(disk)`.
        check: spec of `check(value, acked)`.
        service: spec of `service(disk, listening)`.
        disk: the folder that they work in.
        chronicle: path of the file of statements.
        output: folder for what workers print, a file each.
        workers: how many.
        clocks: path of the shared memory of clocks; "" when they show the truth.
        disk_bytes: size of the disk that is mounted over the folder; 0 for none.
    """

    worker: Any
    setup: Any
    recover: Any
    check: Any
    service: Any
    disk: str
    chronicle: str
    output: str
    workers: int
    clocks: str
    disk_bytes: int


def main(arguments: list[str]) -> None:
    """Serve the fleet at the other end of the inherited socket whose number is given."""
    control = socket.socket(fileno=int(arguments[0]))
    serve(control, json.loads(control.recv(PACKET_BYTES)))


def serve(control: socket.socket, job: Job) -> None:
    """Serve a fleet until the socket is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # at the terminal it is the harness's alone
    try:
        tender = _Tender(control, job)
    except TargetError as error:
        _tell(control, {"wrong": str(error), "lacking": False})
        return
    except OSError as error:
        _tell(control, {"wrong": str(error), "lacking": True})
        return
    gc.collect()
    gc.freeze()
    tender.tell({"ready": os.getpid(), "port": tender.port})
    tender.run()


@final
class _Tender:
    def __init__(self, control: socket.socket, job: Job) -> None:
        self.control, self.job = control, job
        self.clocks: clocks.Clocks | None = None
        if job["disk_bytes"]:
            namespaces.private_mounts()
            namespaces.mount_disk(job["disk"], job["disk_bytes"])
        if job["clocks"]:
            self.set_up_clocks(job["clocks"])
        self.work = work_actor(job["worker"])
        self.is_command = job["worker"][0] == "command"
        self.setup = None if job["setup"] is None else recover_actor(job["setup"])
        self.recover = None if job["recover"] is None else recover_actor(job["recover"])
        self.check = None if job["check"] is None else check_actor(job["check"], job["disk"])
        self.service = None if job["service"] is None else work_actor(job["service"])
        self.listening, self.port = None, 0
        if self.service is not None:
            self.listening = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
            self.port = self.listening.getsockname()[1]
        self.living: dict[int, tuple[int, int]] = {}  # pid -> worker, life
        self.pids: dict[int, int] = {}
        self.limits: dict[int, dict[str, int]] = {}

    def set_up_clocks(self, path: str) -> None:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.clocks = clocks.Clocks(file, self.job["workers"])
        os.close(file)
        clocks.interpose(self.clocks)  # before the target is imported

    def tell(self, message: dict[str, Any]) -> None:
        _tell(self.control, message)

    def run(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(reader, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == reader:
                    os.read(reader, 4096)
                    continue
                packet = self.control.recv(PACKET_BYTES)
                if not packet:
                    return
                self.take(json.loads(packet))
            self.reap()

    def take(self, message: dict[str, Any]) -> None:
        if "start" in message:
            self.start(message["start"], message["life"], message.get("shift_s", 0.0), message.get("service", ""))
        elif "serve" in message:
            self.fork(SERVICE, 0, self.be_service)
        elif "role" in message:
            self.fork(ROLE, 0, lambda: self.play(message))
        elif "signal" in message:
            self.send_signal(message["worker"], message["signal"])
        elif "limit" in message:
            self.limit(message["worker"], message["limit"], message["value"])
        else:
            self.leave_room(message["room"])

    def start(self, worker: int, life: int, shift_s: float, service: str) -> None:
        with ExitStack() as stack:
            if shift_s:
                try:
                    stack.enter_context(namespaces.shifted_clocks(shift_s))
                except OSError as error:
                    self.tell({"wrong": f"shifted clocks: {error}", "lacking": True})
                    return
            pid = self.fork(worker, life, lambda: self.be_worker(worker, life, service))
        self.tell({"started": worker, "life": life, "pid": pid})

    def fork(self, worker: int, life: int, be: Callable[[], int]) -> int:
        above = os.getpid()
        pid = os.fork()
        if pid == 0:
            self.be_child(above, worker, be)
        with suppress(OSError):  # the child did it, or is gone
            os.setpgid(pid, pid)
        self.living[pid] = worker, life
        self.pids[worker] = pid
        return pid

    def be_child(self, above: int, worker: int, be: Callable[[], int]) -> NoReturn:
        code = _FAILED
        try:
            die_with_parent(above)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in _KEPT_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self.control.close()
            _redirect(os.path.join(self.job["output"], str(worker)))
            for what, value in self.limits.get(worker, {}).items():
                _confine(os.getpid(), what, value, above)
            gc.enable()
            code = be()
        finally:
            _flush()
            os._exit(code)

    def be_service(self) -> int:
        assert self.service is not None
        try:
            self.service(Path(self.job["disk"]), self.listening)
        except BaseException as error:  # noqa: BLE001 - the process's edge: it is told how the service ended
            report = report_of_error(error)
            sys.stderr.write(f"{report['error_type']}: {report['error']}\n")
            return _FAILED
        return 0

    def be_worker(self, worker: int, life: int, service: str) -> int:
        if self.listening is not None:
            self.listening.close()
            os.environ[_SERVICE_VARIABLE] = service
        chronicle = Chronicle(self.job["chronicle"], worker, life)
        state_in(chronicle)
        os.environ[CHRONICLE_VARIABLE] = chronicle.to_environment()
        os.environ["CHAOS_WORKER"], os.environ["CHAOS_LIFE"] = str(worker), str(life)
        if self.clocks is not None:
            self.clocks.worker = worker
        # A command acknowledges by itself (`python -m chaos.child.ack`); that it ended well is progress, and no more.
        tell = (lambda number: chronicle.append(f":{number}")) if self.is_command else Witness(worker, life)
        chronicle.append(f"^{os.getpid()}")
        try:
            value = self.work(Path(self.job["disk"]), tell)
            chronicle.append("." + ("null" if self.is_command else values.encode(value)))
        except BaseException as error:  # noqa: BLE001 - the process's edge: whatever the target raises ends the life
            report = report_of_error(error)
            chronicle.append("!" + json.dumps(report))
            sys.stderr.write(f"{report['error_type']}: {report['error']}\n")
            return _FAILED
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        return 0

    def play(self, message: dict[str, Any]) -> int:
        """A role: its report goes to a file, whole or not at all."""
        disk = self.job["disk"]
        if message["role"] == "look":
            report = json.dumps(_look(disk)).encode()
        else:
            report = carry_out(self.errand(message, disk), Board())
        with open(message["to"] + ".part", "wb") as file:
            file.write(report)
        os.rename(message["to"] + ".part", message["to"])
        return 0

    def errand(self, message: dict[str, Any], disk: str) -> Errand:
        if message["role"] == "setup":
            return Errand(self.setup or (lambda _: None), (Path(disk),), disk, leftovers=False)
        recover = self.recover or (lambda _: None)
        errand = Errand(recover, (Path(disk),), disk, leftovers=False)
        if self.check is None:
            return errand
        with open(message["from"], encoding="utf-8") as file:
            acked = [values.decode(line) for line in file.read().splitlines()]
        return errand.checked(self.check, acked)

    def send_signal(self, worker: int, number: int) -> None:
        pid = self.pids.get(worker)
        if pid is None:
            return  # it ended, and was reaped here: nobody else has its number for us
        with suppress(OSError):  # it has left its group
            os.killpg(pid, number)
        with suppress(OSError):
            os.kill(pid, number)

    def limit(self, worker: int, what: str, value: int | None) -> None:
        if value is None:
            self.limits.get(worker, {}).pop(what, None)
        else:
            self.limits.setdefault(worker, {})[what] = value
        pid = self.pids.get(worker)
        if pid is not None:
            with suppress(OSError):  # it is ending
                _confine(pid, what, value, os.getpid())

    def leave_room(self, room: int | None) -> None:
        for attempt in range(_ATTEMPTS):
            space = os.statvfs(self.job["disk"])
            taken = (space.f_blocks - space.f_bfree) * space.f_frsize
            size = self.job["disk_bytes"] if room is None else max(taken + room, space.f_frsize)
            try:
                namespaces.resize_disk(self.job["disk"], size)
            except OSError as error:
                if error.errno != EINVAL or attempt == _ATTEMPTS - 1:
                    raise  # else the workers have written in between
            else:
                return

    def reap(self) -> None:
        while self.living:
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if seen is None:
                return
            if seen.si_pid not in self.living:  # a process that importing the target started
                os.waitpid(seen.si_pid, 0)
                continue
            worker, life = self.living.pop(seen.si_pid)
            if seen.si_code in (os.CLD_KILLED, os.CLD_DUMPED):
                with suppress(OSError):  # nothing of a killed worker stays behind to write on
                    os.killpg(seen.si_pid, signal.SIGKILL)
            _, status, usage = os.wait4(seen.si_pid, 0)
            if self.pids.get(worker) == seen.si_pid:
                del self.pids[worker]
            self.tell({"ended": worker, "life": life, "status": status, "peak": usage.ru_maxrss * 1024})


def _confine(pid: int, what: str, value: int | None, above: int) -> None:
    """Set a soft limit, or put it back where the hard one is; memory counts beyond what the process above holds."""
    kind = _LIMITS[what]
    _, hard = resource.prlimit(pid, kind)
    if value is not None and what == "memory":
        value += _data_bytes(above)
    elif value is not None and what == "cpu":
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, resource.prlimit(pid, resource.RLIMIT_CORE)[1]))
        value += _cpu_s(pid)
    wanted = hard if value is None else value
    resource.prlimit(pid, kind, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _data_bytes(pid: int) -> int:
    """What RLIMIT_DATA counts: a process's private writable memory."""
    with open(f"/proc/{pid}/statm", "rb") as file:
        return int(file.read().split()[5]) * resource.getpagesize()


def _cpu_s(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b") ")[2].split()
    return (int(fields[11]) + int(fields[12])) // os.sysconf("SC_CLK_TCK")


def _look(disk: str) -> dict[str, Any]:
    """What lies in the folder: path and size of every file."""
    sizes = {}
    for folder, _, names in os.walk(disk):
        for name in names:
            path = os.path.join(folder, name)
            with suppress(OSError):
                sizes[os.path.relpath(path, disk)] = os.lstat(path).st_size
    return {"sizes": sizes}


def _redirect(path: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for standard in (1, 2):
        os.dup2(file, standard)
    os.close(file)
    # In a fork of a test these may be the test runner's own, which lead elsewhere.
    sys.stdout, sys.stderr = (open(standard, "w", buffering=1, closefd=False) for standard in (1, 2))  # noqa: SIM115


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the target closed it
            stream.flush()


def _tell(control: socket.socket, message: dict[str, Any]) -> None:
    with suppress(BrokenPipeError, ConnectionResetError):  # the harness is gone, and the guardian sees to the rest
        control.send(json.dumps(message).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
