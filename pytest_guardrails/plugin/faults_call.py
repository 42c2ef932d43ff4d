"""The fixture `faults` at work: whole workloads with a fault in each run, or one call of a function in a struck child.

Read `door.py` for how workloads are run, `fixtures.py` for who makes it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypedDict, TypeVar, cast, final

from chaos.errors import ChaosError, NotMeasured, UsageError
from chaos.observations import Ending
from chaos.report import ScenarioResult
from chaos.scenario import Inject
from chaos.scenario.fields.faults import fault_from
from chaos.scenario.quantities import count_from_1, duration_s
from chaos.scenario.runner import Called, call_with_faults, check_single
from pytest_guardrails.plugin.arguments import (
    COMMON_SETTINGS,
    STATE_SETTINGS,
    Call,
    Settings,
    TargetLike,
    parsed,
    refusal,
    tables,
)
from pytest_guardrails.plugin.door import Door, called_as
from pytest_guardrails.plugin.session import fail, quiet_forks

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Faults", "FaultsOptions", "StruckChild"]

_T = TypeVar("_T")
_Table = Mapping[str, Any]


class FaultsOptions(TypedDict, total=False):
    """What may be given to `faults` besides workload, recover and fault.

    Attributes:
        setup: makes the files before each run.
        check: `check(value, acked)`, raises when it objects.
        resume: how the workload goes on after a run that was struck, if not as it began.
        model: what each run leaves is crashed under this persistence model as well, or under several; or "power".
        oracles: what must hold, by name; None = the usual ones and `terminates`.
        runs: how many runs there are when faults are drawn by chance.
        bounds: for the oracles `bounded` and `terminates`: memory="64MB", file="1MB", recovery="2s", rounds=10.
        budget: a number of runs, or "60s".
        exclude: globs of files that are not watched.
        deadline: for one recovery, in seconds or as "10s".
        workload_deadline: for one run, likewise.
        memory: limit of one recovery, as "512MB".
    """

    setup: TargetLike | None
    check: TargetLike | None
    resume: TargetLike | None
    model: str | Sequence[str]
    oracles: Sequence[str] | None
    runs: int
    bounds: Mapping[str, Any]
    budget: int | str
    exclude: Sequence[str]
    deadline: float | str
    workload_deadline: float | str
    memory: str


@final
class StruckChild:
    """Calls functions in children that faults strike.

    Attributes:
        struck: what was struck so far, one line each.
    """

    def __init__(
        self,
        folder: Path,
        *,
        faults: tuple[Any, ...],
        seed: int,
        deadline_s: float,
        refuse: Callable[[Sequence[str]], NoReturn],
    ) -> None:
        check_single(faults)
        self._refuse = refuse
        self._folder, self._faults, self._seed, self._deadline_s = folder, faults, seed, deadline_s
        self._calls = 0
        self.struck: list[str] = []

    def __call__(self, function: Callable[..., _T], *arguments: Any, **named: Any) -> _T:
        """Call `function` in a fork of this process, under the faults.

        What it changes on disk stays, what it changes in memory does not. Each call counts its calls anew.

        Returns:
            what it returns.

        Raises:
            Exception: what it raises.
            TimeoutError: it did not return before the deadline, and was killed.
            ChildProcessError: it was killed, by a fault or by itself, or left without returning.
        """
        __tracebackhide__ = True
        called = self._called(partial(function, *arguments, **named))
        self.struck += [strike.sentence for strike in called.strikes]
        if called.error is not None:
            raise called.error
        if called.ending is Ending.HUNG:
            raise TimeoutError(f"the function did not return within {self._deadline_s:g} s")
        if called.ending is Ending.KILLED:
            raise ChildProcessError(f"the function's process was killed by signal {called.detail}")
        if called.ending is Ending.EXITED:
            raise ChildProcessError(f"the function's process left with exit code {called.detail}")
        return cast("_T", called.value)

    def _called(self, function: Callable[[], object]) -> Called:
        __tracebackhide__ = True
        self._calls += 1
        seed = f"{self._seed} {self._calls}"
        try:
            with quiet_forks():
                return call_with_faults(function, self._folder, self._faults, deadline_s=self._deadline_s, seed=seed)
        except NotMeasured as error:
            self._refuse([refusal("faults", error)])
        except ChaosError as error:
            fail([refusal("faults", error)])


@final
class Faults:
    """What the fixture `faults` gives: call it, or open `faults.child(...)`."""

    def __init__(self, door: Door) -> None:
        self._door = door

    @called_as("faults")
    def __call__(
        self,
        *,
        workload: TargetLike,
        recover: TargetLike,
        fault: _Table | Sequence[_Table],
        **options: "Unpack[FaultsOptions]",
    ) -> ScenarioResult:
        """Run the workload with a fault in each run, and fail the test when something is lost, or nothing was struck.

        Args:
            workload: `workload(disk, ack)`; works in the folder `disk`, calls `ack(value)` for "this must survive".
            recover: `recover(disk)`, the program's own start-up; returns any plain value.
            fault: a table as in a scenario file, such as {"call": "write", "errno": "ENOSPC"}, or several.
            options: see `FaultsOptions`.

        Returns:
            what was found and how much was tried.
        """
        __tracebackhide__ = True
        return self._door.go(
            "faults",
            FaultsOptions,
            options,
            lambda call: _drive(call, workload, recover, fault),
            needed=("workload", "recover", "fault"),
        )

    def child(
        self, folder: Path | str, *tables: _Table, deadline: float | str = 60.0, **table: Any
    ) -> AbstractContextManager[StruckChild]:
        """Children of this process in which calls on the files of `folder` are struck.

            with faults.child(tmp_path, call="write", nth=2, errno="ENOSPC") as child:
                with pytest.raises(OSError):
                    child(save, tmp_path / "state.json", 1)

        Args:
            folder: calls on the files in it are struck.
            tables: faults, each as a table.
            deadline: for one call, in seconds or as "10s".
            table: one more fault, its keys as arguments.
        """
        return self._child(folder, {"fault": [*tables, *([table] if table else [])], "deadline": deadline})

    @contextmanager
    def _child(self, folder: Path | str, given: Mapping[str, Any]) -> Iterator[StruckChild]:
        __tracebackhide__ = True
        self._door.used.add("faults")
        try:
            settings = parsed("faults.child", given, _CHILD)
            child = StruckChild(_folder(folder), seed=self._door.seed(), refuse=self._door.refuse, **settings)
        except ChaosError as error:
            fail([refusal("faults", error)])
        yield child
        if not child.struck:
            fail(["faults: no call was struck: this test tested nothing"])


def _folder(given: Path | str) -> Path:
    if not isinstance(given, (str, Path)):
        raise UsageError(f"faults.child(...): expected a folder, got {given!r}", "such as tmp_path")
    return Path(given)


def _drive(call: Call, workload: TargetLike, recover: TargetLike, fault: object) -> Inject:
    given = {**call.given, "fault": [fault] if isinstance(fault, Mapping) else fault}
    return Inject(
        roles=call.roles(workload, recover),
        **replace(call, given=given).settings(COMMON_SETTINGS, STATE_SETTINGS, _SETTINGS),
    )


def _faults(given: object) -> tuple[Any, ...]:
    if not given:
        raise UsageError("no fault is given", f"such as {_EXAMPLE}")
    return _TABLES(given)


_EXAMPLE = '{"call": "write", "errno": "ENOSPC"}'
_TABLES = tables(fault_from, f"[{_EXAMPLE}]")
_SETTINGS: Settings = {"fault": ("faults", _faults), "runs": ("runs", count_from_1)}
_CHILD: Settings = {"fault": ("faults", _faults), "deadline": ("deadline_s", duration_s)}
