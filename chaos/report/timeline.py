"""The few operations around a crash as aligned lines: what was done, lost, torn or synced, and where the crash is.

One row an operation, at most `ROWS`, with those to blame always among them; a sync marks what it made durable by
the least that any disk promises. Lines are at most 80 columns. Read `explanation.py` next.
"""

from collections.abc import Sequence

from chaos.child import values
from chaos.report.blame import Blamed
from chaos.report.places import short_place, shown_path, user_frame
from chaos.trace.model import Ack, Kind, Op, Sync, Trace

__all__ = ["ROWS", "operation_row", "timeline"]

ROWS = 8
_BEFORE = 5  # operations shown ahead of the crash when nothing further back is to blame
_AFTER = 1  # what the program would have done next tells where it stood
_WIDTH = 80
_PATH, _PLACE = 22, 20
_ENTRY_KINDS = {Kind.CREATE, Kind.MKDIR, Kind.SYMLINK, Kind.LINK, Kind.UNLINK, Kind.RMDIR, Kind.RENAME, Kind.EXCHANGE}
_SYNCS = {Kind.FSYNC, Kind.FDATASYNC, Kind.SYNC}


def timeline(trace: Trace, point: int, blamed: Sequence[Blamed], *, acked: int, power: bool) -> tuple[str, ...]:
    """The rows, ready to print.

    Args:
        trace: the recorded run.
        point: how many operations were issued before the crash; a torn one counts.
        blamed: the operations to blame.
        acked: how many acknowledgements had been made.
        power: what was not synced may be lost; else the last row's writes survive.
    """
    losses = {one.op.seq: one.loss for one in blamed if one.loss != "last"}
    shown = _shown(len(trace.ops), point, [one.op.seq for one in blamed])
    made = trace.acks[:acked]
    rows: list[str] = []
    previous = None
    for seq in shown:
        if previous is not None and seq > previous + 1:
            rows.append(f"      ... {seq - previous - 1} more")
        if seq == point:
            rows += [*_acks(made, previous, point), _crash(power)]
        else:
            rows += _acks(made, previous, seq)
        mark = losses.get(seq, "") or ("not reached" if seq >= point else _mark(trace, seq, point, power))
        rows.append(operation_row(trace, trace.ops[seq], mark))
        previous = seq
    if not shown or shown[-1] < point:
        rows += [*_acks(made, previous, point), _crash(power)]
    return tuple(rows)


def _crash(power: bool) -> str:
    return "      <- the power goes here" if power else "      <- killed here"


def _shown(operations: int, point: int, wanted: Sequence[int]) -> list[int]:
    """Which operations get a row: those to blame, then those nearest to the crash."""
    near = [seq for seq in range(point - 1, point - 1 - _BEFORE, -1) if seq >= 0]
    after = [seq for seq in range(point, point + _AFTER) if seq < operations]
    picked = dict.fromkeys([*sorted(wanted, reverse=True)[: ROWS - 2], *after, *near])
    return sorted(list(picked)[:ROWS])


def _acks(made: Sequence[Ack], previous: int | None, seq: int) -> list[str]:
    """Acknowledgements between two rows; of those before the first row only what comes right before it."""
    after = seq - 1 if previous is None else previous
    return [f"      acknowledged {values.render(ack.value, 50)}" for ack in made if after < ack.after <= seq]


def operation_row(trace: Trace, op: Op, mark: str) -> str:
    """One operation of a trace as a row; `mark` is what became of it."""
    path = f"{op.path} -> {op.to_path}" if op.to_path else op.path or _once(trace, op)
    path = shown_path(path)
    size = f"{len(op.data)} B" if op.kind is Kind.WRITE else f"{op.size} B" if op.kind is Kind.TRUNCATE else ""
    frame = user_frame(op.source)
    where = short_place(frame) if frame else ""
    if len(where) > _PLACE:
        where = where.split(" ")[0]  # the line matters more than the function's name
    row = f"{op.seq:>5} {op.call[:9]:<9} {_fit(path, _PATH):<{_PATH}} {size:>8} {_fit(where, _PLACE):<{_PLACE}}"
    return f"{row[: _WIDTH - len(mark) - 1]} {mark}".rstrip()


def _once(trace: Trace, op: Op) -> str:
    """What a file without a name was called last: a sync of what has been replaced is easily taken for another."""
    if not op.node or op.kind is Kind.SYNC:
        return ""
    for earlier in reversed(trace.ops[: op.seq]):
        if earlier.victim == op.node:
            return f"({earlier.to_path}, replaced)"
        if earlier.node == op.node and earlier.kind is Kind.UNLINK:
            return f"({earlier.path}, removed)"
    return "(without a name)"


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else "~" + text[len(text) - width + 1 :]


def _mark(trace: Trace, seq: int, point: int, power: bool) -> str:
    op = trace.ops[seq]
    if op.kind in _SYNCS:
        return f"errno {op.errno}" if op.errno else ""
    if not power:
        return "done"
    return "synced" if _is_synced(trace, op, point) else "done"


def _is_synced(trace: Trace, op: Op, point: int) -> bool:
    if op.sync is not Sync.NONE:
        return True
    nodes = {op.parent, op.to_parent} - {None} if op.kind in _ENTRY_KINDS else {op.node}
    for later in trace.ops[op.seq + 1 : point]:
        if later.errno == 0 and later.kind is Kind.SYNC:
            return True
        if later.errno == 0 and later.kind in _SYNCS:
            nodes = nodes - {later.node}
            if not nodes:
                return True
    return False
