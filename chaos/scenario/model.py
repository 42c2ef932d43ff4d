"""A scenario as data: what is hurt, how, what must hold, and what is expected to be found.

Every door (command, fixture, gate) builds one `Scenario` and hands it to `runner.run`; nothing here runs anything.
What is common to all kinds is in `Scenario`; what one kind needs is in its own type (`Explore` here, the others in
`kinds/`), so that a new kind is a new type beside it. A setting that is None is left to the part that owns it. Read
`layout.py` for the file format and `runner.py` for what becomes of a scenario.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import ClassVar, Literal, final

from chaos.child.target import Roles
from chaos.disk.models import RULES, rule_values
from chaos.observations import Bounds, Damage
from chaos.scenario.kinds.agent import Agent
from chaos.scenario.kinds.fleet import Fleet
from chaos.scenario.kinds.inject import Inject
from chaos.scenario.kinds.race import Race

__all__ = [
    "DEPTHS",
    "ENGINES",
    "MODELS",
    "MODEL_PATTERN",
    "ORACLES",
    "Budget",
    "Drive",
    "Engine",
    "Expectation",
    "Explore",
    "Isolation",
    "Profile",
    "RunOptions",
    "Scenario",
]

# The names that a scenario may use. They are written down here, because this room knows data only; tests hold them
# equal to the tables in `chaos.disk`, `chaos.oracles` and `chaos.trace`. Models stand in the order of what they allow.
MODELS = ("kill", "ext4", "xfs", "btrfs", "posix", "alice", "real:ext4", "real:xfs", "real:btrfs")
# A preset, and the rules in which a user's model differs from it: `xfs fsync_keeps_data=false`.
_RULE = "|".join(f"{rule}=({'|'.join(rule_values(rule))})" for rule in RULES)
MODEL_PATTERN = rf"^(kill|ext4|xfs|btrfs|posix|alice)( ({_RULE}))+$"
ORACLES = ("recovers", "atomic", "durable", "resumable", "finite", "terminates", "bounded", "clean", "check")

Isolation = Literal["fork", "batch", "command"]
Engine = Literal["auto", "syscalls", "portable"]
ENGINES: tuple[Engine, ...] = ("auto", "syscalls", "portable")
DEPTHS = (1, 2)


@final
class Profile(str, Enum):
    """How much time a run may take when neither scenario nor caller gives a budget."""

    QUICK = "quick"  # while writing code: seconds a scenario
    CI = "ci"  # on each push: a minute a scenario
    DEEP = "deep"  # at night: no limit


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Where to stop: after a number of crash states or episodes, after a time, or at whichever comes first.

    Attributes:
        states: at least 1, or None for no limit.
        duration_s: above 0, or None for no limit.
    """

    states: int | None = None
    duration_s: float | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A finding that the scenario is meant to produce; None matches anything.

    Attributes:
        oracle: which oracle objects.
        model: the weakest persistence model that shows it; "schedule" for a race, "fleet" for a fleet, "injected
            fault" for a run that a fault struck, "fake LLM" for an agent.
        damage: what kind of damage.
        source: the line to blame: a file's name, with its line if wanted ("targets.py", "store.py:42"), or the path
            of the file that was written to.
    """

    oracle: str
    model: str | None = None
    damage: Damage | None = None
    source: str | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Explore:
    """Record a workload once, then run recovery on every state that a crash may leave.

    Attributes:
        roles: the target.
        models: persistence models, by name.
        isolation: how recoveries are kept apart; None = `command` for commands, else `fork`.
        oracles: what must hold, by name; None = the usual ones. Doubt in one that is named is not a pass.
        exclude: glob patterns of files that are not watched.
        deadline_s: for one recovery.
        workload_deadline_s: for the recorded run, and for the set-up before it.
        memory_bytes: for one recovery.
        engine: what records; `auto` = the supervisor where it works, else the portable engine.
        depth: 1, or 2: what follows each crash is recorded and crashed as well.
        failed_sync: which of the workload's fsyncs fails once, from 1; none when None.
        bounds: for the oracles `bounded` and `terminates`.
    """

    kind: ClassVar[str] = "explore"
    unit: ClassVar[str] = "crash state"
    roles: Roles
    models: tuple[str, ...] = ("kill",)
    isolation: Isolation | None = None
    oracles: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    deadline_s: float | None = None
    workload_deadline_s: float | None = None
    memory_bytes: int | None = None
    engine: Engine = "auto"
    depth: int = 1
    failed_sync: int | None = None
    bounds: Bounds = field(default_factory=Bounds)


Drive = Explore | Inject | Race | Fleet | Agent
"""How a scenario is driven: each kind's own type, with the kind's name in `kind` and what it counts in `unit`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One thing to try, and what should come of it.

    Attributes:
        name: unique among the scenarios of a run; letters, digits, `.`, `_`, `-`.
        drive: how it is driven; its type is the scenario's kind.
        description: for people.
        budget: where to stop, unless the caller says otherwise.
        profile: the least one that runs it without being asked for it by name or file.
        expect: the findings that are meant to appear; any other violation is a surprise, and so is a missing one.
        origin: the file or test it came from, for people.
    """

    name: str
    drive: Drive
    description: str = ""
    budget: Budget | None = None
    profile: Profile = Profile.QUICK
    expect: tuple[Expectation, ...] = ()
    origin: str = ""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What the caller decides, for all scenarios of a run; it wins over what a scenario says.

    Attributes:
        seed: of everything drawn by chance; together with the scenario it reproduces the run.
        budget: replaces the scenario's own.
        jobs: local processes that check states; 0 = one for each processor.
        profile: gives the budget where nobody else does.
        models: replaces the scenario's models when not empty.
        engine: replaces the scenario's engine.
        depth: replaces the scenario's depth.
        report_dir: where run folders are kept.
    """

    seed: int = 0
    budget: Budget | None = None
    jobs: int = 0
    profile: Profile = Profile.CI
    models: tuple[str, ...] = ()
    engine: Engine | None = None
    depth: int | None = None
    report_dir: Path = Path(".chaos")
