"""Group commit: threads that want to write at the same time share one commit, and so one wait for the disk.

Whoever comes while another thread writes leaves its work in a queue; whoever writes next does all that waits there,
each as a transaction of its own with its own version, and makes them durable together. Nobody lingers: a thread that
finds nobody else commits alone and at once.

**Guarantees.** Work is done once, in the order of arrival, alone. Work that fails changes nothing and leaves the rest
of its group alone. A refused commit is refused to all of its group. **On crash** the group is there or not, as one.
**Threads** any; processes take turns behind the backend's lock. Read `store.py` for who uses it.
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from importlib import import_module
from itertools import islice
from time import monotonic

from pytest_guardrails.hints import final
from pytest_guardrails.reliability.durability import DurabilityUnknownError, LockDeadlineError
from pytest_guardrails.reliability.state.backend import MOST_TOGETHER, Backend, Session
from pytest_guardrails.reliability.state.pressure import PressureGauge
from pytest_guardrails.reliability.state.transaction import Transaction
from pytest_guardrails.reliability.state.values import Values

__all__ = ["Combiner", "Request"]


@final
class Request:
    """A piece of work and what came of it.

    Attributes:
        transaction: the one that it was done in; None until then.
        error: what it, or its commit, raised; nothing was changed then.
        rolled_back: the error is the work's own.
        over: it was done, one way or the other.
    """

    __slots__ = ("_work", "error", "id", "over", "rolled_back", "transaction")

    def __init__(self, work: Callable[[Transaction], None]) -> None:
        self._work = work
        self.id = os.urandom(12).hex()
        self.transaction: Transaction | None = None
        self.error: BaseException | None = None
        self.over = self.rolled_back = False

    def perform(self, session: Session, values: Values, gauge: PressureGauge) -> None:
        """Do the work, and stage what it wrote. The work's own error stays with it; one of the session's is raised.

        What is no `Exception`, such as KeyboardInterrupt or the SystemExit of a handler, is in the main thread a signal
        to that thread, whosever work it is doing.
        """
        self.transaction = Transaction(session, values, self.id)
        try:
            self._work(self.transaction)
        except BaseException as error:
            self.transaction.abandon()
            if not isinstance(error, Exception) and threading.current_thread() is threading.main_thread():
                raise
            self.error, self.rolled_back = error, True
        else:
            self.transaction.stage(gauge)


@final
class Combiner:
    """The queue of one store.

    Args:
        backend: where sessions come from.
        values: what transactions are made with.
        gauge: counts who had to wait.
        deadline_s: how long a thread waits for other threads, in seconds.
    """

    def __init__(self, backend: Backend, values: Values, gauge: PressureGauge, deadline_s: float) -> None:
        self._backend, self._values, self._gauge, self._deadline_s = backend, values, gauge, deadline_s
        self._process = 0
        self._renew()

    def run(self, work: Callable[[Transaction], None]) -> Request:
        """Have some work done and made durable, by this thread or by one that is at it.

        Raises:
            LockDeadlineError: other threads wrote until the deadline; it was not done, and will not be.
            DurabilityUnknownError: another thread has been at it until the deadline; it may come to hold.
        """
        if self._process != os.getpid():
            self._renew()
        request = Request(work)
        queue, lead = self._queue, self._lead
        began = monotonic()
        try:  # from here on, as an interruption may come when it is just in the queue
            queue.append(request)
            while not request.over:
                try:
                    if not lead.acquire(False) and not lead.acquire(timeout=self._left_s(began)):
                        self._check_in_time(request)
                    elif not request.over:
                        self._lead_group(request)
                finally:
                    try:
                        while True:  # an interruption may have come before this thread knew that it had it
                            lead.release()
                    except RuntimeError:  # it is not held, or no more; `suppress` takes longer
                        pass
        finally:
            if not request.over:  # interrupted: nobody is to do it any more
                _withdraw(queue, request)
        return request

    def _check_in_time(self, request: Request) -> None:
        if _withdraw(self._queue, request):
            raise LockDeadlineError(self._backend.path, self._deadline_s, None)
        if not request.over:
            raise DurabilityUnknownError(
                f"{self._backend.path}: another thread is doing this change together with its own, and has not ended "
                f"after {self._deadline_s:g} s; it may come to hold, or not: read it again later"
            )

    def _left_s(self, began: float) -> float:
        return max(0.0, self._deadline_s - (monotonic() - began))

    def _renew(self) -> None:
        """Begin anew, also in a forked child, where the threads that were at it are gone."""
        self._process = os.getpid()
        self._queue: deque[Request] = deque()
        self._lead = threading.RLock()  # which knows whose it is, see `run`

    def _lead_group(self, own: Request) -> None:
        group: list[Request] = []
        committing = False
        try:
            with self._backend.session(own.id) as session:
                if session.waited_s:
                    self._gauge.waited(session.waited_s)
                while len(group) < MOST_TOGETHER and _claim_next(self._queue, group):
                    group[-1].perform(session, self._values, self._gauge)
                if len(group) > 1:
                    self._gauge.queued(len(group) + len(self._queue))
                committing = True
                session.flush()
        except Exception as error:  # noqa: BLE001 - told to each whose work it was
            if not group:
                if _withdraw(self._queue, own):  # else it was done meanwhile, by whoever interrupted this
                    own.error, own.over = error, True
                return
            for request in group:
                request.error = request.error or (error if request is own else import_module("copy").copy(error))
        except BaseException:
            if not committing:  # this thread is interrupted; the others' work is still to be done
                self._queue.extendleft(reversed([request for request in group if request is not own]))
                group = []
            for request in group:
                request.error = request.error or DurabilityUnknownError(
                    "the thread that committed for several was interrupted; a restart may find the change, or not"
                )
            raise
        finally:
            for request in group:
                request.over = True


def _claim_next(queue: deque[Request], group: list[Request]) -> bool:
    """Whether there was one. Moved by one call, which no interruption divides: it would be in neither else."""
    try:
        group.extend(islice(iter(queue.popleft, None), 1))
    except IndexError:
        return False
    return True


def _withdraw(queue: deque[Request], request: Request) -> bool:
    """Take it out of the queue, unless somebody else has it already."""
    try:
        queue.remove(request)
    except ValueError:
        return False
    except IndexError:  # the queue was changed meanwhile
        return _withdraw(queue, request)
    return True
