"""The live check of the model `kill`: a workload is really killed, and what it leaves must be among the listed states.

The model says what SIGKILL may leave; the supervisor kills for real, before, after and inside calls drawn by chance.
A tree that the enumeration does not have is a fault of the model or of the recording, and never the program's. Runs
whose calls differ from those of the first run (random names, clocks, races) tell nothing, and are counted apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import final

from chaos.disk import MODELS, StateSpace, read_tree
from chaos.disk.prefixes import torn_lengths
from chaos.errors import NotMeasured
from chaos.faults.process import KillAt, KillPolicy, Moment
from chaos.scenario.model import Explore
from chaos.scenario.runner.recording import record_scenario, recorded_run, unmeasured_words
from chaos.syscalls.calls import PROCEED, Call, Decision
from chaos.trace.model import Kind, Op, Trace

__all__ = ["Killed", "LiveKills", "kill_for_real"]

_INSIDE_SHARE = 0.4  # of the kills, where there are writes that can be cut


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Killed:
    """One real kill.

    Attributes:
        at: the kill in words.
        inside: whether it came in the middle of a write.
        same_run: whether the calls until then were those of the first run; if not, nothing is told.
        listed: whether what it left is among the model's states, with as many acknowledgements.
    """

    at: str
    inside: bool
    same_run: bool
    listed: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKills:
    """What came of all kills of one workload.

    Attributes:
        calls: how many calls there were to kill at.
        states: how many states the model lists.
        killed: each kill, in the order in which they were made.
    """

    calls: int
    states: int
    killed: tuple[Killed, ...]

    @property
    def told(self) -> tuple[Killed, ...]:
        """The kills that say something about the model."""
        return tuple(one for one in self.killed if one.same_run)

    @property
    def unlisted(self) -> tuple[Killed, ...]:
        """The kills that left what the model does not have."""
        return tuple(one for one in self.told if not one.listed)


def kill_for_real(drive: Explore, *, kills: int, seed: str) -> LiveKills:
    """Record a workload once, then run it again and again and kill it at places drawn from `seed`.

    Args:
        drive: what to run.
        kills: how often.
        seed: of the draw; equal seeds draw equal kills.

    Raises:
        UsageError: see `record_scenario`.
        NotMeasured: likewise, or something the workload does can't be modelled.
        HarnessFault: see `record_scenario`.
    """
    if drive.failed_sync is not None:
        raise NotMeasured("one of its syncs is made to fail, and a run takes one fault", "leave failed_sync out")
    trace = record_scenario(drive, "syscalls")
    if trace.unmeasured:
        raise NotMeasured(unmeasured_words(trace)[0], "exclude the file by a glob")
    census = _Census()
    with recorded_run(drive, policy=census, sources=False) as (again, _, _):
        if not _begins_like(again, trace):
            raise NotMeasured("two runs of the workload do different things: there is nothing to compare with")
    space = StateSpace(trace, MODELS["kill"])
    listed = {(state.digest, state.acked) for state in space.states()}
    places = _draw(Random(seed), census.calls, trace.ops, kills)  # noqa: S311 - a reproducible draw, no secret
    killed = tuple(_kill(drive, trace, listed, place) for place in places)
    return LiveKills(calls=len(census.calls), states=len(listed), killed=killed)


@final
class _Census:
    """A policy that lets everything proceed, and remembers what there was."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def decide(self, call: Call) -> Decision:
        if call.name != "ack":
            self.calls.append(call)
        return PROCEED


def _draw(random: Random, calls: Sequence[Call], ops: Sequence[Op], kills: int) -> Iterator[KillAt]:
    cuts = list(_cuts(calls, ops))
    for _ in range(kills):
        if cuts and random.random() < _INSIDE_SHARE:
            nth, lengths = random.choice(cuts)
            yield KillAt(nth=nth, moment=Moment.INSIDE, size_bytes=random.choice(lengths))
        else:
            moment = random.choice((Moment.BEFORE, Moment.AFTER))
            yield KillAt(nth=random.randint(1, len(calls)), moment=moment)


def _cuts(calls: Sequence[Call], ops: Sequence[Op]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Each call that is found again as a write, and the lengths at which the model cuts it."""
    rest = iter(enumerate(calls, 1))
    for op in ops:
        if op.kind is Kind.WRITE:
            for nth, call in rest:
                if (call.name, call.path, call.size) == (op.call, op.path, len(op.data)):
                    if lengths := torn_lengths(op)[0]:
                        yield nth, lengths
                    break


def _kill(drive: Explore, trace: Trace, listed: set[tuple[bytes, int]], at: KillAt) -> Killed:
    policy = KillPolicy(at)
    with recorded_run(drive, policy=policy, sources=False) as (killed, disk, _):
        tree = read_tree(disk, killed.excluded)
    fired = policy.fired
    return Killed(
        at=_words(at, fired),
        inside=at.moment is Moment.INSIDE,
        same_run=fired is not None and _begins_like(killed, trace),
        listed=(tree.digest, len(killed.acks)) in listed,
    )


def _begins_like(run: Trace, whole: Trace) -> bool:
    """Whether a run did what the first one did, as far as it came; its last write may be cut."""
    ops, acks = whole.ops[: len(run.ops)], whole.acks[: len(run.acks)]
    if [(ack.after, ack.value) for ack in run.acks] != [(ack.after, ack.value) for ack in acks]:
        return False
    if not run.ops:
        return True
    *before, last = run.ops
    return (
        [_deed(op) for op in before] == [_deed(op) for op in ops[:-1]]
        and len(ops) == len(run.ops)
        and (_deed(last) == _deed(replace(ops[-1], data=ops[-1].data[: len(last.data)])))
    )


def _deed(op: Op) -> tuple[object, ...]:
    where = (op.kind, op.path, op.name, op.to_path, op.offset, op.size, op.mode, op.target)
    return (*where, op.errno, op.data)


def _words(at: KillAt, fired: Call | None) -> str:
    what = f"call {at.nth}" if fired is None else f"call {at.nth}, {fired.name} of {fired.path or '(no name)'}"
    cut = f", {at.size_bytes} bytes in" if at.moment is Moment.INSIDE else ""
    return f"killed {at.moment.value} {what}{cut}"
