"""The stage on which episodes are played: a warm process with the targets, a folder, and one episode after the other.

Targets that have a name are imported by a fresh interpreter; functions of this process (a test's) are kept in a fork of
it. Either way each episode's racers are forks of the warm process. Read `exploring.py` next.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic, time_ns
from typing import Any, NamedTuple, final

from chaos.child.actors import spec_of
from chaos.child.clocks import SLOT_BYTES, Clock, Clocks
from chaos.child.processor import own_processor
from chaos.child.racers import serve
from chaos.child.target import CallableTarget, Target
from chaos.disk import Slot, Tree, read_tree
from chaos.errors import HarnessFault, UsageError, refused_target
from chaos.explore.roots import make_root, remove_root
from chaos.explore.stages import python_program
from chaos.observations import Ending, Outcome
from chaos.race.episode import Cast, Episode
from chaos.race.furnishing import Furnishing
from chaos.race.moves import Sight, race_filter, race_numbers
from chaos.race.policies import Policy
from chaos.syscalls.launch import Guarded, architecture, launch
from chaos.syscalls.listener import Listener, Notification
from chaos.trace.model import Frame
from chaos.trace.sources import SourceLines

__all__ = ["Played", "Players", "Stage"]

_PACKET_BYTES = 1 << 17
_STEPS = 10_000
_DEADLINE_S = 10.0
_ANSWER_S = 30.0  # for the warm process itself: a fork of a large process on a busy machine
_UNSTEERED_S = 60.0  # for set-up and check
_TAIL_BYTES = 4_000
_GONE = "the warm process of a race is gone"
_ALONE = "run the import by itself"
_HASH_SEED = "PYTHONHASHSEED"  # the order of sets must not differ between two runs


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Players:
    """Who races, and within which limits.

    Attributes:
        workers: the racers' targets.
        setup: makes the files that every episode begins with.
        check: looks at what each episode left.
        steps: how many calls an episode may take; 10,000 when None.
        deadline_s: how long a racer may compute, or wait out of sight, between two calls; 10 s when None.
        exclude: globs of names of files that are not looked at when they are mapped.
    """

    workers: Sequence[Target]
    setup: Target | None = None
    check: Target | None = None
    steps: int | None = None
    deadline_s: float | None = None
    exclude: Sequence[str] = ()


@final
class Played(NamedTuple):
    """An episode and what came of it.

    Attributes:
        episode: what happened, step by step.
        outcomes: of each racer.
        check: of the user's check; None without one.
    """

    episode: Episode
    outcomes: tuple[Outcome, ...]
    check: Outcome | None


@final
class Stage:
    """Plays episodes; use it as a context manager.

    Guarantees: each episode begins with the files of the set-up; no process and no file of it is left. Does not: steer
    what the targets do without system calls (shared memory) or outside the folder. Threads: one.
    """

    def __init__(self, players: Players) -> None:
        """Import the targets and run the set-up.

        Raises:
            UsageError: a target can't be imported, or the set-up fails.
            NotMeasured: the engine does not work here.
        """
        self._players = players
        self._root = make_root()
        self.folder = os.path.join(self._root, "disk")
        os.mkdir(self.folder)
        self._output = os.open(os.path.join(self._root, "output"), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        self._early: list[Notification] = []
        self._cast: Cast | None = None
        self._warm = 0
        self._sight = Sight(self.folder, players.exclude)
        self._clocks = self._made_clocks()
        self._numbers = race_numbers(architecture())
        # One of all these processes runs at a time, so they share a processor with this one: a call costs half of it.
        self._processor = own_processor()
        self._processor.__enter__()
        try:
            self._control, self._guarded = self._launched()
        except BaseException:
            self._leave()
            raise
        self._listener = Listener(self._guarded.listener)
        began_ns = time_ns()
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        self._tree: Tree = read_tree(self.folder)
        self._furnishing = Furnishing.left_in(self.folder, since_ns=began_ns)
        self._slot = Slot(self.folder)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _made_clocks(self) -> Clocks:
        file = os.open(self._clock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, SLOT_BYTES)
            return Clocks(file, 1)
        finally:
            os.close(file)

    @property
    def _clock_path(self) -> str:
        return os.path.join(self._root, "clock")

    def _set_clock(self, ahead_s: float) -> None:
        self._clocks.set(0, Clock.STEADY, shift_ns=round(ahead_s * 1e9))

    def _launched(self) -> tuple[socket.socket, Guarded]:
        """The warm process, with its job, and our end of the socket to it."""
        named = {"setup": self._players.setup, "check": self._players.check}
        specs = {name: None if target is None else spec_of(target) for name, target in named.items()}
        job = {"workers": [spec_of(worker) for worker in self._players.workers], "disk": self.folder, **specs}
        job["clock"] = self._clock_path
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        everyone = (*self._players.workers, *(target for target in named.values() if target is not None))
        program: Callable[[], object] | list[str]
        if any(isinstance(target, CallableTarget) for target in everyone):
            program = _forked(ours, theirs, job)
        else:
            os.set_inheritable(theirs.fileno(), True)
            program = [sys.executable, "-u", "-c", python_program("chaos.child.racers"), str(theirs.fileno())]
            ours.send(json.dumps(job).encode())
        env = {} if _HASH_SEED in os.environ else {_HASH_SEED: "0"}
        try:
            return ours, launch(program, env=env, output=self._output, program_filter=race_filter(architecture()))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def _prepare(self) -> None:
        """Wait until the targets are imported, and have the set-up run."""
        try:
            answer = self._hear(_UNSTEERED_S)
        except HarnessFault:
            raise UsageError(f"importing the targets ends their process: {self._tail()}", _ALONE) from None
        if answer is None:
            raise UsageError(f"importing the targets takes longer than {_UNSTEERED_S:g} s", _ALONE)
        if "wrong" in answer:
            raise refused_target(answer["wrong"], _ALONE)
        self._warm = answer["ready"]
        if self._players.setup is not None:
            done = self._unsteered({"run": "setup"})
            if done.ending is not Ending.RETURNED:
                told = done.error or self._tail() or done.error_type
                raise UsageError(f"setup {done.ending.value}: {told}", "run the set-up by itself")

    def play(self, policy: Policy, *, sources: bool = False) -> Played:
        """One episode, from the files of the set-up on.

        Args:
            policy: who goes next.
            sources: whether the steps get source lines; it takes longer, and changes nothing.

        Raises:
            HarnessFault: the warm process failed.
        """
        self._slot.lay(self._tree)
        self._furnishing.lay(self.folder)
        os.ftruncate(self._output, 0)
        lines = SourceLines(meanwhile=lambda: self._cast is not None and self._cast.let_others()) if sources else None
        try:
            episode, pids, reports = self._played(policy, lines)
        finally:
            if lines is not None:
                lines.close()
        statuses = self._reaped(pids, reports)
        ended = {participant for _, participant in episode.ends}
        outcomes = tuple(
            _outcome(reports.get(racer), status, hung=racer not in ended) for racer, status in enumerate(statuses)
        )
        check = None
        if self._players.check is not None:
            check = self._unsteered({"run": "check", "results": [one.value or "null" for one in outcomes]})
        return Played(episode, outcomes, check)

    def _played(
        self, policy: Policy, lines: SourceLines | None
    ) -> tuple[Episode, list[int], dict[int, dict[str, Any]]]:
        self._set_clock(0.0)
        environment = {} if lines is None else lines.environment(os.environ)
        self._tell({"race": True, "frames": lines.address if lines else "", "environment": environment})
        reports: dict[int, dict[str, Any]] = {}
        while "racers" not in (message := self._answer(racing=True)):
            reports[message["racer"]] = message
        pids = message["racers"]
        cast = self._cast = Cast(
            self._listener,
            self._numbers,
            self._sight,
            pids,
            deadline_s=self._players.deadline_s or _DEADLINE_S,
            sources=lines,
            set_clock=self._set_clock,
        )
        for notification in self._early:  # calls of racers that were quicker than the message with their numbers
            cast.take(notification)
        self._early.clear()
        return cast.play(policy, most_steps=self._players.steps or _STEPS), list(pids), reports

    def _reaped(self, pids: Sequence[int], reports: dict[int, dict[str, Any]]) -> list[int]:
        """The wait statuses of processes that have ended; what they had to report is added to the reports."""
        self._tell({"reap": pids})
        while "reaped" not in (message := self._answer()):
            reports[message["racer"]] = message
        return list(message["reaped"])

    def _unsteered(self, message: Mapping[str, Any]) -> Outcome:
        """Run the set-up or the check in a process of its own."""
        self._tell(message)
        report: dict[str, Any] | None = None
        while "running" not in (answer := self._answer()):
            report = answer  # it was quicker than the message with its number
        pid = answer["running"]
        end = os.pidfd_open(pid)
        try:
            report = report or self._hear(_UNSTEERED_S, end=end)
            hung = report is None and not _is_readable(end)
        finally:
            os.close(end)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # a report is sent last of all, so nothing of worth is cut off
        status = self._reaped([pid], {})[0]
        return _outcome(report, status, hung=hung, output=self._tail())

    def _tail(self) -> str:
        """The end of what was printed."""
        size = os.fstat(self._output).st_size
        text = os.pread(self._output, _TAIL_BYTES, max(0, size - _TAIL_BYTES)).decode("utf-8", "replace")
        return text.strip()

    def close(self) -> None:
        """End everything."""
        self._control.close()
        self._guarded.end()
        self._listener.close()
        self._leave()

    def _leave(self) -> None:
        self._processor.__exit__(None, None, None)
        self._clocks.close()
        os.close(self._output)
        remove_root(self._root)

    def _tell(self, message: Mapping[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            raise HarnessFault(_GONE) from None

    def _answer(self, *, racing: bool = False) -> dict[str, Any]:
        message = self._hear(_ANSWER_S, racing=racing)
        if message is None:
            raise HarnessFault("the warm process of a race does not answer")
        return message

    def _hear(self, wait_s: float, *, racing: bool = False, end: int = -1) -> dict[str, Any] | None:
        """The warm process's or one of its children's next message; None when none came.

        Trapped calls are let through meanwhile, but for racers', which are kept.

        Args:
            wait_s: how long to wait.
            racing: racers are being forked.
            end: a pidfd; once it is readable, there is nothing more to wait for.

        Raises:
            HarnessFault: the warm process is gone.
        """
        poll = select.poll()
        for descriptor in (self._control.fileno(), self._listener.descriptor, *([end] if end >= 0 else [])):
            poll.register(descriptor, select.POLLIN)
        give_up = monotonic() + wait_s
        while True:
            ready = {descriptor for descriptor, _ in poll.poll(max(0.0, give_up - monotonic()) * 1000)}
            if self._control.fileno() in ready:
                packet = self._control.recv(_PACKET_BYTES)
                if not packet:
                    raise HarnessFault(_GONE)
                return dict(json.loads(packet))
            if self._listener.descriptor in ready:
                self._pass(racing)
            elif not ready or end in ready:
                return None

    def _pass(self, racing: bool) -> None:
        notification = self._listener.receive()
        if notification is None:
            return
        if racing and notification[1] != self._warm:
            self._early.append(notification)
        else:
            self._listener.let_through(notification[0])


def _forked(ours: socket.socket, theirs: socket.socket, job: dict[str, Any]) -> Callable[[], object]:
    def program() -> None:
        ours.close()
        serve(theirs, job)

    return program


def _is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _outcome(report: dict[str, Any] | None, status: int, *, hung: bool, output: str = "") -> Outcome:
    """How a process ended, from what it reported and from its wait status."""
    if hung:
        return Outcome(ending=Ending.HUNG, error_type="deadline", output=output)
    if report is not None:
        given = {key: value for key, value in report.items() if key not in ("racer", "ending", "frames")}
        frames = tuple(Frame(*frame) for frame in report.get("frames", ()))
        return Outcome(ending=Ending(report["ending"]), frames=frames, output=output, **given)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return Outcome(ending=Ending.KILLED, error_type="signal", detail=-code, output=output)
    return Outcome(ending=Ending.EXITED, error_type="exit", detail=code, output=output)
