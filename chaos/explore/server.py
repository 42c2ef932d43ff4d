"""Answers for crash states: lays each one out and lets recovery loose on it, in a process that holds the target.

A `Server` lives in a worker. It has the target imported and the trace at hand; for each state it writes the tree
into its folder, runs recovery in a forked child (or many recoveries in one child, in a batch), and looks at what
is left. Answers are plain JSON data, the fields of `Outcome` that are not empty. Read `worker.py` next.
"""

import json
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, final

from chaos.child import values
from chaos.child.actors import AckFile, check_actor, recover_actor, work_actor
from chaos.child.board import Board, Phase
from chaos.child.isolated import Errand, carry_out, unpack
from chaos.child.target import CommandTarget, Roles
from chaos.disk import Slot, StateSpace, Tree, apply, initial_tree
from chaos.explore.cell import Cell, Cut, Ended, Limits
from chaos.explore.places import remove
from chaos.explore.settings import Isolation, Settings, work_target
from chaos.trace.model import Trace

__all__ = ["Answer", "Job", "Server", "limits_of"]

Answer = dict[str, Any]
_BATCH_STOPPED = 71  # exit code of a batch that could not go on for a reason of ours
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


def limits_of(settings: Settings) -> Limits:
    """What one run may take."""
    return Limits(deadline_s=settings.deadline_s, memory_bytes=settings.memory_bytes, file_bytes=settings.file_bytes)


@final
class Server:
    """Recovery on demand.

    Raises (on construction):
        TargetError: a target can't be found or imported.
    """

    def __init__(self, job: Job, folder: str) -> None:
        """Import the targets; `folder` is this worker's own."""
        roles, settings = job.roles, job.settings
        self._recover = recover_actor(roles.recover)
        self._check = None if roles.check is None else check_actor(roles.check)
        self._work = work_actor(work_target(roles)) if settings.ask.resume else None
        self._job, self._ask = job, settings.ask
        self._disk = Path(folder, "disk")
        self._folder = str(self._disk)
        self._folder_text = json.dumps(self._folder)[1:-1].encode()
        self._acks = AckFile(os.path.join(folder, "acks"))
        self._slot = Slot(self._folder)
        self._acked = [values.decode(ack.value) for ack in job.trace.acks]
        self._spaces = [
            StateSpace(job.trace, model, bound=settings.bound, seed=settings.seed) for model in settings.models
        ]
        self._steps = _Steps(job.trace)
        plain = not (settings.ask.resume or settings.ask.leftovers or isinstance(roles.recover, CommandTarget))
        self._batches = settings.isolation is Isolation.BATCH and plain

    def steps(self, cell: Cell, wanted: Sequence[tuple[int, int]]) -> list[list[Answer | None]]:
        """Recovery on the undamaged tree after so many operations, each with so many acknowledgements."""
        answers: list[list[Answer | None]] = []
        for operations, acked in wanted:
            self._lay(self._steps.tree(operations))
            answers.append([self._recovered(cell, self._acked[:acked], names=True)])
        return answers

    def states(self, cell: Cell, model: int, wanted: Sequence[tuple[str, int]]) -> list[list[Answer | None]]:
        """Recovery on crash states, each a recipe and a number of acknowledgements: [first, again, resumed]."""
        if self._batches and len(wanted) > 1:
            return self._batch(cell, model, wanted)
        return [self._state(cell, model, recipe, acked) for recipe, acked in wanted]

    def _state(self, cell: Cell, model: int, recipe: str, acked: int) -> list[Answer | None]:
        self._lay(self._spaces[model].tree(recipe))
        known = self._acked[:acked]
        first = self._recovered(cell, known)
        again = self._recovered(cell, known) if _failed(first) else None
        resumed = self._resumed(cell, known) if self._work is not None else None
        return [first, again, resumed]

    def _lay(self, tree: Tree) -> None:
        """Lay out a tree, whatever the run before did to the folder: a link in its place must not be followed."""
        if not _is_folder(self._folder):
            remove(self._folder)
            os.mkdir(self._folder, 0o700)
        self._slot.lay(tree)

    def _errand(self, known: list[Any]) -> Errand:
        return Errand(
            run=partial(self._recover, self._disk),
            check=self._check,
            acked=known,
            folder=self._folder,
            leftovers=self._ask.leftovers,
        )

    def _recovered(self, cell: Cell, known: list[Any], *, names: bool = False) -> Answer:
        answer = self._answer(cell.run(self._errand(known)))
        if names or self._ask.names:
            answer["names"] = _names(self._folder)
        return answer

    def _resumed(self, cell: Cell, known: list[Any]) -> Answer:
        """The workload run on; when it returns, recovery after it."""
        assert self._work is not None
        acks = self._acks
        _remove_file(acks.path)
        answer = self._answer(cell.run(Errand(run=partial(self._work, self._disk, acks), folder=self._folder)))
        made = acks.collected()
        _remove_file(acks.path)
        if not _failed(answer):
            answer = self._recovered(cell, [*known, *map(values.decode, made)])
        return {**answer, "acks": made}

    def _answer(self, ended: Ended) -> Answer:
        """One run as the fields of an outcome, the folder's own name taken out."""
        if ended.reports and not ended.cut:
            answer = unpack(ended.reports[0].replace(self._folder_text, b"{disk}"))
        else:
            answer = _ending_of(ended, self._job.settings)
        if ended.output:
            printed = ended.output.replace(os.fsencode(self._folder), b"{disk}")
            answer["output"] = printed.decode("utf-8", "replace")
        if ended.strays and self._ask.leftovers:
            running = [f"process still running: {name.replace(self._folder, '{disk}')}" for name in ended.strays]
            answer["leftovers"] = sorted({*answer.get("leftovers", ()), *running})
        answer["duration_s"] = round(ended.duration_s, 6)
        return answer

    # Batches

    def _batch(self, cell: Cell, model: int, wanted: Sequence[tuple[str, int]]) -> list[list[Answer | None]]:
        answers: list[list[Answer | None]] = []
        while len(answers) < len(wanted):
            rest = wanted[len(answers) :]
            ended = cell.run_all(self._batch_work(model, rest))
            for report in ended.reports:
                first, again = json.loads(report.replace(self._folder_text, b"{disk}"))
                answers.append([first, again, None])
            if len(ended.reports) < len(rest):
                recipe, acked = rest[len(ended.reports)]
                if ended.code == _BATCH_STOPPED and not ended.cut:
                    answers.append(self._state(cell, model, recipe, acked))
                else:  # the folder is as the lost process left it
                    ended.reports = []
                    first = self._answer(ended)
                    if self._ask.names:
                        first["names"] = _names(self._folder)
                    answers.append([first, self._recovered(cell, self._acked[:acked]), None])
        return answers

    def _batch_work(self, model: int, wanted: Sequence[tuple[str, int]]) -> Callable[[Board], None]:
        def work(board: Board) -> None:
            me, home, code = os.getpid(), os.getcwd(), _BATCH_STOPPED
            try:
                for recipe, acked in wanted:
                    self._lay(self._spaces[model].tree(recipe))
                    errand = self._errand(self._acked[:acked])
                    first = self._batch_answer(carry_out(errand, board))
                    again = self._batch_answer(carry_out(errand, board)) if _failed(first) else None
                    if os.getpid() != me:
                        return  # a fork of the target came back from recovery, too
                    os.chdir(home)
                    board.add(json.dumps([first, again]).encode())
                code = 0
            finally:
                os._exit(code)

        return work

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


def _failed(answer: Answer) -> bool:
    return "ending" in answer or "check" in answer


def _ending_of(ended: Ended, settings: Settings) -> Answer:
    """A child that handed in no report: what became of it."""
    doing = _DOING.get(Phase(ended.phase), "") if ended.phase in list(Phase) else ""
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


def _names(folder: str) -> list[str]:
    found: list[str] = []
    for above, folders, files in os.walk(folder):
        prefix = os.path.relpath(above, folder) + "/" if above != folder else ""
        found += [prefix + name for name in (*folders, *files)]
    return sorted(found)


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def _remove_file(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
