"""One episode of a race: everyone is held, one is released, and so on until all have ended.

A step is: the chosen participant's call is performed, and it runs on until its next call of interest, its end, or until
it waits for something that only another can bring. Then the policy chooses again. So at each choice all participants
stand still, and the same choices give the same episode.

Waiting costs nothing: a sleep returns at once, and whoever slept is passed over once where others are ready; a blocking
lock is tried, and whoever does not get it stands aside until another one has moved. When nobody can move, that is a
deadlock. Read `stage.py` next.
"""

import fcntl
import os
import select
import struct
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import final

from chaos.race.moves import Form, Move, Sight
from chaos.race.policies import Policy
from chaos.syscalls.listener import Listener, Notification
from chaos.syscalls.processes import ProcessGone, ProcessTable, Unreadable

__all__ = ["Cast", "Episode", "Step"]

_LOOK_S = 0.02  # a participant that is silent for so long is looked at
_END_S = 5.0  # for those who are killed to be gone
_FLOCK = struct.Struct("=hhqqi")
_OFD_SETLK, _OFD_SETLKW = 37, 38
_LOCK_COMMANDS = {fcntl.F_SETLK, fcntl.F_SETLKW, fcntl.F_GETLK, _OFD_SETLK, _OFD_SETLKW}


@final
@dataclass(frozen=True, slots=True)
class Step:
    """What one participant did when it was let go."""

    participant: int
    move: Move


@final
@dataclass(slots=True)
class Episode:
    """What happened.

    Attributes:
        steps: in order.
        choices: who was chosen at each.
        ready: who could have been, at each.
        waiting: who stood waiting for each other at the end, and in which call; empty if nobody did.
        cut: why it was ended by force, "" if it was not.
    """

    steps: list[Step] = field(default_factory=list)
    choices: list[int] = field(default_factory=list)
    ready: list[tuple[int, ...]] = field(default_factory=list)
    waiting: tuple[tuple[int, Move], ...] = ()
    cut: str = ""


@final
@dataclass(slots=True)
class _Held:
    """A participant that stands at a call."""

    id: int
    thread: int
    move: Move
    arguments: list[int]
    asleep: bool = False  # it has just slept
    stuck: bool = False  # it did not get its lock; try again when somebody else has moved


@final
class Cast:
    """The participants of one episode, and the loop around them.

    Args:
        listener: of the filter that they run under.
        numbers: call number -> name.
        sight: reads their calls.
        pids: of the racing processes, in order.
        deadline_s: how long one may compute between two calls.
    """

    def __init__(
        self, listener: Listener, numbers: dict[int, str], sight: Sight, pids: list[int], *, deadline_s: float
    ) -> None:
        self._listener, self._numbers, self._sight = listener, numbers, sight
        self._poll = select.poll()
        self._poll.register(listener.descriptor, select.POLLIN)
        self._table = ProcessTable(watch=self._watch)
        self._numbers_of = {pid: number for number, pid in enumerate(pids)}
        self._participants: dict[int, int] = {}  # thread -> participant
        self._at_start: list[int] = []  # calls of racers that wait until all are there
        self._count, self._deadline_s = len(pids), deadline_s
        self._running: dict[int, float] = {}  # participant -> since when
        self._held: dict[int, _Held] = {}
        self._living: dict[int, int] = {}  # pidfd -> pid
        self.episode = Episode()
        for number, pid in enumerate(pids):
            self._participants[pid] = number
            self._running[number] = monotonic()
            with suppress(ProcessGone):
                self._table.enter(pid)

    def _watch(self, pidfd: int) -> None:
        self._poll.register(pidfd, select.POLLIN)

    def play(self, policy: Policy, *, most_steps: int) -> Episode:
        """Steer to the end."""
        episode, last = self.episode, None
        try:
            while True:
                self._settle()
                if not self._held:
                    return episode
                ready = self._ready()
                if not ready:
                    if self._running:
                        continue  # they wait for something outside: time will tell
                    episode.waiting = tuple((number, self._held[number].move) for number in sorted(self._held))
                    return episode
                if len(episode.steps) >= most_steps:
                    episode.cut = f"still under way after {most_steps} steps"
                    return episode
                last = policy.choose(ready, last)
                self._release(last, ready)
        finally:
            self._end()

    def _ready(self) -> tuple[int, ...]:
        movable = [number for number, held in self._held.items() if not held.stuck]
        awake = [number for number in movable if not self._held[number].asleep]
        for held in self._held.values():
            held.asleep = False
        return tuple(sorted(awake or movable))

    def _release(self, number: int, ready: tuple[int, ...]) -> None:
        held = self._held[number]
        if not self._perform(held):
            held.stuck = True
            return
        del self._held[number]
        self._running[number] = monotonic()
        self.episode.steps.append(Step(number, held.move))
        self.episode.choices.append(number)
        self.episode.ready.append(ready)
        for other in self._held.values():
            other.stuck = False

    def _perform(self, held: _Held) -> bool:
        """Let the call happen; False when it would have to wait."""
        form, answer = held.move.form, self._listener
        if form is Form.SLEEP:
            answer.answer(held.id, 0)
        elif form is Form.SAY:
            answer.answer(held.id, held.arguments[2])
        elif form is Form.LOCK:
            return self._lock(held)
        elif form is Form.CONTROL:
            return self._control(held)
        else:
            answer.let_through(held.id)
        return True

    def _lock(self, held: _Held) -> bool:
        operation = held.arguments[1] & 0xFFFFFFFF
        if operation & (fcntl.LOCK_NB | fcntl.LOCK_UN):
            self._listener.let_through(held.id)
            return True
        descriptor = self._duplicate(held)
        if descriptor < 0:
            self._listener.let_through(held.id)
            return True
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)  # the lock belongs to the open file that both share
        except BlockingIOError:
            return False
        except OSError as error:
            self._listener.answer(held.id, -(error.errno or 0))
            return True
        finally:
            os.close(descriptor)
        self._listener.answer(held.id, 0)
        return True

    def _control(self, held: _Held) -> bool:
        """`fcntl`: a waiting lock is let through once nobody else is in its way."""
        if held.arguments[1] & 0xFFFFFFFF in (fcntl.F_SETLKW, _OFD_SETLKW) and self._is_barred(held):
            return False
        self._listener.let_through(held.id)
        return True

    def _is_barred(self, held: _Held) -> bool:
        found = self._table.find(held.thread)
        descriptor = self._duplicate(held)
        if found is None or descriptor < 0:
            return False
        process = found[0]
        try:
            asked = process.read_exactly(held.arguments[2], 32)
            ofd = held.arguments[1] & 0xFFFFFFFF == _OFD_SETLKW
            told = fcntl.fcntl(descriptor, 36 if ofd else fcntl.F_GETLK, asked)
        except (OSError, ProcessGone, Unreadable):
            return False
        finally:
            os.close(descriptor)
        kind, holder = struct.unpack_from("=h", told)[0], struct.unpack_from("=i", told, 24)[0]
        return bool(kind != fcntl.F_UNLCK and holder != process.id)

    def _duplicate(self, held: _Held) -> int:
        found = self._table.find(held.thread)
        try:
            return -1 if found is None else found[0].duplicate(held.arguments[0] & 0xFFFFFFFF)
        except (ProcessGone, Unreadable):
            return -1

    def _settle(self) -> None:
        """Wait until everyone is held, has ended, or sleeps somewhere out of sight."""
        while self._running:
            events = self._poll.poll(_LOOK_S * 1000)
            for descriptor, _ in events:
                if descriptor != self._listener.descriptor:
                    self._ended(descriptor)
            if any(descriptor == self._listener.descriptor for descriptor, _ in events):
                self._receive()
            if not events and self._all_wait():
                return

    def _all_wait(self) -> bool:
        """Whether those who run sleep in the kernel; whoever computes for seconds is taken for asleep as well."""
        now = monotonic()
        if self._at_start and len(self._at_start) < len(self._numbers_of):
            return False  # the others are still being forked
        return all(self._sleeps(number) or now - since > self._deadline_s for number, since in self._running.items())

    def _sleeps(self, number: int) -> bool:
        threads = [thread for thread, participant in self._participants.items() if participant == number]
        return all(_state(thread) in "SZX" for thread in threads)

    def _ended(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        self._table.process_ended(pidfd)
        gone = [thread for thread in self._participants if self._table.find(thread) is None]
        for thread in gone:
            number = self._participants.pop(thread)
            self._running.pop(number, None)
            self._held.pop(number, None)
            for other in self._held.values():
                other.stuck = False

    def _receive(self) -> None:
        notification = self._listener.receive()
        if notification is not None:
            self.take(notification)

    def take(self, notification: Notification) -> None:
        """Take up a trapped call: hold its caller, or let it go on."""
        id_, thread, _, number, _, _, *arguments = notification
        try:
            found = self._table.find(thread) or (
                self._table.enter(thread) if thread in self._numbers_of or self._is_ours(thread) else None
            )
            move = (
                None if found is None else self._sight.look(self._numbers.get(number, ""), arguments, found[0], thread)
            )
        except (OSError, ProcessGone, Unreadable, KeyError):
            move = None
        if move is None:
            self._listener.let_through(id_)
            return
        if move.text.startswith("!"):
            self._start(id_)
            return
        participant = self._participants.get(thread)
        if participant is None:
            participant = self._participants[thread] = self._count
            self._count += 1
        self._running.pop(participant, None)
        self._held[participant] = _Held(id_, thread, move, arguments, asleep=move.form is Form.SLEEP)

    def _start(self, id_: int) -> None:
        """A racer is there; when all are, they begin."""
        self._at_start.append(id_)
        if len(self._at_start) == len(self._numbers_of):
            for waiting in self._at_start:
                self._listener.answer(waiting, 1)

    def _is_ours(self, thread: int) -> bool:
        """Whether an unknown thread descends from a racer: the warm process itself is served, never held."""
        seen = thread
        while seen > 1:
            try:
                with open(f"/proc/{seen}/status", encoding="ascii", errors="replace") as file:
                    fields = dict(line.split(":\t", 1) for line in file if line.startswith(("Tgid", "PPid")))
            except OSError:
                return False
            if int(fields["Tgid"]) in self._numbers_of:
                return True
            seen = int(fields["PPid"])
        return False

    def _end(self) -> None:
        """Kill who is left, and answer until nobody is."""
        for process in self._table.processes():
            process.kill()
        give_up = monotonic() + _END_S
        while self._table.processes() and monotonic() < give_up:
            for descriptor, _ in self._poll.poll(100):
                if descriptor == self._listener.descriptor:
                    notification = self._listener.receive()
                    if notification is not None:
                        self._listener.let_through(notification[0])
                else:
                    self._poll.unregister(descriptor)
                    self._table.process_ended(descriptor)
        self._table.close()


def _state(thread: int) -> str:
    try:
        with open(f"/proc/{thread}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2][:1].decode()
    except OSError:
        return "X"
