"""Which worker is struck by what, and when: drawn from the settings by a seed, before anything runs. Pure.

A plan is the run's recipe: it has a canonical text, and equal seeds and settings give equal texts. When it is carried
out the processes' own timing stays theirs, so two runs of one plan need not come out alike.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from random import Random
from typing import Any, final

from chaos.errors import UsageError
from chaos.faults.fault import Deed
from chaos.faults.fault import Fault as CallFault
from chaos.faults.fault import parse_fault as parse_call_fault
from chaos.faults.network_rules import Rule, rule_data, rule_from, rule_words
from chaos.faults.policy import check_single
from chaos.fleet.faults import ClockName, Fault, FaultKind

__all__ = ["Plan", "Strike", "draw", "parse_plan"]

_MOST = 100_000  # strikes of a plan; more than that is a mistake in the settings


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault at one moment.

    Attributes:
        at_s: due so long after the fleet began.
        statements: due when the fleet has made so many statements; both must have come.
        kind: what is done.
        workers: to whom.
        lasts_s: for how long; None = until the healing.
        amount: see `Fault`.
        clock: likewise.
        shift_s: likewise.
        rules: likewise.
    """

    at_s: float
    statements: int = 0
    kind: FaultKind
    workers: tuple[int, ...]
    lasts_s: float | None = None
    amount: int | None = None
    clock: ClockName = "wall"
    shift_s: float | None = None
    rules: tuple[Rule, ...] = ()

    def __str__(self) -> str:
        who = "worker " + ", ".join(map(str, self.workers)) if self.kind is not FaultKind.DISK_FULL else ""
        when = f"after {self.statements} statements" if self.statements else f"at {self.at_s:.3f} s"
        lasting = "" if self.lasts_s is None else f" for {self.lasts_s:g} s"
        return f"{' '.join(filter(None, (self.words, who)))}{lasting} {when}"

    @property
    def words(self) -> str:
        """What is done, for people."""
        if self.kind is FaultKind.CLOCK:
            return f"{self.clock} clock {'frozen' if self.shift_s is None else f'shifted by {self.shift_s:g} s'} of"
        if self.kind is FaultKind.NETWORK:
            return f"network ({'; '.join(map(rule_words, self.rules))}) of"
        if self.amount is None:
            return _name(self.kind)
        return f"{_name(self.kind)} ({self.amount})"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done to a fleet.

    Attributes:
        workers: how many there are.
        strikes: by time.
        calls: faults at system calls, for as long as the faults go on; they take the supervisor.
        seed: of those of them that are drawn by chance.
    """

    workers: int
    strikes: tuple[Strike, ...]
    calls: tuple[CallFault, ...] = ()
    seed: str = ""

    @property
    def text(self) -> str:
        """The canonical text, from which `parse_plan` makes the plan again."""
        default = _plain(Strike(at_s=0.0, kind=FaultKind.KILL, workers=()))
        strikes = [
            {name: value for name, value in _plain(strike).items() if name in _ALWAYS or value != default[name]}
            for strike in self.strikes
        ]
        data: dict[str, Any] = {"workers": self.workers, "strikes": strikes}
        if self.calls:
            data |= {"calls": [fault.table() for fault in self.calls], "seed": self.seed}
        return json.dumps(data, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """Twelve hex digits of the text."""
        return blake2b(self.text.encode(), digest_size=6).hexdigest()

    def without_worker(self, worker: int) -> "Plan":
        """The plan for one worker less; those after it move up."""
        kept = []
        for strike in self.strikes:
            struck = tuple(one - (one > worker) for one in strike.workers if one != worker)
            if struck or strike.kind is FaultKind.DISK_FULL:
                kept.append(replace(strike, workers=struck))
        return replace(self, workers=self.workers - 1, strikes=tuple(kept))


_ALWAYS = ("at_s", "kind", "workers")


def _name(kind: FaultKind) -> str:
    return str(kind.value).replace("_", " ")


def draw(
    seed: int | str, workers: int, faults: Sequence[Fault], duration_s: float, *, calls: Sequence[CallFault] = ()
) -> Plan:
    """The plan of a seed.

    Args:
        seed: of everything that is drawn.
        workers: how many there are.
        faults: what is asked for; each family draws by itself, so that one more does not change the others.
        duration_s: no strike comes later.
        calls: faults at system calls; a kill is of the one process that makes the call.

    Raises:
        UsageError: more strikes than anybody can mean, or a fault at each call in turn, which takes many runs.
    """
    found: list[Strike] = []
    for number, fault in enumerate(faults):
        for strike in _strikes(Random(f"{seed}/{number}"), workers, fault, duration_s):  # noqa: S311 - to be repeated
            if len(found) >= _MOST:
                raise UsageError(f"the plan has more than {_MOST} strikes", "let them come less often")
            found.append(strike)
    check_single(calls)
    return Plan(
        workers=workers,
        strikes=tuple(sorted(found, key=lambda one: (one.at_s, one.statements))),
        calls=tuple(replace(fault, reach="process") if fault.deed is Deed.KILL else fault for fault in calls),
        seed=str(seed) if calls else "",
    )


def parse_plan(text: str) -> Plan:
    """The plan of a text.

    Raises:
        UsageError: it is none.
    """
    try:
        data = json.loads(text)
        strikes = tuple(_strike(one) for one in data["strikes"])
        calls = tuple(map(parse_call_fault, data.get("calls", ())))
        return Plan(workers=int(data["workers"]), strikes=strikes, calls=calls, seed=str(data.get("seed", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"not the text of a plan: {text[:200]!r} ({error})", "the file is damaged") from None


def _strikes(random: Random, workers: int, fault: Fault, duration_s: float) -> Iterator[Strike]:
    at_s, statements, made = fault.first_s, 0, 0
    while fault.count is None or made < fault.count:
        gap = random.uniform(0.5, 1.5)
        if fault.every_s is not None:
            at_s = round(at_s + gap * fault.every_s, 6)
        else:
            statements += max(1, round(gap * (fault.statements or 1)))
        if at_s > duration_s:
            return
        made += 1
        yield Strike(
            at_s=at_s,
            statements=statements,
            kind=fault.kind,
            workers=_struck(random, workers, fault),
            lasts_s=fault.lasts_s,
            amount=fault.amount,
            clock=fault.clock,
            shift_s=fault.shift_s,
            rules=fault.rules,
        )


def _struck(random: Random, workers: int, fault: Fault) -> tuple[int, ...]:
    if fault.kind is FaultKind.DISK_FULL:
        return ()
    if not fault.workers or fault.workers >= workers:
        return tuple(range(workers))
    return tuple(sorted(random.sample(range(workers), fault.workers)))


def _plain(strike: Strike) -> dict[str, Any]:
    plain = {field.name: getattr(strike, field.name) for field in fields(strike)}
    rules = [rule_data(rule) for rule in strike.rules]
    return {**plain, "kind": strike.kind.value, "workers": list(strike.workers), "rules": rules}


def _strike(data: dict[str, Any]) -> Strike:
    rules = tuple(map(rule_from, data.get("rules", ())))
    workers = tuple(int(one) for one in data["workers"])
    return Strike(**{**data, "kind": FaultKind(data["kind"]), "workers": workers, "rules": rules})
