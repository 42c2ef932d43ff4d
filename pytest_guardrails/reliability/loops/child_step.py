"""`ChildStep`: a step in a process of its own, which ends when it must, whatever it hangs in.

    controller.run(ChildStep("crunching:step", hard_deadline_s=600.0, soft_deadline_s=540.0))

At the soft deadline the child's process group gets SIGTERM and may clean up; at the hard one SIGKILL, which nothing
survives. The same happens when the loop interrupts the step. The child also dies with its owner (Linux), so a new owner
never runs beside the old one's child. Context and answer are JSON. Needs Linux. Read `child.py` for the other side.
"""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any, final

from pytest_guardrails.clock import Clock, SystemClock
from pytest_guardrails.errors import ConfigurationError, GuardrailsError
from pytest_guardrails.reliability.durability import finite_json
from pytest_guardrails.reliability.loops.facts import Usage
from pytest_guardrails.reliability.loops.interrupting import StepTimeoutError
from pytest_guardrails.reliability.loops.stepping import DependencyError, StepContext, StepResult
from pytest_guardrails.reliability.loops.stuck_model import StepKind

__all__ = ["ChildStep", "ChildStepError"]

_LOOK_S = 0.1  # how soon an interrupt from the loop is noticed
_LAST_LOOK_S, _LAST_LOOKS = 0.005, 40
_ANSWER_BYTES = 16 * 1024 * 1024
_CHILD = "pytest_guardrails.reliability.loops.child"
_USAGE_UNIT_BYTES = 1024 if sys.platform == "linux" else 1  # of ru_maxrss


@final
class ChildStepError(GuardrailsError):
    """The step in the child failed, or the child ended without an answer."""


@final
class ChildStep:
    """A step for `LoopController.run`.

    Args:
        reference: "package.module:function"; called with the context as a mapping, returns a `StepResult` or JSON.
        hard_deadline_s: the child is killed after so long, in seconds.
        soft_deadline_s: it is asked to end after so long; None for no asking.
        clock: for the deadlines.
    """

    def __init__(
        self,
        reference: str,
        *,
        hard_deadline_s: float,
        soft_deadline_s: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if reference.count(":") != 1:
            raise ConfigurationError(f'a step is named as "package.module:function", not {reference!r}')
        if not 0 < (soft_deadline_s or hard_deadline_s) <= hard_deadline_s < 1e9:
            raise ConfigurationError(f"0 < soft ({soft_deadline_s}) <= hard ({hard_deadline_s}) deadline, both finite")
        self.reference = reference
        self._hard_s = hard_deadline_s
        self._soft_s = soft_deadline_s
        self._clock = clock or SystemClock()

    def __call__(self, context: StepContext) -> StepResult:
        """Run it.

        Raises:
            StepTimeoutError: it was ended at its deadline.
            ChildStepError: it failed.
            DependencyError: it said so.
        """
        reader, writer = os.pipe()
        command = [sys.executable, "-m", _CHILD, self.reference, str(writer), str(os.getpid())]
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, pass_fds=[writer], start_new_session=True, env=_environment()
            )
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        try:
            with suppress(BrokenPipeError):  # it died already, which is told below
                assert process.stdin is not None
                process.stdin.write(_context(context))
                process.stdin.close()
            answer, late = self._answer(process, reader)
        finally:
            os.close(reader)
            usage, status = _end(process)
        if late:
            raise StepTimeoutError(f"the child was ended at its deadline of {late:g} s")
        return _result(answer, status, usage)

    def _answer(self, process: "subprocess.Popen[bytes]", reader: int) -> tuple[bytes, float]:
        """What the child said, and the deadline by which it was ended; 0 when it ended by itself."""
        began_s, data, asked = self._clock.monotonic(), b"", False
        while len(data) <= _ANSWER_BYTES:
            ready, _, _ = select.select([reader], [], [], _LOOK_S)
            if ready:
                chunk = os.read(reader, 1 << 20)
                if not chunk:
                    break
                data += chunk
            elif _has_ended(process.pid):
                break
            passed_s = self._clock.monotonic() - began_s
            if passed_s >= self._hard_s:
                return b"", self._hard_s
            if self._soft_s is not None and passed_s >= self._soft_s and not asked:
                asked = True
                _kill_group(process.pid, signal.SIGTERM)
        return data, self._soft_s or 0.0 if asked and not data else 0.0


def _environment() -> dict[str, str]:
    """The child finds the same modules as its parent."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def _context(context: StepContext) -> bytes:
    plain = {
        "loop_id": context.loop_id,
        "run": context.run,
        "iteration": context.iteration,
        "attempt": context.attempt,
        "value": context.value,
        "advice_level": int(context.advice_level),
        "advice": context.advice,
        "deadline_s": context.deadline_s,
    }
    return finite_json.dumps(plain).encode()


def _has_ended(pid: int) -> bool:
    """Whether it has, without collecting it: until then its number, and its group's, belong to nobody else."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _end(process: "subprocess.Popen[bytes]") -> tuple[Usage, int]:
    """Leave nothing of it behind; what it used, and how it ended."""
    for _ in range(_LAST_LOOKS):  # a child that has just answered may end by itself
        if _has_ended(process.pid):
            break
        select.select([], [], [], _LAST_LOOK_S)
    _kill_group(process.pid, signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    usage = Usage(cpu_s=used.ru_utime + used.ru_stime, rss_bytes=used.ru_maxrss * _USAGE_UNIT_BYTES)
    return usage, process.returncode


def _result(answer: bytes, status: int, usage: Usage) -> StepResult:
    try:
        plain: dict[str, Any] = json.loads(answer)
    except ValueError:
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        raise ChildStepError(f"the child ended {how} and gave no answer") from None
    if "error" in plain:
        if plain["dependency"]:
            raise DependencyError(plain["error"])
        raise ChildStepError(plain["error"])
    return StepResult(**{**plain, "kind": StepKind(plain["kind"]), "usage": usage})
