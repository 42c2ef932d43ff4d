"""Runs of an agent under a fake LLM, one after the other, each in a fork of a warm process and a folder of its own.

Read `chaos/child/solo.py` for the other end, `agent.py` for who asks for runs.
"""

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, repeat
from time import monotonic
from typing import TYPE_CHECKING, Any, final

from chaos.child.actors import spec_of
from chaos.child.solo import PACKET_BYTES
from chaos.errors import HarnessFault, UsageError, refused_target
from chaos.explore.places import remove
from chaos.explore.roots import make_root, remove_root
from chaos.explore.stages import python_program
from chaos.faults.llm import Exchange, FakeLLM, Script, Trouble, Turn
from chaos.faults.llm import Outcome as Answered
from chaos.faults.llm_script import Step, steps, troubled
from chaos.faults.network import HOST, ChaosProxy
from chaos.observations import Ending, Outcome
from chaos.oracles.agents import AgentRun
from chaos.oracles.finite import FileScan
from chaos.scenario.kinds import Agent
from chaos.trace.model import Frame

if TYPE_CHECKING:
    from chaos.child.target import Target

__all__ = ["AgentRuns", "Blow", "Seen"]

_TICK_MS = 20  # how often it is looked whether a run has asked too much
_DEADLINE_S = 30.0
_SHOWN = 60
_LARGEST_FILE_BYTES = 16 << 20


@final
@dataclass(frozen=True, slots=True)
class Blow:
    """What is done to one run beside the script: trouble at the nth request; none with the number 0.

    As text: `script`, or `timeout at 3`.
    """

    nth: int = 0
    trouble: Trouble | None = None

    def __str__(self) -> str:
        return "script" if self.trouble is None else f"{self.trouble.value} at {self.nth}"

    @staticmethod
    def parse(text: str) -> "Blow":
        """A blow from its text.

        Raises:
            UsageError: it is none.
        """
        if text == "script":
            return Blow()
        trouble, _, nth = text.rpartition(" at ")
        if trouble not in [one.value for one in Trouble] or not nth.isdigit():
            raise UsageError(f"{text!r} is not what can be done to an agent", "the replay file is damaged")
        return Blow(int(nth), Trouble(trouble))


@final
@dataclass(frozen=True, slots=True)
class Seen:
    """One run, what was said in it, and, where there is a network between, what was done to its connections."""

    run: AgentRun
    exchanges: tuple[Exchange, ...]
    connections: int = 0
    injected: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> tuple[str, ...]:
        """The conversation, one line a request; a long one without its middle."""
        told = [_line(one) for one in self.exchanges]
        if len(told) > _SHOWN:
            cut = len(told) - _SHOWN
            told = [*told[: _SHOWN // 2], f"... {cut} more", *told[-_SHOWN // 2 :]]
        return tuple(told)


@final
class AgentRuns:
    """Runs an agent; use it as a context manager. After it no process and no folder of it is left.

    Attributes:
        disk: the folder that runs work in; what the last one left is there.
    """

    def __init__(self, drive: Agent, seed: int) -> None:
        """Import the targets.

        Raises:
            UsageError: one can't be imported.
            HarnessFault: the warm process failed.
        """
        self._drive, self._seed = drive, seed
        named: dict[str, Target | None] = {"agent": drive.agent, "setup": drive.setup, "check": drive.check}
        self._roles = {name: spec_of(target) for name, target in named.items() if target is not None}
        if inside := [name for name, spec in self._roles.items() if spec[0] == "callable"]:
            raise UsageError(f"{inside[0]} is a function that only this process knows", "name it: module:object")
        self._root = make_root()
        self.disk = os.path.join(self._root, "disk")
        self._control, self._process = _started()
        try:
            self._tell({"roles": self._roles})
            answer = self._hear(None)
            if answer is None or "wrong" in answer:
                told = answer["wrong"] if answer else "the targets can't be imported"
                raise refused_target(told, "import it by itself")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "AgentRuns":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End everything."""
        self._control.close()  # which tells the warm process to end what runs, and itself
        self._process.wait()
        remove_root(self._root)

    def run(self, blow: Blow) -> Seen:
        """One run, from the files of the set-up on.

        Raises:
            UsageError: the set-up fails.
            HarnessFault: the warm process failed.
        """
        disk = self.disk
        remove(disk)
        os.mkdir(disk)
        if "setup" in self._roles:
            prepared = self._role("setup", disk, {}, [])
            if prepared.ending is not Ending.RETURNED:
                raise UsageError(f"setup failed: {prepared.error or prepared.ending.value}", "mend the set-up")
        with FakeLLM() as llm, ChaosProxy((HOST, llm.port), seed=self._seed, rules=self._drive.network) as proxy:
            following = steps(_seeded(self._drive.script, self._seed))
            if blow.trouble is not None:
                following = troubled(following, blow.nth, blow.trouble)
            llm.follow(_held_after(following, self._drive.rounds))
            env = llm.environment_at(proxy.port) if self._drive.network else llm.environment
            outcome, cut, exchanges = self._watched(disk, llm, env)
            counts = proxy.statistics()
        check = None
        if "check" in self._roles and outcome.ending is Ending.RETURNED:
            check = self._role("check", disk, {}, [outcome.value])
        bad = FileScan().new_places(_files(disk))
        run = AgentRun(outcome=outcome, cut=cut, bad_files=bad, check=check)
        return Seen(run, exchanges, counts.connections, dict(counts.injected))

    def _watched(self, disk: str, llm: FakeLLM, env: Mapping[str, str]) -> tuple[Outcome, str, tuple[Exchange, ...]]:
        """Run the agent until it ends, has asked too much, or has taken too long."""
        self._tell({"run": "agent", "disk": disk, "env": env, "values": []})
        end = monotonic() + self._deadline_s
        while (report := self._hear(_TICK_MS)) is None:
            exchanges = llm.journal()
            over = self._over(exchanges, late=monotonic() > end)
            if over is not None:
                self._tell({"stop": True})
                outcome = _outcome(self._hear(None))
                if outcome.ending is not Ending.HUNG:  # it ended by itself meanwhile, and is judged as it is
                    return outcome, "", exchanges
                return replace(outcome, ending=over[0]), over[1], exchanges
        exchanges = llm.journal()
        over = self._over(exchanges, late=False)  # it may have ended before that was noticed
        return _outcome(report), "" if over is None else over[1], exchanges

    def _over(self, exchanges: tuple[Exchange, ...], *, late: bool) -> tuple[Ending, str] | None:
        """Why a run must be ended by force, if so, and what stands for its ending."""
        asked, allowed = len(exchanges), self._drive.rounds
        if asked > allowed:
            return Ending.KILLED, f"the agent goes on asking: {allowed} requests are allowed"
        if not late:
            return None
        held = [one.number for one in exchanges if one.outcome is Answered.HELD]
        why = f", waiting for the answer to request {held[-1]}" if held else ""
        return Ending.HUNG, f"the agent was still running after {self._deadline_s:g} s{why}"

    @property
    def _deadline_s(self) -> float:
        return self._drive.deadline_s or _DEADLINE_S

    def _role(self, name: str, disk: str, env: Mapping[str, str], given: list[str]) -> Outcome:
        self._tell({"run": name, "disk": disk, "env": env, "values": given})
        report = self._hear(int(self._deadline_s * 1000))
        if report is None:
            self._tell({"stop": True})
            report = self._hear(None)
        return _outcome(report)

    def _tell(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError as error:
            raise HarnessFault(f"the warm process of an agent is gone: {error}") from None

    def _hear(self, patience_ms: int | None) -> dict[str, Any] | None:
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        if not poll.poll(patience_ms):
            return None
        packet = self._control.recv(PACKET_BYTES)
        if not packet:
            raise HarnessFault("the warm process of an agent is gone")
        return dict(json.loads(packet))


def _started() -> "tuple[socket.socket, subprocess.Popen[bytes]]":
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        program = [sys.executable, "-u", "-c", python_program("chaos.child.solo"), str(theirs.fileno())]
        return ours, subprocess.Popen(program, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)


def _outcome(report: dict[str, Any] | None) -> Outcome:
    if report is None:
        raise HarnessFault("the warm process of an agent does not answer")
    known = {"value", "error_type", "error", "detail", "output"}
    return Outcome(
        ending=Ending(report["ending"]),
        frames=tuple(Frame(*frame) for frame in report.get("frames", ())),
        leftovers=tuple(report.get("leftovers", ())),
        **{name: value for name, value in report.items() if name in known},
    )


def _seeded(script: Script, seed: int) -> Script:
    """The script, with what its feedback draws drawn from the run's seed as well."""
    turns = tuple(
        turn
        if turn.feedback is None
        else replace(turn, feedback=replace(turn.feedback, seed=turn.feedback.seed + seed))
        for turn in script.turns
    )
    return replace(script, turns=turns)


def _held_after(following: Iterator[Step], rounds: int) -> Iterator[Step]:
    """The same for so many requests; those that come then are left waiting, until the run is ended for them."""
    yield from islice(following, rounds)
    if next(following, None) is not None:  # else the script is over, and that is what the agent is told
        yield from repeat(Step(Turn(trouble=Trouble.TIMEOUT), ""))


def _files(disk: str) -> dict[str, bytes]:
    """What the agent left, but for files too large to hold a few numbers."""
    found = {}
    for folder, _, names in os.walk(disk):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path) <= _LARGEST_FILE_BYTES:
                with open(path, "rb") as file:
                    found[os.path.relpath(path, disk)] = file.read()
    return found


def _line(one: Exchange) -> str:
    asked = " ".join(one.asked.split())[:60]
    answer = one.trouble or repr(" ".join(one.said.split())[:60])
    kind = "embedding" if one.path == "/embeddings" else "models" if one.path == "/models" else "chat"
    return f"{one.number:>5} {kind:<9} {asked!r:<64} -> {answer}"
