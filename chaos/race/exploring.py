"""Plays episodes until one goes wrong: the stage on which they are played, and the search over seeds."""

import json
import os
import select
import socket
import sys
from collections.abc import Sequence
from typing import Any, final

from chaos.child.actors import spec_of
from chaos.disk import Slot, Tree, read_tree
from chaos.errors import HarnessFault, UsageError
from chaos.explore.places import base_folder, make_root, remove
from chaos.explore.stages import python_program
from chaos.race.episode import Cast, Episode
from chaos.race.moves import Sight, race_filter, race_numbers
from chaos.race.policies import Policy
from chaos.syscalls.launch import Guarded, architecture, launch
from chaos.syscalls.listener import Listener, Notification

__all__ = ["Stage"]

_PACKET_BYTES = 1 << 17


@final
class Stage:
    """A warm process with the targets, a folder, and episodes one after the other. Use it as a context manager."""

    def __init__(self, workers: Sequence[Any], *, setup: Any = None, check: Any = None) -> None:
        self._root = make_root(base_folder())
        self.folder = os.path.join(self._root, "disk")
        os.mkdir(self.folder)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.set_inheritable(theirs.fileno(), True)
        known = architecture()
        self._numbers = race_numbers(known)
        self._guarded: Guarded = launch(
            [sys.executable, "-u", "-c", python_program("chaos.child.racers"), str(theirs.fileno())],
            program_filter=race_filter(known),
        )
        theirs.close()
        self._control = ours
        self._early: list[Notification] = []
        self._warm = 0
        self._listener = Listener(self._guarded.listener)
        self._sight = Sight(self.folder)
        self._tell({
            "workers": [spec_of(worker) for worker in workers],
            "setup": None if setup is None else spec_of(setup),
            "check": None if check is None else spec_of(check),
            "disk": self.folder,
        })
        answer = self._hear()
        if "wrong" in answer:
            self.close()
            raise UsageError(answer["wrong"], "run the import by itself")
        self._warm = answer["ready"]
        if setup is not None:
            self._tell({"run": "setup"})
            done = self._hear()
            if done["ending"] != "returned":
                self.close()
                raise UsageError(f"setup failed: {done['error']}", "mend the set-up")
        self._tree: Tree = read_tree(self.folder)
        self._slot = Slot(self.folder)

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def play(self, policy: Policy, *, most_steps: int = 2000) -> tuple[Episode, list[dict[str, Any]]]:
        """One episode, and each racer's outcome."""
        self._slot.lay(self._tree)
        self._tell({"race": True})
        outcomes: dict[int, dict[str, Any]] = {}
        while "racers" not in (message := self._hear(racing=True)):
            outcomes[message["racer"]] = message
        cast = Cast(self._listener, self._numbers, self._sight, message["racers"])
        for notification in self._early:  # calls of racers that were quicker than the message with their numbers
            cast.take(notification)
        self._early.clear()
        episode = cast.play(policy, most_steps=most_steps)
        self._tell({"reap": True})
        reaped = 0
        while True:
            message = self._hear()
            if "reaped" in message:
                reaped += message["reaped"]
                if reaped >= len(cast._numbers_of):
                    break
                self._tell({"reap": True})
            else:
                outcomes[message["racer"]] = message
        missing = {"ending": "killed", "error": "ended without an answer"}
        return episode, [outcomes.get(number, missing) for number in range(len(cast._numbers_of))]

    def check(self, outcomes: list[dict[str, Any]]) -> dict[str, Any]:
        """The user's check, in a process of its own."""
        self._tell({"run": "check", "results": [one.get("value", "null") for one in outcomes]})
        return self._hear()

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
