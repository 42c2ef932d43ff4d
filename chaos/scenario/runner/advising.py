"""What would mend a finding, proven on the trace: a change is made virtually, and the failing states counted again.

Three changes are tried: an fsync of a file (behind its writes, or between them where several lines write), an fsync of
a directory, and a temporary file with replace in the place of writes in place. Of the syncs it is decided without
running anything which failing states they make impossible (`chaos/disk/mending.py`); a replacement makes other trees,
so recovery runs on a sample of them. A change at a source line is made wherever that line was run. It must not change
what was found. Read `exploring.py` for who asks.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import final

from chaos.child.target import Roles
from chaos.disk import StateSpace
from chaos.disk.mending import Mended, Places, directory_syncs, file_syncs, order_syncs, removed, with_syncs
from chaos.disk.replacing import is_replaceable, is_written_in_place, with_replacement
from chaos.errors import ChaosError
from chaos.explore.exploration import Exploration
from chaos.explore.settings import Settings
from chaos.observations import Damage
from chaos.oracles import Panel
from chaos.report.blame import Blamed, signature
from chaos.report.places import short_place, shown_path, user_frame
from chaos.trace.model import Kind, Op, Trace

__all__ = ["Advisor"]

_SHOWN = 3
# Recovery on so many states of a replacement, for so long at most: enough to tell a cure from none.
_SAMPLE, _SAMPLE_S = 400, 4.0
# Of one source line: more files than a change was meant for cost more to look at than the advice is worth.
_MOST_FILES = 30
_WRITING = frozenset({Kind.CREATE, Kind.WRITE, Kind.TRUNCATE})
_ENTRY_KINDS = frozenset(
    {Kind.CREATE, Kind.MKDIR, Kind.SYMLINK, Kind.LINK, Kind.UNLINK, Kind.RMDIR, Kind.RENAME, Kind.EXCHANGE}
)


@final
@dataclass(frozen=True, slots=True)
class _Change:
    words: str
    places: Places


@final
class Advisor:
    """Gives advice on the findings of one exploration.

    Attributes:
        closed: there is no time left: no advice is given.
    """

    def __init__(self, trace: Trace, roles: Roles, settings: Settings, oracles: Sequence[str]) -> None:
        self._trace, self._roles, self._settings, self._oracles = trace, roles, settings, tuple(oracles)
        self._spaces = {
            model.name: StateSpace(trace, model, settings.bound, settings.seed) for model in settings.models
        }
        self._lines: dict[str, list[int]] | None = None
        self._replaced: dict[tuple[int, ...], tuple[str, dict[str, int]] | None] = {}
        self.closed = False

    def __call__(
        self, oracle: str, damage: Damage, blamed: Sequence[Blamed], failing: Sequence[tuple[str, str]], states: int
    ) -> tuple[str, ...]:
        """Lines of advice, the best first; empty where no single change helps.

        Args:
            oracle: which one objects.
            damage: what kind of damage it is.
            blamed: the operations to blame.
            failing: (recipe, model) of states that show it.
            states: how many show it in all.
        """
        if self.closed or damage is Damage.UNCLEAN or not failing:
            return ()
        by_model: dict[str, list[str]] = {}
        for recipe, model in failing:
            by_model.setdefault(model, []).append(recipe)
        told = [(self._removed(change.places, by_model), change) for change in self._changes(blamed)]
        told = _best(told, whole=len(failing))
        lines = [f"{change.words} removes {_of(count, len(failing), states)}" for count, change in told[:_SHOWN]]
        if told and told[0][0] < len(failing) and len(told) > 1:
            together = self._removed(_joined([change.places for _, change in told]), by_model)
            if together > told[0][0]:
                lines.append(f"all of these together remove {_of(together, len(failing), states)}")
        if told and told[0][0] == len(failing):
            return tuple(lines)
        whole, others = self._replacement(oracle, blamed, states)
        return (*whole, *lines, *others)

    def _changes(self, blamed: Sequence[Blamed]) -> Iterator[_Change]:
        seen: set[tuple[tuple[int, tuple[int, ...]], ...]] = set()
        for one in (one for one in blamed if one.loss != "last"):
            seqs = self._at_line(one)
            for places, words in (
                (file_syncs(self._trace, seqs), _file_words(one)),
                # Not behind a truncate: that would make sure that the old bytes are lost before the new ones are there.
                ({} if one.op.kind is Kind.TRUNCATE else order_syncs(self._trace, seqs), _order_words(one)),
                (directory_syncs(self._trace, seqs) if one.op.kind in _ENTRY_KINDS else {}, _directory_words(one)),
            ):
                key = tuple(sorted(places.items()))
                if places and key not in seen:
                    seen.add(key)
                    yield _Change(words, places)

    def _at_line(self, one: Blamed) -> list[int]:
        """The operations that the same source line made, of the same kind."""
        if self._lines is None:
            self._lines = {}
            for op in self._trace.ops:
                key = f"{op.kind.value} {signature(Blamed(op=op, loss='last'))}"
                self._lines.setdefault(key, []).append(op.seq)
        return self._lines[f"{one.op.kind.value} {signature(one)}"]

    def _removed(self, places: Places, by_model: dict[str, list[str]]) -> int:
        mended: Mended = with_syncs(self._trace, places)
        return sum(
            removed(self._spaces[model], mended, recipes)
            for model, recipes in by_model.items()
            if not self._spaces[model].model.cache_survives
        )

    def _replacement(self, oracle: str, blamed: Sequence[Blamed], states: int) -> tuple[list[str], list[str]]:
        """A replacement that leaves nothing failing, and one that leaves less than the finding has; at most one."""
        for one in blamed:
            files = self._written_in_place(one)
            nodes = tuple(files)
            if nodes not in self._replaced:
                self._replaced[nodes] = self._tried(nodes) if nodes else None
            tried = self._replaced[nodes]
            if tried is not None:
                told, fails = tried
                count = fails.get(oracle, 0)
                came = f"none of {told} fails" if not count else f"{count} of {told} still fail"
                line = f"{_replacement_words(list(dict.fromkeys(files.values())))}, fsync the directory: {came}"
                return ([] if count else [line]), ([line] if 0 < count < states else [])
        return [], []

    def _written_in_place(self, one: Blamed) -> dict[int, str]:
        """The file that a blamed operation is about, and others that its source line writes in place, by node."""
        if one.ack is not None or not one.op.path or not is_written_in_place(self._trace, one.op.node):
            return {}
        if not is_replaceable(self._trace, one.op.node):
            return {}
        found = {one.op.node: one.op.path}
        place = signature(one)
        if one.frame is None:
            return found
        alike = {
            op.node: op.path
            for op in self._trace.ops
            if op.kind in _WRITING and op.path and signature(Blamed(op=op, loss="last")) == place
        }
        others = [node for node in alike if node not in found]
        if len(others) < _MOST_FILES:
            found |= {node: alike[node] for node in others if is_written_in_place(self._trace, node)}
        return found

    def _tried(self, nodes: Sequence[int]) -> tuple[str, dict[str, int]] | None:
        """(how many states were tried, oracle -> failing ones) when files are replaced; None where that can't be."""
        trace: Trace | None = self._trace
        for node in nodes:
            trace = None if trace is None else with_replacement(trace, node)
        if trace is None:
            return None
        settings = replace(self._settings, budget_states=_SAMPLE, budget_s=_SAMPLE_S)
        fails: dict[str, int] = {}
        states = 0
        try:
            with Exploration(trace, self._roles, settings) as exploration:
                panel = Panel(exploration.reference, self._oracles, operations=len(trace.ops))
                for observation in exploration.observations():
                    states += 1
                    for violation in panel.judge(observation):
                        fails[violation.oracle] = fails.get(violation.oracle, 0) + 1
        except ChaosError:
            return None  # advice is extra: what was found stands without it
        return f"{states} states", fails


def _best(told: Sequence[tuple[int, _Change]], whole: int) -> list[tuple[int, _Change]]:
    """Changes that help, the best first, each said once; beside one that removes all, none that removes a part."""
    found: dict[str, tuple[int, _Change]] = {}
    for count, change in sorted(told, key=lambda one: -one[0]):
        if count:
            found.setdefault(change.words, (count, change))
    return [one for one in found.values() if one[0] == whole] or list(found.values())


def _file_words(one: Blamed) -> str:
    path, frame = shown_path(one.op.path) or "the file", user_frame(one.op.source)
    if one.op.kind in (Kind.RENAME, Kind.LINK):
        return f"an fsync of {path} before {_where(one.op)}"
    by = f", by {short_place(frame)}," if frame else ""
    return f"an fsync of {path} when it is written{by}"


def _order_words(one: Blamed) -> str:
    return f"an fsync of {one.op.path or 'the file'} after {_where(one.op)}, before it is written further,"


def _replacement_words(paths: Sequence[str]) -> str:
    first = shown_path(paths[0])
    if len(paths) == 1:
        return f"write {first} to a temporary file, fsync it, rename it over {first}"
    others = "1 other file" if len(paths) == 2 else f"{len(paths) - 1} other files"
    also = f"{first}, and {others} that the same line writes,"
    return f"write {also} to a temporary file each, fsync it, rename it over the old one"


def _directory_words(one: Blamed) -> str:
    folders = dict.fromkeys(_folder(path) for path in (one.op.path, one.op.to_path) if path)
    return f"an fsync of the directory ({' and '.join(folders) or 'the folder'}) after {_where(one.op)}"


def _folder(path: str) -> str:
    above = str(PurePath(path).parent)
    return "the folder" if above == "." else shown_path(above)


def _where(op: Op) -> str:
    frame = user_frame(op.source)
    name = shown_path(f"{op.path} to {op.to_path}" if op.to_path else op.path)
    return f"{short_place(frame)} ({op.call}() of {name})" if frame else f"{op.call}() of {name}"


def _of(count: int, tried: int, states: int) -> str:
    if tried < states:
        return f"{'all' if count == tried else count} of the {tried} failing states tried, of {states}"
    if count == tried:
        return "the failing state" if tried == 1 else f"all {tried} failing states"
    return f"{count} of {tried} failing states"


def _joined(several: Sequence[Places]) -> Places:
    found: dict[int, tuple[int, ...]] = {}
    for places in several:
        for position, nodes in places.items():
            found[position] = tuple(dict.fromkeys((*found.get(position, ()), *nodes)))
    return found
