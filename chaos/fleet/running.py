"""The one impure loop: start the workers, carry the plan out, heal, see that they live, end them, look at what is left.

The loop waits for the tender's news and for the next thing that is due, whichever comes first, and decides nothing by
chance. Read `plan.py` for what is carried out, `crew.py` for the processes, `judging.py` for what is made of it.
"""

import heapq
import json
import os
import select
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import Any, final

from chaos.child.actors import spec_of
from chaos.child.chronicle import HARNESS, Chronicle
from chaos.child.tender import ROLE, SERVICE, Job
from chaos.errors import UsageError
from chaos.fleet.crew import Crew, refusal
from chaos.fleet.faults import FaultKind
from chaos.fleet.links import Links
from chaos.fleet.places import Places
from chaos.fleet.plan import Plan, Strike
from chaos.fleet.settings import Course, Crewman, FleetRoles, FleetSettings
from chaos.fleet.supervised import Gate
from chaos.fleet.telling import Told, statements
from chaos.observations import Ending, Outcome
from chaos.trace.model import Frame

__all__ = ["run_fleet"]

_LOOK_S = 0.003  # how often the statements are counted while something hangs on their number
_CALM_S = 0.1  # and while nothing does
_TRIM_EVERY_S = 1.0
_ENDED_S = 10.0  # a killed process needs a while to die
_HOPELESS = 8  # deaths in a row, with no fault about, after which a worker is given up
_LIMITS = {FaultKind.MEMORY: "memory", FaultKind.DESCRIPTORS: "descriptors", FaultKind.CPU: "cpu"}


def run_fleet(roles: FleetRoles, settings: FleetSettings, plan: Plan, places: Places) -> Course:
    """Run one fleet from its set-up to its recovery.

    Raises:
        UsageError: the target can't be imported, or setting up fails.
        NotMeasured: the system does not give what the faults need.
        HarnessFault: the processes above the workers were killed.
    """
    if roles.service is None and any(strike.kind is FaultKind.NETWORK for strike in plan.strikes):
        raise UsageError("a fault 'network' needs a service for the workers to talk to", "name it: service")
    clocks = any(strike.kind is FaultKind.CLOCK and strike.clock != "kernel" for strike in plan.strikes)
    pen = Chronicle(places.chronicle, HARNESS, 0)
    gate = Gate(plan.calls, plan.seed, pen) if plan.calls else None
    with pen, Crew(places, _job(roles, settings, plan, places), clocks=clocks, gate=gate) as crew:
        if roles.setup is not None:
            _set_up(crew, settings)
        initial = _recover(crew, roles, settings, places) if settings.look_first else None
        links = Links(crew.port, plan) if crew.port else None
        fleet = _Fleet(crew, places, settings, plan, pen, gate, links)
        try:
            fleet.hurt()
            stuck = fleet.heal()
            unfinished = fleet.finish()
        finally:
            fleet.close()
        recovery = _recover(crew, roles, settings, places)
        sizes = crew.play("look", settings.deadline_s).get("sizes", {})
        strays = crew.end()
    return Course(
        plan=plan,
        fired=fleet.fired + (0 if gate is None else gate.count),
        sources=() if gate is None else gate.sources(),
        crew=tuple(fleet.crewmen),
        chronicle=places.chronicle,
        stuck=stuck,
        unfinished=unfinished,
        recovery=recovery,
        strays=strays,
        sizes=sizes,
        initial=initial,
        hurt_s=fleet.hurt_s,
    )


def _job(roles: FleetRoles, settings: FleetSettings, plan: Plan, places: Places) -> Job:
    return Job(
        worker=spec_of(roles.worker),
        setup=None if roles.setup is None else spec_of(roles.setup),
        recover=None if roles.recover is None else spec_of(roles.recover),
        check=None if roles.check is None else spec_of(roles.check),
        service=None if roles.service is None else spec_of(roles.service),
        disk=places.disk,
        chronicle=places.chronicle,
        output=places.printed,
        workers=plan.workers,
        clocks="",
        disk_bytes=settings.disk_bytes or 0,
    )


def _set_up(crew: Crew, settings: FleetSettings) -> None:
    done = crew.play("setup", settings.deadline_s)
    if "ending" in done:
        raise UsageError(f"setting up failed: {done.get('error') or done['ending']}", "mend `setup`")


def _recover(crew: Crew, roles: FleetRoles, settings: FleetSettings, places: Places) -> Outcome | None:
    if roles.recover is None and roles.check is None:
        return None
    with open(places.path("acked"), "w", encoding="utf-8") as file:
        if roles.check is not None:
            file.writelines(text[1:] + "\n" for _, _, _, text in statements(places.chronicle) if text[:1] == "a")
    report = crew.play("recover", settings.deadline_s)
    frames = tuple(Frame(file=file, line=line, function=function) for file, line, function in report.pop("frames", ()))
    ending = Ending(report.pop("ending", Ending.RETURNED.value))
    return Outcome(ending=ending, frames=frames, output=places.tail(str(ROLE)), **report)


@final
class _Fleet:
    """A fleet under way."""

    def __init__(
        self,
        crew: Crew,
        places: Places,
        settings: FleetSettings,
        plan: Plan,
        pen: Chronicle,
        gate: Gate | None,
        links: Links | None = None,
    ) -> None:
        self._gate, self._links = gate, links
        self.crew, self.places, self.settings = crew, places, settings
        self.crewmen = [Crewman() for _ in range(plan.workers)]
        self.fired = self._of_network = 0
        self.hurt_s = 0.0
        self._told = Told(places.chronicle)
        self._pen = pen
        self._poll = select.poll()
        self._poll.register(crew, select.POLLIN)
        self._began = self._trimmed = time.monotonic()
        # The next one last: those that wait for a time, and those that wait for a number of statements.
        self._timed = [strike for strike in reversed(plan.strikes) if not strike.statements]
        counted = (strike for strike in plan.strikes if strike.statements)
        self._counted = sorted(counted, key=lambda strike: strike.statements, reverse=True)
        self._due: list[tuple[float, int, Callable[[], None]]] = []  # a heap of what ends or begins at a time
        self._number = count()
        self._alive: set[int] = set()
        self._hit: set[int] = set()  # workers that a fault has killed, until the news of it comes
        self._waiting: set[int] = set()  # to be started again
        self._lasting: dict[int, Callable[[], None]] = {}
        self._shifts: dict[int, float] = {}  # of the kernel's clocks, for lives that begin now
        self._fruitless = [0] * plan.workers
        self._seen = [0] * plan.workers
        self._restarts = True

    def close(self) -> None:
        self._told.close()
        if self._links is not None:
            if not self._links.injected:  # no connection met any of them
                self.fired -= self._of_network
            self._links.close()
            self.crew.signal(SERVICE, signal.SIGKILL)

    # The three phases.

    def hurt(self) -> None:
        """Carry the plan out."""
        if self._gate is not None:
            self._gate.is_open = True
        if self._links is not None:
            self.crew.serve()
        for worker in range(len(self.crewmen)):
            self._start(worker)
        end = self._began + self.settings.duration_s
        while self._is_to_be_hurt() and self._now() < end:
            self._tick(end)
        self.hurt_s = self._now() - self._began
        self._state("*", {"what": "the faults are over"})

    def heal(self) -> tuple[int, ...]:
        """Take all faults back, and wait until each worker has made progress; those that have not."""
        if self._gate is not None:
            self._gate.is_open = False
        for undo in [*self._lasting.values()]:
            undo()
        self._lasting.clear()
        settled = self._now() + _ENDED_S
        while self._hit & self._alive and self._now() < settled:  # what they said before they died is no progress
            self._tick(settled)
        self._told.advance()
        before = dict(self._told.counts)
        end = self._now() + self.settings.progress_s

        def stuck() -> tuple[int, ...]:
            self._told.advance()
            return tuple(
                worker
                for worker, one in enumerate(self.crewmen)
                if not one.returned and self._counts_on(worker) and self._told.counts[worker] <= before.get(worker, 0)
            )

        self._fruitless = [0] * len(self.crewmen)
        while (left := stuck()) and self._now() < end:
            if all(self._fruitless[worker] >= _HOPELESS for worker in left):
                break
            self._tick(end)
        return stuck()

    def finish(self) -> tuple[int, ...]:
        """Wait for those who should return by themselves, then kill the others; who did not return."""
        unfinished: tuple[int, ...] = ()
        if self.settings.finish_s is not None:
            end = self._now() + self.settings.finish_s
            while self._unfinished() and self._now() < end:
                self._tick(end)
            unfinished = self._unfinished()
        self._restarts = False
        self._due.clear()
        self._waiting.clear()
        for worker in self._alive:
            self.crew.signal(worker, signal.SIGKILL)
        end = self._now() + _ENDED_S
        self._hit |= self._alive
        while self._alive and self._now() < end:
            self._tick(end)
        self._told.advance()
        for worker, one in enumerate(self.crewmen):
            one.stated = self._told.counts[worker]
        return unfinished

    def _is_to_be_hurt(self) -> bool:
        hurting = self._timed or self._counted or self._lasting or (self._gate is not None and not self._gate.is_spent)
        return bool(hurting and (self._alive or self._waiting or self._due))

    def _unfinished(self) -> tuple[int, ...]:
        return tuple(n for n, one in enumerate(self.crewmen) if not one.returned and self._counts_on(n))

    def _counts_on(self, worker: int) -> bool:
        """Whether it lives, or is to be started again."""
        return worker in self._alive or worker in self._waiting

    # One turn of the loop.

    def _tick(self, end: float) -> None:
        now = self._now()
        if now - self._trimmed > _TRIM_EVERY_S:
            self.places.trim()
            self._trimmed = now
        self._poll.poll(max(0.0, min(self._next(now), end) - now) * 1000)
        for message in self.crew.news():
            if "wrong" in message:
                raise refusal(message)
            if message.get("ended") == SERVICE:
                words = _ending_words(os.waitstatus_to_exitcode(message["status"]))
                printed = " ".join(self.places.tail(str(SERVICE)).split())[-300:]
                raise UsageError(f"the service {words}, though nothing is done to it ({printed})", "mend `service`")
            if "ended" in message and message["ended"] >= 0:
                self._ended(message)
        self._told.advance()
        while self._due and self._due[0][0] <= self._now():
            heapq.heappop(self._due)[2]()
        for waiting in (self._timed, self._counted):
            while waiting and self._is_due(waiting[-1]):
                self._strike(waiting.pop())

    def _next(self, now: float) -> float:
        """When the loop must look again, at the latest."""
        times = [now + _CALM_S]
        if self._due:
            times.append(self._due[0][0])
        if self._timed:
            times.append(self._began + self._timed[-1].at_s)
        if self._counted:
            times.append(now + _LOOK_S)
        return min(times)

    def _is_due(self, strike: Strike) -> bool:
        return self._began + strike.at_s <= self._now() and strike.statements <= self._told.total

    # What is done to workers.

    def _start(self, worker: int) -> None:
        self._waiting.discard(worker)
        one = self.crewmen[worker]
        address = "" if self._links is None else self._links.address(worker)
        self.crew.start(worker, one.lives, shift_s=self._shifts.get(worker, 0.0), service=address)
        one.lives += 1
        self._alive.add(worker)

    def _ended(self, message: dict[str, Any]) -> None:
        worker, one = message["ended"], self.crewmen[message["ended"]]
        self._alive.discard(worker)
        one.peak_bytes = max(one.peak_bytes, message["peak"])
        code = os.waitstatus_to_exitcode(message["status"])
        # At a system call it is the supervisor who kills.
        hit = code == -signal.SIGKILL and (worker in self._hit or self._gate is not None)
        self._hit.discard(worker)
        words = "killed" if hit else "returned" if code == 0 else _ending_words(code)
        self._state("~", {"worker": worker, "life": message["life"], "how": words})
        if code == 0:
            one.returned = True
            return
        one.killed += hit and self._restarts  # in the end it is no fault
        if not hit:
            one.failed += 1
            one.last_failure = words
            self._count_fruitless(worker)
        if self._restarts and self.settings.restart.allows(one.lives - 1):
            self._waiting.add(worker)
            deaths = 1 if hit else self._fruitless[worker]
            self._later(self.settings.restart.wait_s(deaths), lambda: self._start(worker))

    def _count_fruitless(self, worker: int) -> None:
        """A worker died that no fault had killed: was there any progress since it did so before?"""
        self._told.advance()
        made = self._told.counts[worker]
        self._fruitless[worker] = 1 if made > self._seen[worker] else self._fruitless[worker] + 1
        self._seen[worker] = made

    def _strike(self, strike: Strike) -> None:
        self.fired += 1
        self._of_network += strike.kind is FaultKind.NETWORK
        told = {"what": strike.words, "workers": list(strike.workers)}
        if strike.kind is FaultKind.KILL:
            self._state("*", told)
            self._hit |= self._alive.intersection(strike.workers)
            for worker in strike.workers:
                self.crew.signal(worker, signal.SIGKILL)
            return
        self._apply(strike)
        self._state("*", told)  # what is stated from here to "is over" was stated under it
        number = next(self._number)

        def undo() -> None:
            if self._lasting.pop(number, None) is not None:
                self._take_back(strike)

        self._lasting[number] = lambda: self._take_back(strike)
        if strike.lasts_s is not None:
            self._later(strike.lasts_s, undo)

    def _apply(self, strike: Strike) -> None:
        if strike.kind is FaultKind.DISK_FULL:
            self.crew.leave_room(strike.amount or 0)
        for worker in strike.workers:
            if strike.kind is FaultKind.PAUSE:
                self.crew.signal(worker, signal.SIGSTOP)
            elif self._links is not None and strike.kind is FaultKind.NETWORK:
                self._links.add(worker, strike.rules)
            elif strike.clock == "kernel":
                self._shifts[worker] = strike.shift_s or 0.0
            elif strike.kind is FaultKind.CLOCK:
                self.crew.set_clock(worker, strike.clock, **_clock_settings(strike))
            elif strike.kind in _LIMITS:
                self.crew.limit(worker, _LIMITS[strike.kind], strike.amount)

    def _take_back(self, strike: Strike) -> None:
        self._state("*", {"what": f"{strike.words} is over", "workers": list(strike.workers)})
        if strike.kind is FaultKind.DISK_FULL:
            self.crew.leave_room(None)
        for worker in strike.workers:
            if strike.kind is FaultKind.PAUSE:
                self.crew.signal(worker, signal.SIGCONT)
            elif self._links is not None and strike.kind is FaultKind.NETWORK:
                self._links.remove(worker, strike.rules)
            elif strike.clock == "kernel":
                self._shifts.pop(worker, None)
            elif strike.kind is FaultKind.CLOCK:
                self.crew.set_clock(worker, strike.clock)
            elif strike.kind in _LIMITS:
                self.crew.limit(worker, _LIMITS[strike.kind], None)

    def _later(self, wait_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self._now() + wait_s, next(self._number), what))

    def _state(self, kind: str, what: dict[str, Any]) -> None:
        self._pen.append(kind + json.dumps(what, separators=(",", ":")))

    def _now(self) -> float:
        return time.monotonic()


def _clock_settings(strike: Strike) -> dict[str, int]:
    if strike.shift_s is not None:
        return {"shift_ns": round(strike.shift_s * 1e9)}
    return {"frozen_ns": time.time_ns() if strike.clock == "wall" else time.monotonic_ns()}


def _ending_words(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
