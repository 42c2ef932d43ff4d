"""The lean process that a crash state's recovery is forked from: the target, a few modules, nothing else.

A fork costs what its parent's memory costs, and every page that the parent writes between two forks is copied once
more. So this process holds neither the trace nor the models, and does as little as it can: it forks, waits, and says
how the child ended. All else is done by the worker that started it (`chaos/explore/stages.py`), which never forks:
limits, deadline, output, reading the board. Standard library only.

It is started as the subreaper of its descendants, with the board's descriptor and a link to the worker, over which go
(`link.py`):

- first, to the forker: its job in JSON (`Stage` says what is in it); back: `READY`, or what is wrong with the target;
- `r` or `w` (recover, work); after `r`, where there is a check, the number of acknowledgements made before the crash,
  and those made since, in JSON; back: the child's exit code, negative = signal. The child is reaped only at the next
  message, so that until then nobody else can have its id;
- `s` and seconds of grace: kill what the child left running; back: its command lines in JSON;
- `p` and addresses and lengths in JSON: have that memory copied by each fork at once (`pinning.py`); back: the number
  of the descriptor on which that hangs, -1 where it can't be. Then any line, when the worker has it, and here it is
  closed; back: `WELL`. When there are no addresses: whether that can be; back: 1 or 0.

These four and their answers are lines, as one short line is one `read`.
"""

import faulthandler
import gc
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from chaos.child import values
from chaos.child.actors import AckFile, TargetError, check_actor, recover_actor, work_actor
from chaos.child.board import Board
from chaos.child.isolated import Errand, be_child, carry_out
from chaos.child.lean import Any, final
from chaos.child.link import read_line, read_message, send_all, send_message
from chaos.child.pinning import can_pin, pin
from chaos.child.reaping import end_strays

__all__ = ["BIND_NOW", "ORPHANED", "READY", "RECOVER", "WELL", "WORK", "Stage", "main"]

READY = b"ready"
# The signal that tells a forker of its worker's death: in a child it means nothing, programs rarely know it.
ORPHANED = signal.SIGRTMAX - 1
# Set for a forker, so that no child resolves the symbols of libraries anew; the target must not see it.
BIND_NOW = "LD_BIND_NOW"
RECOVER = b"r\n"
WORK = b"w\n"
WELL = b"0\n"  # the child ended as it should
_NEWLINE, _STRAYS, _PIN = b"\nsp"
_SHORT_BYTES = len(RECOVER)  # bytes that fill their buffer stay where they are; longer lines are a check's, or rare
_CODE, _STATUS = 4, 3  # where `waitid_result` has them: looking them up by name takes more pages
_enable_collector, _close = gc.enable, os.close
_WARM_UP_ROUNDS = 20  # the interpreter looks more closely at code that ran often
_LAST_ROUNDS = 2


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
        self.disk = Path(self.folder)
        os.fspath(self.disk)  # is kept by it, and so need not be made in each child
        self._check = None if job["check"] is None else check_actor(job["check"], self.folder)
        self._work = None if job["work"] is None else work_actor(job["work"])
        self._acked = [values.decode(text) for text in job["acks"]]
        recover = recover_actor(job["recover"])
        self._recovery = Errand(
            recover, (self.disk,), self.folder, leftovers=bool(job["leftovers"]), usage=bool(job.get("usage"))
        )

    def recovery(self, acked: int, since: Sequence[str] = ()) -> Errand:
        """Recovery and the check after a crash with so many acknowledgements, and some made since."""
        if self._check is None:
            return self._recovery
        known = [*self._acked[:acked], *map(values.decode, since)]
        return self._recovery.checked(self._check, known)

    def work(self) -> Errand:
        """The workload run on."""
        assert self._work is not None
        return Errand(_run_on, (self._work, self.disk, self.acks), self.folder, leftovers=False)

    def errand(self, message: bytes) -> Errand:
        """What a line of the worker asks for."""
        if message == RECOVER:  # looked at no closer, see `_serve`
            return self._recovery
        if message == WORK:
            return self.work()
        acked, _, since = message[1:].partition(b" ")
        return self.recovery(int(acked), json.loads(since) if since.strip() else ())


def _run_on(work: Callable[..., Any], disk: Path, acks: AckFile) -> Any:
    acks.open_channel()
    return work(disk, acks)


def main(arguments: list[str]) -> None:
    """Serve the worker at the other end of an inherited socket, given its number and that of the board."""
    link, shared = map(int, arguments)
    signal.signal(ORPHANED, _leave)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    content = read_message(link)
    if content is None:
        return
    job = json.loads(content)
    for name in job["unset"]:
        os.environ.pop(name, None)
    try:
        stage = Stage(job)
    except TargetError as error:
        send_message(link, str(error).encode())
        return
    board = Board(shared)
    os.close(shared)
    faulthandler.enable(2)
    _warm_up(stage, board)
    send_message(link, READY)
    try:
        _serve(link, stage, board)
    except (BrokenPipeError, ConnectionResetError):
        pass
    finally:
        end_strays()


def _leave(*_: object) -> None:
    if os.getpid() == _OWN_PID:
        raise SystemExit(0)


def _serve(link: int, stage: Stage, board: Board) -> None:
    """Fork for each line until the other end is closed.

    In one frame, and with everything bound before: a name that is looked up, a frame, a small object touch memory, and
    each page that is touched between two forks is copied once more, which takes about 2 us (measured).
    """
    fork, read, write, wait, reap = os.fork, os.read, os.write, os.waitid, os.waitpid
    by_id, flags, exited = os.P_PID, os.WEXITED | os.WNOWAIT, os.CLD_EXITED
    streams = (sys.stdout, sys.stderr)
    child = 0
    while message := read(link, _SHORT_BYTES):
        if message[-1] != _NEWLINE:
            message = read_line(link, message)
            if message[0] == _PIN:
                _pin(link, json.loads(message[1:]))
                continue
        if message[0] == _STRAYS:
            send_all(link, json.dumps(end_strays(float(message[1:]))).encode() + b"\n")
            child = 0
            continue
        if child:
            reap(child, 0)
        child = fork()
        if child == 0:
            _close(link)
            _enable_collector()
            be_child(stage.errand(message), board, streams)
        ended = wait(by_id, child, flags)
        assert ended is not None
        if ended[_STATUS] == 0 and ended[_CODE] == exited:
            write(link, WELL)
        else:
            send_all(link, b"%d\n" % (ended.si_status if ended.si_code == exited else -ended.si_status))


def _pin(link: int, ranges: Sequence[tuple[int, int]]) -> None:
    if not ranges:
        send_all(link, b"%d\n" % can_pin())
        return
    ring = pin(ranges)
    send_all(link, b"%d\n" % ring)
    read_line(link)
    if ring >= 0:
        _close(ring)  # no child may see it
    send_all(link, WELL)


def _warm_up(stage: Stage, board: Board) -> None:
    """Do what children will do, so far as it leaves no trace, and keep the collector away from memory shared with them.

    The interpreter adapts code as it runs and remembers what it looked up, which writes to memory: every page that is
    written here need not be copied in a child.
    """
    _rehearse_all(stage, board, _WARM_UP_ROUNDS)
    gc.disable()
    gc.collect()
    # Collecting emptied the interpreter's lists of free objects: filled again here, each child finds some at hand.
    _rehearse_all(stage, board, _LAST_ROUNDS)
    gc.freeze()


def _rehearse_all(stage: Stage, board: Board, rounds: int) -> None:
    for _ in range(rounds):
        stage.errand(RECOVER)
        errand = Errand(_rehearse, (stage.disk,), stage.folder, leftovers=False)
        board.add(carry_out(errand, board))
        board.clear()


def _rehearse(disk: Path) -> Any:
    """What most recoveries do in some way: look at paths, read files, make values of them."""
    here = Path(__file__).with_name("__init__.py")  # a short one
    os.fspath(disk / here.name)
    with open(here.parent / here.name, "rb") as file:
        file.read(1)
    with open(here, encoding="utf-8") as text:
        text.readline()
    seen = [here.exists(), here.read_bytes()[:1], here.read_text(encoding="utf-8")[:1], os.listdir(here.parent)[:1]]
    return values.decode(values.encode({"seen": seen, "plain": ["text", 1, 2.5, None, True]}))


_OWN_PID = os.getpid()

if __name__ == "__main__":
    main(sys.argv[1:])
