"""The kind `race`: workers side by side in one folder, let go one at a time in orders drawn from the seed.

Data only; read `chaos/scenario/fields/race.py` for its keys in a file, `chaos/scenario/runner/racing.py` for its run.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, final

from chaos.child.target import Target

__all__ = ["HISTORIES", "RACE_MODEL", "RACE_ORACLES", "Race", "unread_initial"]

# As in `model.py`: the names written down, held equal to the table in `chaos.oracles` by a test.
RACE_ORACLES = ("exclusive", "no_lost_update", "linearizable", "check", "terminates", "returns")
HISTORIES = ("register", "counter", "set", "queue", "map")
RACE_MODEL = "schedule"  # what stands for the persistence model in a race's findings


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Two or more workers, each a process, held at their calls on the folder's files and let go one at a time.

    Attributes:
        workers: `worker(disk, witness)` each; a command's number is acknowledged as in a workload.
        setup: makes the files that every episode begins with.
        check: `check(disk, results)`, after each episode; raises when it objects.
        oracles: what must hold, by name; None = all that the episodes give something to judge.
        history: what the calls told by `witness.call` are held against: a model's name, "module:object" of one's own,
            or the model itself.
        initial: the first value for that, and for `no_lost_update`; the model's own, or 0, when None.
        deadline_s: how long a worker may compute between two calls.
        steps: how many calls an episode may take.
        exclude: globs of names of files that may be changed through memory, as SQLite does under locks of its own; any
            other file that is makes a race that finds nothing one that is not measured.
        search: folders in which the module of `history` is looked for first.
    """

    kind: ClassVar[str] = "race"
    unit: ClassVar[str] = "episode"
    workers: tuple[Target, ...]
    setup: Target | None = None
    check: Target | None = None
    oracles: tuple[str, ...] | None = None
    history: Any = None
    initial: Any = None
    deadline_s: float | None = None
    steps: int | None = None
    exclude: tuple[str, ...] = ("*-shm",)
    search: tuple[str, ...] = ()


def unread_initial(initial: Any, history: Any, *, counted: bool = False) -> tuple[str, str] | None:
    """What is wrong with a first value that nothing looks at, and what to do; None when there is none such.

    Args:
        initial: the first value.
        history: what the calls are held against.
        counted: an oracle is named that counts on from the first value.
    """
    if initial is None or history is not None or counted:
        return None
    told = f"initial is {initial!r}, the first value of a history, and no history is named"
    return told, f"give history too: {', '.join(HISTORIES)} or a Model; or leave initial out"
