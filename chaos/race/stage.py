"""The stage on which episodes are played: a warm process with the targets, a folder, and one episode after the other.

Read `exploring.py` next.
"""

import json
import os
import select
import socket
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, final

from chaos.child.actors import spec_of
from chaos.disk import Slot, Tree, read_tree
from chaos.errors import HarnessFault, UsageError
from chaos.explore.places import base_folder, make_root, remove
from chaos.explore.stages import python_program
from chaos.observations import Ending, Outcome
from chaos.race.episode import Cast, Episode
from chaos.race.moves import Sight, race_filter, race_numbers
from chaos.race.policies import Policy
from chaos.syscalls.launch import Guarded, architecture, launch
from chaos.syscalls.listener import Listener, Notification
from chaos.trace.model import Frame

__all__ = ["Played", "Stage"]

_PACKET_BYTES = 1 << 17
_STEPS = 2_000
_DEADLINE_S = 5.0
_SILENT = {"ending": "killed", "error_type": "", "error": "ended without an answer"}


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
    """A warm process with the targets, a folder, and episodes one after the other. Use it as a context manager."""

    def __init__(
        self,
        workers: Sequence[Any],
        *,
        setup: Any = None,
        check: Any = None,
        steps: int | None = None,
        deadline_s: float | None = None,
    ) -> None:
        """Import the targets and run the set-up.

        Args:
            workers: the racers' targets.
            setup: makes the files that every episode begins with.
            check: looks at what each episode left.
            steps: how many calls an episode may take; 2,000 when None.
            deadline_s: how long a racer may compute between two calls; 5 s when None.

        Raises:
            UsageError: a target can't be imported, or the set-up fails.
            NotMeasured: the engine does not work here.
        """
        self._steps, self._deadline_s = steps or _STEPS, deadline_s or _DEADLINE_S
        self._has_check = check is not None
        self._root = make_root(base_folder())
        self.folder = os.path.join(self._root, "disk")
        os.mkdir(self.folder)
        self._early: list[Notification] = []
        self._warm = 0
        self._sight = Sight(self.folder)
        self._numbers = race_numbers(architecture())
        self._control, self._guarded = _launched()
        self._listener = Listener(self._guarded.listener)
        try:
            self._warm = self._prepared(workers, setup, check)
        except BaseException:
            self.close()
            raise
        self._tree: Tree = read_tree(self.folder)
        self._slot = Slot(self.folder)

    def _prepared(self, workers: Sequence[Any], setup: Any, check: Any) -> int:
        """Let the targets be imported and the set-up be run; the warm process's id."""
        named = {"setup": setup, "check": check}
        specs = {name: None if target is None else spec_of(target) for name, target in named.items()}
        self._tell({"workers": [spec_of(worker) for worker in workers], "disk": self.folder, **specs})
        answer = self._hear()
        if "wrong" in answer:
            raise UsageError(answer["wrong"], "run the import by itself")
        if setup is not None:
            self._tell({"run": "setup"})
            done = self._hear()
            if done["ending"] != "returned":
                raise UsageError(f"setup failed: {done['error']}", "mend the set-up")
        return int(answer["ready"])

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def play(self, policy: Policy) -> Played:
        """One episode, from the files of the set-up on.

        Raises:
            HarnessFault: the warm process failed.
        """
        self._slot.lay(self._tree)
        self._tell({"race": True})
        reports: dict[int, dict[str, Any]] = {}
        while "racers" not in (message := self._hear(racing=True)):
            reports[message["racer"]] = message
        cast = Cast(self._listener, self._numbers, self._sight, message["racers"], deadline_s=self._deadline_s)
        for notification in self._early:  # calls of racers that were quicker than the message with their numbers
            cast.take(notification)
        self._early.clear()
        episode = cast.play(policy, most_steps=self._steps)
        self._collect(len(message["racers"]), reports)
        outcomes = tuple(_outcome(reports.get(number, _SILENT)) for number in range(len(message["racers"])))
        return Played(episode, outcomes, self._checked(outcomes) if self._has_check else None)

    def _collect(self, racers: int, reports: dict[int, dict[str, Any]]) -> None:
        """Reap the racers, and take what they had to report."""
        reaped = 0
        while reaped < racers:
            self._tell({"reap": True})
            while "reaped" not in (message := self._hear()):
                reports[message["racer"]] = message
            reaped += message["reaped"]

    def _checked(self, outcomes: Sequence[Outcome]) -> Outcome:
        self._tell({"run": "check", "results": [one.value or "null" for one in outcomes]})
        return _outcome(self._hear())

    def close(self) -> None:
        """End everything."""
        self._control.close()
        self._guarded.end()
        self._listener.close()
        remove(self._root)

    def _tell(self, message: dict[str, Any]) -> None:
        self._control.send(json.dumps(message).encode())

    def _hear(self, *, racing: bool = False) -> dict[str, Any]:
        """The warm process's next message; its own trapped calls are let through meanwhile, racers' are kept."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._listener.descriptor, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(30_000)]
            if not ready:
                raise HarnessFault("the warm process of a race does not answer")
            if self._control.fileno() in ready:
                packet = self._control.recv(_PACKET_BYTES)
                if not packet:
                    raise HarnessFault("the warm process of a race is gone")
                return dict(json.loads(packet))
            notification = self._listener.receive()
            if notification is None:
                continue
            if racing and notification[1] != self._warm:
                self._early.append(notification)
            else:
                self._listener.let_through(notification[0])


def _launched() -> tuple[socket.socket, Guarded]:
    """The warm process, and our end of the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.set_inheritable(theirs.fileno(), True)
    with theirs:
        program = [sys.executable, "-u", "-c", python_program("chaos.child.racers"), str(theirs.fileno())]
        return ours, launch(program, program_filter=race_filter(architecture()))


def _outcome(report: dict[str, Any]) -> Outcome:
    """A racer's report as an outcome."""
    given = {key: value for key, value in report.items() if key not in ("racer", "ending", "frames")}
    frames = tuple(Frame(*frame) for frame in report.get("frames", ()))
    return Outcome(ending=Ending(report["ending"]), frames=frames, **given)
