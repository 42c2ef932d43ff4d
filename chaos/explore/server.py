"""Answers for crash states: lays each one out, lets recovery loose on it, and tells what came of it.

A `Server` lives in a worker and has the trace at hand. For each state it writes the tree into its folder and has
recovery run on its stage, in a process of its own (in a batch, many recoveries share one). Answers are the fields of
`Outcome` that are not empty, a state's as one JSON text, ready to be sent. Read `worker.py` next.
"""

import json
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, final

from chaos.child.actors import AckFile, spec_of
from chaos.child.board import Board, Phase
from chaos.child.isolated import CRASHED, carry_out, unpack
from chaos.child.target import CommandTarget, Roles
from chaos.disk import Slot, Stamp, StateSpace, Times, Tree, apply, initial_tree, read_tree
from chaos.disk.folder import set_attributes
from chaos.disk.recipes import parse_recipe
from chaos.explore.places import remove
from chaos.explore.settings import Isolation, Settings, needs_this_process, work_target
from chaos.explore.stages import LocalStage, RemoteStage, RunStage
from chaos.explore.unread import Answers, Opens
from chaos.explore.watching import Cut, Ended
from chaos.trace.model import Trace

__all__ = ["Answer", "Job", "Server", "can_batch", "trees_at_once"]

Answer = dict[str, Any]
_BATCH_STOPPED = 71  # exit code of a batch that could not go on for a reason of ours
# A recovery empties the processor's caches: trees built a few at once take half the time of trees built in between.
_TREES_AT_ONCE = 16
_SMALL_WRITE_BYTES = 1 << 16  # a tree has its own copy of a write that was cut
_DOING = {
    Phase.CHECK: " in the check",
    Phase.ENCODE: " while the value was read",
    Phase.LEFTOVERS: " after it returned",
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """All that a worker needs to know."""

    trace: Trace
    roles: Roles
    settings: Settings


@final
class Server:
    """Recovery on demand. One thread; the folder is its own.

    Attributes:
        reused: how many states were answered without running recovery, which could not have told them from others.
    """

    def __init__(self, job: Job, folder: str, link: int) -> None:
        """Import the targets, here or in a process of their own; `link` leads to the exploration.

        Raises:
            TargetError: a target can't be found or imported.
        """
        settings = job.settings
        self._settings, self._ask = settings, settings.ask
        self._folder = os.path.join(folder, "disk")
        self._folder_text = json.dumps(self._folder)[1:-1].encode()
        self._acks = AckFile(os.path.join(folder, "acks"))
        self._slot = Slot(self._folder)
        plan = _plan(job, folder)
        batches = settings.isolation is Isolation.BATCH and can_batch(job.roles, settings)
        self._batches = LocalStage(plan, link) if batches else None
        self._stage: RunStage = self._batches or (
            LocalStage(plan, link) if needs_this_process(job.roles, settings.ask) else RemoteStage(plan, link)
        )
        self._spaces = [
            StateSpace(job.trace, model, bound=settings.bound, seed=settings.seed) for model in settings.models
        ]
        self._at_once = trees_at_once(job.trace)
        self._steps = _Steps(job.trace)
        self._times, self._marks = Times(job.trace), job.trace.marks
        self._opens = Opens(self._folder)
        self._answers = Answers(acknowledged=job.roles.check is not None)
        self.reused = 0
        self._excluded = job.trace.excluded
        if isinstance(self._stage, LocalStage):
            self._stage.warm()

    def steps(self, wanted: Sequence[Sequence[int]]) -> list[bytes]:
        """Recovery on the undamaged tree after so many operations, each with so many acknowledgements: [first].

        A third number, if it is not 0, lets files have the extended attributes that they had in the end.
        """
        answers: list[bytes] = []
        for operations, acked, *with_attributes in wanted:
            tree = self._steps.tree(operations)
            self.lay(tree, self._times.at(operations))
            if any(with_attributes):
                set_attributes(self._marks, tree, self._folder)
            answers.append(_packed([self._recovered(acked, names=True)]))
        return answers

    def states(self, model: int, wanted: Sequence[tuple[str, int]]) -> list[bytes]:
        """Recovery on crash states, each a recipe and a number of acknowledgements; each as `damaged` tells it."""
        if self._batches is not None and len(wanted) > 1:
            return self._batch(self._batches, model, wanted)
        answers: list[bytes] = []
        for start in range(0, len(wanted), self._at_once):
            some = wanted[start : start + self._at_once]
            trees = [self.tree(model, recipe) for recipe, _ in some]
            self._answers.expect(trees)
            answers += [self._state(tree, recipe, acked) for tree, (recipe, acked) in zip(trees, some, strict=True)]
        return answers

    def answers(self, message: Mapping[str, Any]) -> list[bytes]:
        """What a message of the crew asks for, each as one JSON text."""
        if "steps" in message:
            return self.steps(message["steps"])
        if "left" in message:
            return [self._left(*one) for one in message["left"]]
        return self.states(message["model"], message["states"])

    def _left(self, folder: str, acked: Sequence[str]) -> bytes:
        """Recovery on what a run left in a folder, which stays as it is."""
        tree = read_tree(folder, self._excluded)
        return _packed(self.damaged(tree, 0, acked, stamp=_times_of(tree, folder)))

    def tree(self, model: int, recipe: str) -> Tree:
        """A crash state's tree."""
        return self._spaces[model].tree(recipe)

    def stamp(self, recipe: str) -> Stamp | None:
        """When the files of a crash state changed."""
        return self._times.at(parse_recipe(recipe).point)

    def undamaged(self, tree: Tree, acked: int, since: Sequence[str] = (), stamp: Stamp | None = None) -> Answer:
        """Recovery on a tree that nothing damaged, with the names it leaves."""
        self.lay(tree, stamp)
        return self._recovered(acked, since, names=True)

    def damaged(
        self, tree: Tree, acked: int, since: Sequence[str] = (), stamp: Stamp | None = None
    ) -> list[Answer | None]:
        """Recovery on a tree that a crash left: [first, again when that failed, resumed when asked].

        After a second crash the workload is run on unasked where both recoveries failed: whether it can tells what
        kind of damage that is, and one tree is tried once for all second runs.
        """
        self.lay(tree, stamp)
        self._opens.begin(tree)
        first = self._recovered(acked, since)
        again = self._recovered(acked, since) if _failed(first) else None
        goes_on = self._ask.resume or (self._ask.second and again is not None and _failed(again))
        return [first, again, self._resumed(acked, since) if goes_on else None]

    def _state(self, tree: Tree, recipe: str, acked: int) -> bytes:
        point = parse_recipe(recipe).point
        order = self._times.order(tree, point)
        answer = self._answers.find(tree, acked, order)
        if answer is None:
            answer = _packed(self.damaged(tree, acked, stamp=self._times.at(point)))
            self._answers.learn(tree, acked, self._opens.since(), answer, order)
        else:
            self.reused += 1
        return answer

    def lay(self, tree: Tree, stamp: Stamp | None = None) -> None:
        """Lay out a tree, whatever the run before did to the folder."""
        self._opens.pause()
        self._slot.lay(tree, stamp)

    def _recovered(self, acked: int, since: Sequence[str] = (), *, names: bool = False) -> Answer:
        answer = self._answer(self._stage.recover(acked, since))
        if names or self._ask.names:
            answer["names"] = _names(self._folder)
        if self._ask.usage:
            answer["file_bytes"] = _longest_file(self._folder)
        return answer

    def _resumed(self, acked: int, since: Sequence[str] = ()) -> Answer:
        """The workload run on; when it returns, recovery after it."""
        remove(self._acks.path)
        answer = self._answer(self._stage.work())
        made = self._acks.collected()
        remove(self._acks.path)
        if not _failed(answer):
            answer = self._recovered(acked, [*since, *made])
        return {**answer, "acks": made}

    def _answer(self, ended: Ended) -> Answer:
        """One run as the fields of an outcome, the folder's own name taken out."""
        if ended.reports and not ended.cut:
            answer = unpack(ended.reports[0].replace(self._folder_text, b"{disk}"))
        else:
            answer = _ending_of(ended, self._settings)
        if ended.output:
            printed = ended.output.replace(os.fsencode(self._folder), b"{disk}")
            answer["output"] = printed.decode("utf-8", "replace")
        if ended.strays and self._ask.leftovers:
            running = [f"process still running: {name.replace(self._folder, '{disk}')}" for name in ended.strays]
            answer["leftovers"] = sorted({*answer.get("leftovers", ()), *running})
        answer["duration_s"] = round(ended.duration_s, 6)
        return answer

    # Batches

    def _batch(self, stage: LocalStage, model: int, wanted: Sequence[tuple[str, int]]) -> list[bytes]:
        answers: list[bytes] = []
        while len(answers) < len(wanted):
            rest = wanted[len(answers) :]
            self._spaces[model].tree(rest[0][0])  # here, so that the child need not come all the way from the start
            ended = stage.run_all(self._batch_work(stage, model, rest))
            answers += [report.replace(self._folder_text, b"{disk}") for report in ended.reports]
            if len(ended.reports) < len(rest):
                answers.append(self._lost(ended, model, *rest[len(ended.reports)]))
        return answers

    def _lost(self, ended: Ended, model: int, recipe: str, acked: int) -> bytes:
        """The state at which a batch broke off."""
        if ended.code in (_BATCH_STOPPED, CRASHED) and not ended.cut:
            return self._state(self.tree(model, recipe), recipe, acked)
        first = self._answer(ended._replace(reports=[]))
        if self._ask.names:
            first["names"] = _names(self._folder)
        return _packed([first, self._recovered(acked), None])  # the folder is as the lost process left it

    def _batch_work(
        self, stage: LocalStage, model: int, wanted: Sequence[tuple[str, int]]
    ) -> Callable[[Board], NoReturn]:
        def work(board: Board) -> NoReturn:
            code = _BATCH_STOPPED
            try:
                self._work_through(stage, model, wanted, board)
                code = 0
            finally:
                os._exit(code)

        return work

    def _work_through(self, stage: LocalStage, model: int, wanted: Sequence[tuple[str, int]], board: Board) -> None:
        me, home = os.getpid(), os.getcwd()
        for recipe, acked in wanted:
            self.lay(self._spaces[model].tree(recipe), self.stamp(recipe))
            board.begin()
            errand = stage.stage.recovery(acked)
            first = self._batch_answer(carry_out(errand, board))
            again = None
            if _failed(first):
                board.begin()
                again = self._batch_answer(carry_out(errand, board))
            if os.getpid() != me:
                return  # a fork of the target came back from recovery, too
            os.chdir(home)
            board.add(_packed([first, again, None]))

    def _batch_answer(self, report: bytes) -> Answer:
        answer = unpack(report)
        if self._ask.names:
            answer["names"] = _names(self._folder)
        return answer


@final
class _Steps:
    """Undamaged trees, asked for in rising order, so that each operation is applied once."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._tree, self._done = initial_tree(trace), 0

    def tree(self, operations: int) -> Tree:
        if operations < self._done:
            self._tree, self._done = initial_tree(self._trace), 0
        for op in self._trace.ops[self._done : operations]:
            self._tree = apply(self._tree, op)
        self._done = operations
        return self._tree


def trees_at_once(trace: Trace) -> int:
    """How many trees are built in a row: those of a small run; of large writes only one is held at a time."""
    small = all(len(op.data) <= _SMALL_WRITE_BYTES for op in trace.ops)
    return _TREES_AT_ONCE if small else 1


def can_batch(roles: Roles, settings: Settings) -> bool:
    """Whether a batch can answer what is asked; if not, states run in forks."""
    ask = settings.ask
    return not (ask.resume or ask.leftovers or ask.usage or isinstance(roles.recover, CommandTarget))


def _plan(job: Job, folder: str) -> dict[str, Any]:
    """The job as a stage needs it: plain data, unless a target is a closure."""
    roles, settings = job.roles, job.settings
    return {
        "recover": spec_of(roles.recover),
        "check": None if roles.check is None else spec_of(roles.check),
        "work": spec_of(work_target(roles)) if settings.ask.resume or settings.ask.second else None,
        "folder": folder,
        "acks": [ack.value for ack in job.trace.acks] if roles.check is not None else [],
        "leftovers": settings.ask.leftovers,
        "usage": settings.ask.usage,
        "limits": [settings.deadline_s, settings.memory_bytes, settings.file_bytes],
    }


def _packed(answers: Sequence[Answer | None]) -> bytes:
    return f"[{','.join(map(_text, answers))}]".encode()


def _text(answer: Answer | None) -> str:
    """As JSON. Most are a value and perhaps a duration: put together here, a tenth of a batch's time is saved."""
    if answer is None:
        return "null"
    if len(answer) == 1 and "value" in answer:
        return f'{{"value":{json.dumps(answer["value"])}}}'
    if len(answer) == 2 and "value" in answer and "duration_s" in answer:
        return f'{{"value":{json.dumps(answer["value"])},"duration_s":{answer["duration_s"]!r}}}'
    return json.dumps(answer)


def _failed(answer: Answer) -> bool:
    return "ending" in answer or "check" in answer


def _ending_of(ended: Ended, settings: Settings) -> Answer:
    """A child that handed in no report: what became of it."""
    doing = _DOING.get(ended.phase, "")
    if ended.cut == Cut.DEADLINE:
        words = f"still running after {settings.deadline_s:g} s{doing}"
        return {"ending": "hung", "error_type": "deadline", "error": words}
    if ended.cut == Cut.MEMORY:
        words = f"took more than {settings.memory_bytes >> 20} MiB{doing}"
        return {"ending": "memory", "error_type": "memory", "error": words}
    if ended.code < 0:
        words = f"killed by signal {-ended.code}{doing}"
        return {"ending": "killed", "error_type": "signal", "error": words, "detail": -ended.code}
    words = f"the process left with exit code {ended.code}{doing}"
    return {"ending": "exited", "error_type": "exit", "error": words, "detail": ended.code}


def _times_of(tree: Tree, folder: str) -> Stamp:
    """When the nodes of a tree that was just read changed last."""
    found = {number: os.lstat(os.path.join(folder, path)).st_mtime_ns for path, number in tree.paths()}
    return found.get


def _names(folder: str) -> list[str]:
    found: list[str] = []
    for above, folders, files in os.walk(folder):
        prefix = os.path.relpath(above, folder) + "/" if above != folder else ""
        found += [prefix + name for name in (*folders, *files)]
    return sorted(found)


def _longest_file(folder: str) -> int:
    """The size of the longest regular file, in bytes; 0 where there is none."""
    longest = 0
    for above, _, files in os.walk(folder):
        for name in files:
            found = os.lstat(os.path.join(above, name))
            longest = max(longest, found.st_size if stat.S_ISREG(found.st_mode) else 0)
    return longest
