"""The one loop: take a trapped call, let its handler decode it, ask the policy, let the handler perform it, answer.

Everything that is done to a running program goes through here: recording is what the handlers do, injecting (and
later scheduling) is what the policy decides. The loop serves one call at a time, so the order of effects is the
order of the trace. It must never block on the target: what is not about the watched folder is let through at once.

What it guarantees: when `run` returns or raises, no process of the target is left. Read `chaos/trace/recorder.py`
next, which supplies the handlers.
"""

import os
import select
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from errno import EMFILE, ENFILE, ENOENT
from types import GeneratorType
from typing import Protocol, cast, final

from chaos.errors import HarnessFault
from chaos.syscalls.beside import Beside
from chaos.syscalls.calls import (
    CONTINUE,
    Call,
    Fail,
    Handler,
    Hold,
    Installed,
    KillAfter,
    KillBefore,
    KillInside,
    Partial,
    Policy,
    Proceed,
    Reach,
    Reply,
    Steps,
    Trap,
    Wait,
)
from chaos.syscalls.held import HeldCalls
from chaos.syscalls.kernel import set_file_identity
from chaos.syscalls.launch import Guarded, MainEnded, architecture
from chaos.syscalls.listener import Listener
from chaos.syscalls.processes import Process, ProcessGone, ProcessTable, Unreadable, own_identity
from chaos.syscalls.tables import READS

__all__ = ["Ending", "Observer", "Supervisor", "Timing"]

_LOOK_EVERY = 255  # calls between two looks at whether the target has more threads; one less than a power of two
_CALLS_A_LOOK = 32  # calls between two looks at the clock
_LONGEST_WAIT_S = 3600.0  # poll takes no more than 24 days in one go
_KILLED_WAIT_S = 5.0  # a process in an uninterruptible call needs a while to die


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a run may take.

    Attributes:
        deadline_s: the whole run; what runs then is killed.
        grace_s: processes that outlive the main one; likewise.
    """

    deadline_s: float
    grace_s: float


@final
@dataclass(slots=True)
class Ending:
    """How a run went, besides what the handlers recorded.

    Attributes:
        exit_code: of the main process; negative = killed by that signal.
        calls: how many calls were trapped.
        timed_out: whether the deadline was hit.
        outlived: names of the processes that were still running after the grace.
        interrupted: how many performed calls a signal undid for their caller.
    """

    exit_code: int = 0
    calls: int = 0
    timed_out: bool = False
    outlived: str = ""
    interrupted: list[str] = field(default_factory=list)


_Kill = KillAfter | KillInside


class Observer(Protocol):
    """What the loop tells the recorder, besides calling its handlers."""

    def before(self, trap: Trap) -> None:
        """A call is about to take effect."""
        ...

    def after(self, trap: Trap) -> None:
        """It did, or it failed."""
        ...

    def intervened(self, trap: Trap, call: Call) -> None:
        """The policy does not let a call simply proceed; the caller still waits, and nothing is done yet."""
        ...

    def foreign(self, process: Process) -> None:
        """A program of another architecture or calling convention made a call."""
        ...

    def unreadable(self, process: Process, reason: str) -> None:
        """The kernel lets nobody look into a process."""
        ...


class _KillTreeError(Exception):
    """The policy killed the whole tree."""


@final
class Supervisor:
    """One run of one target.

    Args:
        guarded: the target; ended by `run`.
        handlers: call name -> what to do with it; other trapped calls are let through.
        observer: see `Observer`.
        policy: decides about calls; None lets all proceed.
        extra: further descriptors to listen to, with what to call when one is readable.
        processor: that of the calling thread, which keeps to it; None when it does not.
    """

    def __init__(
        self,
        guarded: Guarded,
        handlers: Mapping[str, Handler],
        observer: Observer,
        *,
        policy: Policy | None = None,
        extra: Mapping[int, Callable[[], object]] | None = None,
        processor: int | None = None,
    ) -> None:
        known = architecture()
        self._guarded = guarded
        self._audit = known.audit
        numbers = {**known.numbers, **READS[known.name]}
        self._handlers = {number: (name, handlers.get(name)) for name, number in numbers.items()}
        self._by_name = handlers
        self._observer = observer
        self._policy = policy
        self._listener = Listener(guarded.listener)
        self._poll = select.epoll()
        self.processes = ProcessTable(watch=lambda pidfd: self._poll.register(pidfd, select.EPOLLIN))
        self._extra = dict(extra or {})
        self._waiting: dict[int, tuple[Trap, Steps]] = {}
        self._held = HeldCalls()
        self._main_ended = False
        self._ended = False
        self._main_ended_first = False
        self._deadline = 0.0
        self._identity = own_identity()
        self._beside = Beside(processor)
        self.ending = Ending()

    def run(self, timing: Timing) -> Ending:
        """Serve the target until its last process has ended, or until it was killed.

        Raises:
            HarnessFault: the guardian was killed.
            KeyboardInterrupt: whatever ran has been killed.
        """
        self._deadline = time.monotonic() + timing.deadline_s
        for descriptor in (self._guarded.control.fileno(), *self._extra):
            self._poll.register(descriptor, select.EPOLLIN)
        try:
            self._serve(timing)
        except _KillTreeError:
            self._kill_all()
        except HarnessFault:
            for process in self.processes.processes():  # the guardian may be the one who is gone
                process.kill()
            raise
        finally:
            self._close()
        return self.ending

    def _serve(self, timing: Timing) -> None:
        # The listener is waited for by poll itself: only then can the kernel wake the supervisor on the processor
        # that the caller leaves (a third of the cost). Everything else stands behind one epoll descriptor.
        both = select.poll()
        poll, listener, events = both.poll, self._listener.descriptor, self._poll.poll
        both.register(listener, select.POLLIN)
        both.register(self._poll, select.POLLIN)
        only_a_call = [(listener, select.POLLIN)]
        monotonic = time.monotonic
        while not self._ended:
            remaining = self._deadline - monotonic()
            if remaining <= 0:
                self._expire()
                return
            wait_ms = self._wait_s(min(remaining, _LONGEST_WAIT_S)) * 1000
            for _ in range(_CALLS_A_LOOK):
                ready = poll(wait_ms)
                if ready != only_a_call:
                    break
                self._notification()  # by far the most frequent
                if self._held:
                    ready = []  # there is a moment to look out for
                    break
            else:
                continue
            if len(ready) > 1 or (ready and ready[0][0] != listener):
                for descriptor, _ in events(0):  # first the ends of processes: their numbers may be in use again
                    self._event(descriptor, timing)
            for descriptor, event in ready:
                if descriptor != listener:
                    continue
                if event & select.POLLIN:
                    self._notification()
                else:
                    both.unregister(listener)  # all who used the filter are gone

    def _event(self, descriptor: int, timing: Timing) -> None:
        """Something else than a call."""
        if descriptor == self._guarded.control.fileno():
            self._message(timing)
        elif descriptor in self._extra:
            self._extra[descriptor]()
        elif descriptor in self._waiting:
            self._poll.unregister(descriptor)
            trap, steps = self._waiting.pop(descriptor)
            self._advance(trap, steps)
        else:
            self._poll.unregister(descriptor)
            self.processes.process_ended(descriptor)

    def _message(self, timing: Timing) -> None:
        message = self._guarded.read()
        if isinstance(message, MainEnded):
            self.ending.exit_code = os.waitstatus_to_exitcode(message.status)
            self._main_ended = True
            self._deadline = min(self._deadline, time.monotonic() + timing.grace_s)
        else:
            self._ended = True
            if self._main_ended_first:
                self.ending.outlived = message.names

    def _expire(self) -> None:
        self._main_ended_first = self._main_ended
        self.ending.timed_out = not self._main_ended
        self._kill_all()

    def _kill_all(self) -> None:
        """Kill the tree and wait for its end; no further call is served."""
        self._guarded.kill()
        limit = time.monotonic() + _KILLED_WAIT_S
        poll = select.poll()
        poll.register(self._guarded.control, select.POLLIN)
        while not self._ended and time.monotonic() < limit:
            if poll.poll(100):
                self._message(Timing(deadline_s=_KILLED_WAIT_S, grace_s=_KILLED_WAIT_S))
        if not self._ended:
            raise HarnessFault("the target's processes could not be killed within 5 s")

    def _close(self) -> None:
        for _, steps in self._waiting.values():
            steps.close()
        self._guarded.end()
        self._listener.close()
        self.processes.close()
        self._poll.close()

    def _notification(self) -> None:
        notification = self._listener.receive()
        if notification is None:
            return
        self.ending.calls += 1
        if not self.ending.calls & _LOOK_EVERY:
            self._beside.look()
        id_, thread, _, number, audit, _, *arguments = notification
        found = self._handlers.get(number) if audit == self._audit else None
        name, handler = found if found is not None else ("", None)
        try:
            owner = self.processes.find(thread)
            if owner is None:
                owner = self.processes.enter(thread)
                if not self._listener.is_valid(id_):  # that number may be another thread's by now
                    self.processes.thread_ended(thread)
                    return
                self._beside.seen(owner[0].id)
        except ProcessGone:
            return
        if found is None:
            self._observer.foreign(owner[0])
        if handler is None:
            self._listener.let_through(id_)
            return
        self._take(Trap(id_, name, arguments, thread, owner), handler)

    def _take(self, trap: Trap, handler: Handler) -> None:
        if trap.process.identity == self._identity:
            self._begin(trap, handler)
        else:
            self._begin_as(trap, handler)

    def _wait_s(self, most_s: float) -> float:
        """How long to wait for something to happen: no longer than until a held call is to be let go."""
        if self._held:
            self._release()
        return min(most_s, max(0.0, self._held.due_s - time.monotonic())) if self._held else most_s

    def _release(self) -> None:
        """Calls that were held long enough: what they name may have changed meanwhile, so they are read anew."""
        for trap, stopped in self._held.due(time.monotonic()):
            if stopped and trap.process in self.processes.processes():  # else its pidfd is closed
                trap.process.go_on()
            if self._listener.is_valid(trap.id):
                self._take(trap, self._by_name[trap.name])

    def _begin_as(self, trap: Trap, handler: Handler) -> None:
        """The caller has other rights than the supervisor: files are accessed with the caller's."""
        try:
            user, group, groups = trap.process.prepare()
        except (ProcessGone, Unreadable) as error:
            self._reply(trap, self._failure(trap, error))
            return
        try:
            set_file_identity(user, group, groups)
            self._begin(trap, handler)
        finally:
            set_file_identity(*self._identity)

    def _begin(self, trap: Trap, handler: Handler) -> None:
        try:
            steps = handler(trap)
        except (OSError, ProcessGone, Unreadable) as error:
            steps = self._failure(trap, error)
        if isinstance(steps, GeneratorType):  # quicker than asking for each kind of reply
            self._advance(trap, steps)
        else:
            self._reply(trap, cast("Reply", steps))

    def _advance(self, trap: Trap, steps: Steps) -> None:
        """Run a handler to its end, or to where it waits."""
        kill: _Kill | None = None
        observed = False
        try:
            step = next(steps)
            while True:
                limit = None
                if isinstance(step, Wait):
                    self._poll.register(step.descriptor, select.EPOLLIN)
                    self._waiting[step.descriptor] = (trap, steps)
                    return
                if self._policy is not None and step is not None and not trap.held:
                    limit, kill = self._decide(trap, steps, step)
                self._observer.before(trap)
                observed = True
                step = steps.send(limit)
        except StopIteration as done:
            reply: Reply = done.value
        except (OSError, ProcessGone, Unreadable) as error:
            reply = self._failure(trap, error)
        except _AnsweredError:
            return
        if observed:
            self._observer.after(trap)
        if kill is None:
            self._reply(trap, reply)
        else:
            if isinstance(reply, Installed):
                os.close(reply.descriptor)
            self._kill(trap, kill.reach)

    def _failure(self, trap: Trap, error: Exception) -> Reply:
        if isinstance(error, Unreadable):
            if not trap.process.unreadable:
                trap.process.unreadable = True
                self._observer.unreadable(trap.process, str(error))
            return CONTINUE
        if not isinstance(error, OSError):
            return CONTINUE  # the caller is gone, and the answer with it
        if error.errno in (EMFILE, ENFILE):
            raise HarnessFault(f"the supervisor may open no more files: {error}") from error
        return -(error.errno or 0)

    def _decide(self, trap: Trap, steps: Steps, call: Call) -> tuple[int | None, _Kill | None]:
        """Carry a decision out as far as it comes before the effect.

        Returns:
            How many bytes a write is cut to, and the kill that follows.
        """
        assert self._policy is not None
        decision = self._policy.decide(call)
        if isinstance(decision, Proceed):
            return None, None
        self._observer.intervened(trap, call)
        if isinstance(decision, Partial):
            return decision.size_bytes, None
        if isinstance(decision, KillInside):
            return decision.size_bytes, decision
        if isinstance(decision, KillAfter):
            return None, decision
        if isinstance(decision, KillBefore):
            steps.close()
            self._kill(trap, decision.reach)
        elif isinstance(decision, Fail):
            self._refuse(trap, steps, decision.errno)
        else:
            steps.close()
            if isinstance(decision, Hold):
                self._held.add(trap, decision, time.monotonic())
            else:
                self._listener.answer(trap.id, decision.result)
        raise _AnsweredError

    def _refuse(self, trap: Trap, steps: Steps, errno: int) -> None:
        self._observer.before(trap)
        with suppress(OSError):  # the handler is told, for a sync that failed is recorded
            steps.throw(OSError(errno, os.strerror(errno)))
        steps.close()
        self._observer.after(trap)
        self._listener.answer(trap.id, -errno)

    def _kill(self, trap: Trap, reach: Reach) -> None:
        if reach is Reach.TREE:
            raise _KillTreeError
        trap.process.kill()

    def _reply(self, trap: Trap, reply: Reply) -> None:
        if reply is CONTINUE:
            self._listener.let_through(trap.id)
        elif isinstance(reply, Installed):
            self._install(trap, reply)
        elif isinstance(reply, int) and not self._listener.answer(trap.id, reply) and not self._guarded.killable:
            self.ending.interrupted.append(trap.name)

    def _install(self, trap: Trap, reply: Installed) -> None:
        try:
            self._listener.install(trap.id, reply.descriptor, reply.flags)
        except OSError as error:
            if error.errno != ENOENT:
                reply.undo()
                self._listener.answer(trap.id, -(error.errno or 0))
        finally:
            os.close(reply.descriptor)


class _AnsweredError(Exception):
    """The call was answered without effect."""
