"""One episode of a race: everyone is held, one is released, and so on until all have ended.

A step is: the chosen participant's call is performed, and it runs on until its next call of interest, its end, or until
it waits for something that only another can bring. Then the policy chooses again. So at each choice all participants
stand still, and the same choices give the same episode.

Waiting costs nothing: a sleep returns at once, and whoever slept is passed over for a while where others are ready,
unless the policy wakes it early; a wait with a time limit is over when what it waits for is there, else like a sleep
(`waits.py`); a blocking lock is tried, and whoever does not get it stands aside until another one has moved. What a
sleep or a wait would have taken goes onto the steady clock that all participants see. When nobody can move, that is a
deadlock. After a quarter of the steps allowed an episode goes round in turn, so that nobody starves whatever the
policy.

Participants: the racers have the numbers from 0; with n of them, the threads and processes that racer r starts have
the numbers r + n, r + 2n, and so on. An episode is over when the racers are; what they leave
running is killed. Read `standing.py` for who is asleep, `locks.py` for locks, `stage.py` next.
"""

import os
import select
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import final

from chaos.race.locks import control_lock_is_free, flock_now, waits_for_flock
from chaos.race.moves import UNSEEN, Form, Move, Sight
from chaos.race.policies import Policy, in_turn
from chaos.race.standing import is_locked, is_over, racer_above, rests
from chaos.race.waits import give_up, is_met, limit_s, rest_steps
from chaos.syscalls.listener import Listener, Notification
from chaos.syscalls.processes import Process, ProcessGone, ProcessTable, Unreadable
from chaos.trace.model import Frame
from chaos.trace.sources import SourceLines

__all__ = ["Cast", "Episode", "Step"]

_LOOK_S = 0.002  # a participant that is silent for so long is looked at
_END_S = 5.0  # for those who are killed to be gone
_LOCKED_S = 0.1  # until it is looked whether all wait for threads of their own, which nobody else can wake
_LOCKED_LOOKS = 2  # in a row: while the last one is looked at, it may wake the first one
_LONGEST_REST = 20  # steps
_EARLY = 6  # times that a policy may wake a racer early: as if the others were stopped for as long
_SPINS = 50  # time limits that pass at once; who still waits then seems to look at another clock, and waits for real
_FREE_PART = 4  # the policy chooses in the first quarter of the steps allowed
_ROUNDS = 2  # deadlines that those have together who keep waking each other without any call on the folder
_START = "!"  # what a racer says when it is there


@final
@dataclass(frozen=True, slots=True)
class Step:
    """What one participant did when it was let go, and from where; `source` is empty unless lines were asked for."""

    participant: int
    move: Move
    source: tuple[Frame, ...] = ()


@final
@dataclass(slots=True)
class Episode:
    """What happened.

    Attributes:
        racers: how many race.
        steps: in order.
        ready: who could have been chosen at each.
        free: how many steps, from the first, the policy chose.
        ends: who ended, and before which step.
        waiting: the steps that those who stood waiting for each other at the end could not do; empty if nobody did.
        cut: why it was ended by force, "" if it was not.
    """

    racers: int
    steps: list[Step] = field(default_factory=list)
    ready: list[tuple[int, ...]] = field(default_factory=list)
    free: int = 0
    ends: list[tuple[int, int]] = field(default_factory=list)
    waiting: tuple[Step, ...] = ()
    cut: str = ""


@final
@dataclass(slots=True)
class _Held:
    """A participant that stands at a call."""

    id: int
    thread: int
    process: Process
    move: Move
    arguments: list[int]
    source: tuple[Frame, ...]
    call: str
    awake_at: int  # when, counted in steps, it goes on by right
    due_s: float = 0.0  # of a sleep or a wait: when it is over, by the participants' steady clock
    stuck: bool = False  # it did not get its lock; try again when somebody else has moved


@final
class Cast:
    """The participants of one episode, and the loop around them.

    Args:
        listener: of the filter that they run under.
        numbers: call number -> name.
        sight: reads their calls.
        pids: of the racing processes, in order.
        deadline_s: how long one may compute, or wait out of sight, between two calls.
        sources: who can tell source lines; None when nobody asks.
        set_clock: lets the participants' steady clock go so many seconds ahead of the real one.
    """

    def __init__(
        self,
        listener: Listener,
        numbers: dict[int, str],
        sight: Sight,
        pids: Sequence[int],
        *,
        deadline_s: float,
        sources: SourceLines | None = None,
        set_clock: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._listener, self._numbers, self._sight = listener, numbers, sight
        self._deadline_s, self._sources = deadline_s, sources
        self._futex = next((number for number, name in numbers.items() if name == "futex"), -1)
        self._later: list[Notification] = []  # calls that came while source lines were waited for
        self._poll = select.poll()
        self._poll.register(listener.descriptor, select.POLLIN)
        self._table = ProcessTable(watch=self._watch)
        self._racers = {pid: number for number, pid in enumerate(pids)}
        self._participants: dict[int, int] = {}  # thread -> participant
        self._offspring: Counter[int] = Counter()  # racer -> how many threads and processes of its own
        self._at_start: dict[int, int] = {}  # racer -> its call, until all are there
        self._begun = False
        self._running: dict[int, float] = {}  # participant -> since when, or since it was seen at rest
        self._asleep: set[int] = set()  # of those who run, out of sight
        self._held: dict[int, _Held] = {}
        # By racer: a script that polls sleeps in a process of its own each time.
        self._slept: Counter[int] = Counter()
        self._woken: Counter[int] = Counter()  # early
        self._waited: Counter[int] = Counter()  # until the time was over
        self._skipped = 0
        self._ahead_s, self._set_clock = 0.0, set_clock
        self.episode = Episode(len(pids))
        for number, pid in enumerate(pids):
            self._participants[pid] = number
            self._running[number] = monotonic()
            try:
                self._table.enter(pid)
            except ProcessGone:
                self._gone(pid)

    def _watch(self, pidfd: int) -> None:
        self._poll.register(pidfd, select.POLLIN)

    def play(self, policy: Policy, *, most_steps: int) -> Episode:
        """Steer to the end."""
        try:
            self._play(policy, most_steps)
        finally:
            self._end()
        return self.episode

    def _play(self, policy: Policy, most_steps: int) -> None:
        episode, last = self.episode, -1
        while self._settle():
            if self._go_on():
                continue
            ready = self._ready()
            if not ready:
                if not self._running or not self._hears_from_outside():
                    self._stand_still()
                    return
                continue
            step = len(episode.steps)
            if step >= most_steps:
                episode.cut = f"still under way after {most_steps} calls{self._idling(step)}"
                return
            free = step < most_steps // _FREE_PART
            chosen = policy.choose(step, ready, last, self._early(ready)) if free else in_turn(ready, last)
            if self._release(chosen, ready):
                last = chosen
                episode.free += free

    def _settle(self) -> bool:
        """Wait until everyone is held, has ended, or sleeps out of sight; whether the episode goes on.

        Whoever wakes a sleeper has done so before it stands still itself. So when only those run who were asleep
        before, one look tells; else there is time to wait for the next call first, which mostly comes.
        """
        look_first, computing_since = len(self._running) > 1, monotonic()
        while (self._running or self._is_beside()) and self._is_under_way():
            at_once = look_first or (self._running and self._asleep.issuperset(self._running))
            if self._take_events(0.0 if at_once else _LOOK_S):
                look_first = True
                continue
            look_first = False
            self._asleep = {number for number in list(self._running) if self._rests(number)}
            busy = {number: self._running[number] for number in self._running.keys() - self._asleep}
            busy |= dict.fromkeys(self._computes_beside(), computing_since)
            now = monotonic()
            self._running.update(dict.fromkeys(self._asleep & self._running.keys(), now))  # who rests computes anew
            is_endless = now - computing_since > _ROUNDS * self._deadline_s
            late = [number for number, since in busy.items() if is_endless or now - since > self._deadline_s]
            if late:
                self.episode.cut = (
                    f"{self._name(min(late))} computed for {self._deadline_s:g} s without any call on the folder"
                )
                return False
            # Whoever rests may do so at a trapped call that came after the last look at the listener.
            if not busy and not self._take_events(0.0):
                break
        return self._is_under_way()

    def _is_beside(self) -> bool:
        """Whether somebody new is at work, or has just come to a call."""
        waits = any(held.move.form is Form.WAIT for held in self._held.values())
        return waits and (bool(self._computes_beside()) or self._take_events(0.0))

    def _computes_beside(self) -> list[int]:
        """Who waits for a thread or process of its own that has not been seen yet, and may come up with a call."""
        waiting = [(number, held.thread) for number, held in self._held.items() if held.move.form is Form.WAIT]
        return [number for number, thread in waiting if not rests(thread)]

    def _is_under_way(self) -> bool:
        return any(number < len(self._racers) for number in (*self._held, *self._running))

    def _rests(self, number: int) -> bool:
        """Whether a participant is asleep in the kernel; whoever turns out to be gone is forgotten."""
        for thread in [thread for thread, who in self._participants.items() if who == number]:
            if is_over(thread):
                self._gone(thread)
                return True
            if not rests(thread):
                return False
        return self._begun or number in self._at_start

    def _ready(self) -> tuple[int, ...]:
        movable = {number: held for number, held in self._held.items() if not held.stuck}
        if not movable:
            return ()
        now = self._now()
        soonest = min(held.awake_at for held in movable.values())
        if soonest > now:  # all rest: time passes for everybody
            self._skipped += soonest - now
            now = soonest
        return tuple(sorted(number for number, held in movable.items() if held.awake_at <= now))

    def _now(self) -> int:
        """In steps, those counted that passed while all rested."""
        return len(self.episode.steps) + self._skipped

    def _idling(self, steps: int) -> str:
        """What to say when there was little but sleep: no time passes on clocks that are not steered."""
        is_idle = 3 * self._slept.total() > steps
        return (
            ", many of them sleeps: nothing comes, or the wall clock is waited for, which sleeps do not move" * is_idle
        )

    def _early(self, ready: tuple[int, ...]) -> tuple[int, ...]:
        """Sleepers that may be woken though others should go first: a process may be stopped at any time."""
        sleepers = [number for number, held in self._held.items() if held.move.form is Form.SLEEP]
        return tuple(sorted(one for one in sleepers if one not in ready and self._woken[self._racer(one)] < _EARLY))

    def _go_on(self) -> bool:
        """Let those go on that wait for what has come; whether there were any."""
        waiting = [(number, held) for number, held in self._held.items() if held.move.form is Form.WAIT]
        met = [(number, held) for number, held in waiting if self._is_met(held)]
        for number, held in met:
            self._listener.let_through(held.id)
            self._set_running(number)
        return bool(met)

    def _is_met(self, held: _Held) -> bool:
        try:
            return is_met(held.call, held.arguments, held.process)
        except (OSError, ProcessGone, Unreadable):
            return True  # the kernel says so to the caller, if there is one

    def _set_running(self, number: int) -> None:
        del self._held[number]
        self._asleep.discard(number)
        self._running[number] = monotonic()

    def _hears_from_outside(self) -> bool:
        """Wait for those who sleep out of sight, as long as the deadline allows, or less where nobody can come."""
        give_up, looks = monotonic() + self._deadline_s, 0
        while looks < _LOCKED_LOOKS and (left_s := give_up - monotonic()) > 0:
            if self._take_events(min(left_s, _LOCKED_S)):
                return True
            threads = [thread for thread, number in self._participants.items() if number in self._running]
            looks = looks + 1 if all(is_locked(thread, self._futex) for thread in threads) else 0
        return False

    def _stand_still(self) -> None:
        """Nobody can move any more."""
        waiting = [Step(number, held.move, held.source) for number, held in self._held.items()]
        waiting += [Step(number, UNSEEN) for number in self._running]
        self.episode.waiting = tuple(sorted(waiting, key=lambda step: step.participant))

    def _release(self, number: int, ready: tuple[int, ...]) -> bool:
        held = self._held[number]
        try:
            done = self._perform(held)
        except (OSError, ProcessGone, Unreadable):
            done = self._listener.let_through(held.id)  # the kernel says so to the caller, if there is one
        if not done:
            held.stuck = True
            return False
        if held.move.form is Form.SLEEP and number not in ready:
            self._woken[self._racer(number)] += 1
        self._set_running(number)
        self.episode.steps.append(Step(number, held.move, held.source))
        self.episode.ready.append(ready)
        self._unstick()
        return True

    def _unstick(self) -> None:
        for held in self._held.values():
            held.stuck = False

    def _perform(self, held: _Held) -> bool:
        """Let the call happen; False when it would have to wait."""
        form, answer, arguments = held.move.form, self._listener, held.arguments
        if form is Form.SLEEP:
            self._pass_time(held)
            answer.answer(held.id, 0)
        elif form is Form.WAIT:
            self._time_out(held)
        elif form is Form.SAY:
            answer.answer(held.id, arguments[2])
        elif form is Form.LOCK and waits_for_flock(arguments[1] & 0xFFFFFFFF):
            result = flock_now(held.process, arguments[0] & 0xFFFFFFFF, arguments[1] & 0xFFFFFFFF)
            if result is None:
                return False
            answer.answer(held.id, result)
        else:
            command = arguments[1] & 0xFFFFFFFF
            if form is Form.CONTROL and not control_lock_is_free(
                held.process, arguments[0] & 0xFFFFFFFF, command, arguments[2]
            ):
                return False
            answer.let_through(held.id)
        return True

    def _time_out(self, held: _Held) -> None:
        number = self._participants[held.thread]
        self._waited[number] += 1
        if self._waited[number] > _SPINS:
            self._listener.let_through(held.id)
            return
        self._pass_time(held)
        self._listener.answer(held.id, give_up(held.call, held.arguments, held.process))

    def _pass_time(self, held: _Held) -> None:
        """Let the clock show that the time is over."""
        ahead_s = held.due_s - monotonic()
        if ahead_s > self._ahead_s:
            self._ahead_s = ahead_s
            self._set_clock(ahead_s)

    def _take_events(self, wait_s: float) -> bool:
        """Take up what happens within that time; whether anything did."""
        if self._later:
            self.take(self._later.pop(0))
            return True
        events = self._poll.poll(wait_s * 1000)
        for descriptor, _ in events:
            if descriptor != self._listener.descriptor:
                self._process_ended(descriptor)
        if any(descriptor == self._listener.descriptor for descriptor, _ in events):
            notification = self._listener.receive()
            if notification is not None:
                self.take(notification)
        return bool(events)

    def _process_ended(self, pidfd: int) -> None:
        self._poll.unregister(pidfd)
        self._table.process_ended(pidfd)
        for thread in [thread for thread in self._participants if self._table.find(thread) is None]:
            self._gone(thread)

    def _gone(self, thread: int) -> None:
        number = self._participants.pop(thread)
        self._running.pop(number, None)
        self._held.pop(number, None)
        self._at_start.pop(number, None)
        self.episode.ends.append((len(self.episode.steps), number))
        self._unstick()
        self._begin()

    def take(self, notification: Notification) -> None:
        """Take up a trapped call: hold its caller, or let it go on."""
        id_, thread, _, number, _, _, *arguments = notification
        try:
            # A thread comes in with what it does, and not with a wait: those that only help are none of the race's.
            waits = number == self._futex and thread not in self._participants
            process = None if waits else self._process_of(thread)
            move = None
            if process is not None:
                move = self._sight.look(self._numbers.get(number, ""), arguments, process, thread)
        except (OSError, ProcessGone, Unreadable, KeyError):
            process = move = None
        if process is None or move is None:
            self._listener.let_through(id_)
        elif move.form is Form.SAY and move.text.startswith(_START):
            self._at_start[self._participants[thread]] = id_
            self._begin()
        else:
            self._hold(_Held(id_, thread, process, move, arguments, (), self._numbers[number], self._now()))

    def _hold(self, held: _Held) -> None:
        number, form = self._participants[held.thread], held.move.form
        self._running.pop(number, None)
        if form in (Form.SLEEP, Form.WAIT):
            with suppress(OSError, ProcessGone, Unreadable):  # the kernel says so to the caller
                wait_s = limit_s(held.call, held.arguments, held.process) or 0.0
                held.due_s = monotonic() + self._ahead_s + wait_s
            racer = self._racer(number)
            self._slept[racer] += form is Form.SLEEP
            rest = min(self._slept[racer], _LONGEST_REST) if form is Form.SLEEP else rest_steps(wait_s)
            held.awake_at += rest
        held.source = self._source(held.thread, held.process)
        self._held[number] = held

    def let_others(self) -> bool:
        """Let threads go on that are none of the race's, while source lines are waited for; whether there were any."""
        found = False
        while any(descriptor == self._listener.descriptor for descriptor, _ in self._poll.poll(0)):
            notification = self._listener.receive()
            if notification is None:
                continue
            if notification[3] == self._futex and notification[1] not in self._participants:
                found = self._listener.let_through(notification[0]) or found
            else:
                self._later.append(notification)
        return found

    def _source(self, thread: int, process: Process) -> tuple[Frame, ...]:
        if self._sources is None or not self._sources.start(thread, process.id):
            return ()
        return self._sources.finish()

    def _process_of(self, thread: int) -> Process | None:
        """The process of a participant's thread, taken up if new; None of others: the warm process is served only."""
        found = self._table.find(thread)
        if found is None or thread not in self._participants:
            racer = racer_above(thread, self._racers)
            if racer is None:
                return None
            found = found or self._table.enter(thread)
            if thread not in self._participants:
                self._offspring[racer] += 1
                self._participants[thread] = racer + self._offspring[racer] * len(self._racers)
        return found[0]

    def _begin(self) -> None:
        """Let the racers go once all that still live are there."""
        living = [number for number in self._participants.values() if number < len(self._racers)]
        if not self._begun and all(number in self._at_start for number in living):
            self._begun = True
            for number, waiting in self._at_start.items():
                self._asleep.discard(number)
                self._running[number] = monotonic()
                self._listener.answer(waiting, 1)

    def _racer(self, number: int) -> int:
        return number % len(self._racers)

    def _name(self, number: int) -> str:
        return f"worker {self._racer(number)}"

    def _end(self) -> None:
        """Kill who is left, and answer until nobody is."""
        for pid in self._racers:
            with suppress(OSError):
                os.killpg(pid, 9)
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
