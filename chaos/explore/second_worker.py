"""A worker for second crashes: records what happens after a first one, and has recovery run on every state of that.

For one state that a first crash left it lays the tree out, records recovery and the workload going on
(`chaos/child/going_on.py`), proves the recording, enumerates the crash states of it, and answers for each as `Server`
does. The first state counts as durable, whole: the machine was up again. One recovery of one tree is done once for
all second runs that pass through that tree. Read `second.py` for the other end.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal, cast, final

from chaos.child.actors import recover_actor, work_actor
from chaos.child.going_on import STARTED, go_on
from chaos.child.target import CommandTarget
from chaos.disk import Stamp, StateSpace, Times, Tree, apply, initial_tree, prove
from chaos.errors import NotMeasured
from chaos.explore import worker
from chaos.explore.server import Answer, Job, Server
from chaos.explore.settings import work_target
from chaos.trace.engines import record_by
from chaos.trace.file import save
from chaos.trace.model import Trace
from chaos.trace.options import RecordOptions
from chaos.trace.overlaps import beside, without_implied

__all__ = ["SecondServer", "join_traces", "main", "serve"]

_REMEMBERED = 4096  # trees whose recovery is remembered; most second runs pass through the same ones
_LEAST_STATES = 5  # however late it is
_LONGEST_REMEMBERED = 1 << 16  # characters of a value


def main(arguments: list[str]) -> None:
    """As `worker.main`."""
    worker.main(arguments, SecondServer)


def serve(link: int, job: Job, folder: str) -> None:
    """As `worker.serve`."""
    worker.serve(link, job, folder, SecondServer)


def join_traces(first: Trace, acked: int, second: Trace) -> Trace:
    """The second run with the acknowledgements of both: those that were made before the first crash stand ahead."""
    before = (replace(one, after=0) for one in first.acks[:acked])
    return replace(second, acks=(*before, *second.acks))


@final
class SecondServer:
    """Second runs on demand, each with all its crash states. One thread; the folder is its own."""

    def __init__(self, job: Job, folder: str, link: int) -> None:
        """Import the targets, also into this process: recordings are forks of it.

        Raises:
            TargetError: a target can't be found or imported.
        """
        self._server = Server(job, folder, link)
        self._trace, self._settings = job.trace, job.settings
        self._disk = Path(folder, "disk")
        self._folder = folder
        self._work = work_target(job.roles)
        recover, work = recover_actor(job.roles.recover), work_actor(self._work)
        self._program = partial(go_on, recover, work, self._disk)
        # A check sees the acknowledgements, so that one tree may be right after these and wrong after those.
        self._checked = job.roles.check is not None
        self._remembered: dict[tuple[bytes, tuple[str, ...]], list[Answer | None]] = {}
        self._null = os.open(os.devnull, os.O_RDWR)
        self._count = 0
        self.reused = 0  # counted by second run, see `answers`

    def answers(self, message: Mapping[str, Any]) -> list[bytes]:
        """One answer, as JSON, for each wanted (recipe, acknowledgements made, models, most states, most seconds).

        An answer holds `trace`, a file; `acks` of both runs; `writers`, `overlaps` and
        `halfway`, who worked side by side; `steps`, recovery on the undamaged trees of the second
        run; `settled`, on the one that recovery left, if it wrote anything; `states`, of each [model, recipe, crash
        point, acknowledgements of both runs, what recovery did]; `ran`, `left_out` and `exhaustive`. Or it holds
        nothing but `problem`: why there is no second run.
        """
        return [json.dumps([self._second(*one)]).encode() for one in message["second"]]

    def _second(
        self, recipe: str, acked: int, models: Sequence[int], most_states: int | None, most_s: float | None
    ) -> Answer:
        end = None if most_s is None else monotonic() + most_s
        self._server.lay(self._server.tree(models[0], recipe), self._server.stamp(recipe))
        try:
            trace, started = _without_mark(self._record())
            if isinstance(self._work, CommandTarget) and trace.engine == "syscalls":
                trace = without_implied(trace, len(self._work.commands))
        except NotMeasured as error:
            return {"problem": error.message}
        if trace.unmeasured:
            one = trace.unmeasured[0]
            return {"problem": f"can't be modelled: {one.path or 'the run'}: {one.reason}"}
        prove(trace, os.fspath(self._disk))
        trace = join_traces(self._trace, acked, trace)
        run = _Run(self, trace, acked, started)
        run.explore(models, most_states, end)
        return run.answer(self._keep(trace))

    def recovered(
        self, tree: Tree, trace: Trace, acked: int, before: int, stamp: Stamp | None
    ) -> tuple[list[Answer | None], bool]:
        """Recovery on a tree after so many acknowledgements, `before` of the first run; whether it had to be run."""
        since = [ack.value for ack in trace.acks[before:acked]]
        key = (tree.digest, tuple(one.value for one in trace.acks[:acked]) if self._checked else ())
        known = self._remembered.get(key)
        if known is not None:
            return known, False
        found = self._server.damaged(tree, before, since, stamp)
        if all(one is None or len(one.get("value", "")) <= _LONGEST_REMEMBERED for one in found):
            if len(self._remembered) >= _REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[key] = found
        return found, True

    def undamaged(self, tree: Tree, trace: Trace, acked: int, before: int, stamp: Stamp | None) -> Answer:
        """Recovery on a tree that no second crash damaged, with the names it leaves."""
        return self._server.undamaged(tree, before, [ack.value for ack in trace.acks[before:acked]], stamp)

    def space(self, trace: Trace, model: int) -> StateSpace:
        """All states of a second crash under a model of the settings."""
        settings = self._settings
        return StateSpace(trace, settings.models[model], settings.bound, settings.seed)

    def _record(self) -> Trace:
        engine = cast("Literal['syscalls', 'portable']", self._trace.engine)
        options = RecordOptions(
            exclude=self._trace.excluded,
            deadline_s=2 * self._settings.deadline_s,  # a start and a run on, each of which has one
            output=self._null,
            command=f"{self._trace.command}, run on after a crash",
        )
        return record_by(engine, self._program, self._disk, options=options)

    def _keep(self, trace: Trace) -> str:
        self._count += 1
        path = os.path.join(self._folder, f"second-{self._count}.trace")
        save(trace, path)
        return path


@final
class _Run:
    """The states of one second run."""

    def __init__(self, server: SecondServer, trace: Trace, before: int, started: int) -> None:
        self._server, self._trace, self._before, self._started = server, trace, before, started
        self._times = Times(trace)
        self._states: list[list[Any]] = []
        self._left_out: dict[str, None] = {}
        self._ran = 0
        self._complete = True

    def answer(self, path: str) -> Answer:
        """All about it, as plain data."""
        side = beside(self._trace, self._before)
        return {
            "trace": path,
            "exit": self._trace.exit_code,
            "operations": len(self._trace.ops),
            "acks": [[one.after, one.process, one.value] for one in self._trace.acks],
            "notes": list(self._trace.notes),
            "writers": side.writers,
            "overlaps": side.overlaps,
            "halfway": sorted(side.halfway),
            "steps": list(self._steps()),
            "settled": self._settled(),
            "states": self._states,
            "ran": self._ran,
            "left_out": list(self._left_out),
            "exhaustive": self._complete and not self._left_out,
        }

    def explore(self, models: Sequence[int], most_states: int | None, end: float | None) -> None:
        """Have recovery run on the states, in order of interest, as far as the limits go."""
        seen: set[tuple[bytes, int]] = set()
        for model in models if self._trace.ops else ():
            space = self._server.space(self._trace, model)
            for state in space.states():
                key = (state.digest, state.acked)
                if state.acked < self._before or key in seen:
                    continue  # the acknowledgements of the first run were all made
                if self._is_enough(most_states, end):
                    self._complete = False
                    return
                seen.add(key)
                tree, stamp = space.tree(state.recipe), self._times.at(state.point)
                found, ran = self._server.recovered(tree, self._trace, state.acked, self._before, stamp)
                self._ran += ran
                self._states.append([model, state.recipe, state.point, state.acked, found])
            self._left_out.update(dict.fromkeys(space.statistics().left_out))

    def _is_enough(self, most_states: int | None, end: float | None) -> bool:
        """Whether a limit is reached; recording counts, too, but a recording without any state were for nothing."""
        done = len(self._states)
        late = end is not None and done >= _LEAST_STATES and monotonic() >= end
        return late or (most_states is not None and done >= most_states)

    def _steps(self) -> Iterator[Answer]:
        """Recovery at the start of the second run, at its acknowledgements, and at its end."""
        trace, before = self._trace, self._before
        tree, done = initial_tree(trace), 0
        points = [0, *(one.after for one in trace.acks[before:]), len(trace.ops)]
        for number, point in enumerate(points):
            for op in trace.ops[done:point]:
                tree = apply(tree, op)
            done = point
            acked = min(before + number, len(trace.acks))
            yield self._server.undamaged(tree, trace, acked, before, self._times.at(point))

    def _settled(self) -> Answer | None:
        """Recovery once more, on what the second run's own recovery left; None when that wrote nothing."""
        if not self._started:
            return None
        tree = initial_tree(self._trace)
        for op in self._trace.ops[: self._started]:
            tree = apply(tree, op)
        stamp = self._times.at(self._started)
        return self._server.undamaged(tree, self._trace, self._before, self._before, stamp)


def _without_mark(trace: Trace) -> tuple[Trace, int]:
    """The trace without the mark behind recovery, and how many operations recovery made."""
    marks = [one for one in trace.acks if one.value == STARTED]
    acks = tuple(one for one in trace.acks if one.value != STARTED)
    return replace(trace, acks=acks), marks[0].after if marks else 0
