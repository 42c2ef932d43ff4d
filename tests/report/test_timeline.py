"""The rows around a crash."""

from dataclasses import replace

from chaos.report.blame import Fate, blamed
from chaos.report.timeline import ROWS, timeline
from chaos.trace.model import Ack, Frame, Kind, Op, Sync, Trace
from tests.report.making import saver_trace


def trace(*ops: Op, acks: tuple[Ack, ...] = ()) -> Trace:
    return Trace(engine="syscalls", command="", initial=(), ops=ops, acks=acks)


def write(seq: int, node: int = 1, path: str = "a", **more: object) -> Op:
    return Op(seq=seq, kind=Kind.WRITE, call="write", node=node, path=path, data=b"12", **more)  # type: ignore[arg-type]


def fsync(seq: int, node: int = 1, path: str = "a", errno: int = 0) -> Op:
    return Op(seq=seq, kind=Kind.FSYNC, call="fsync", node=node, path=path, errno=errno)


def rename(seq: int) -> Op:
    return Op(seq=seq, kind=Kind.RENAME, call="rename", node=1, parent=0, name="t", path="t", to_parent=0, to_path="a")


def rows(of: Trace, point: int, *fates: Fate, power: bool = True, acked: int = 0) -> tuple[str, ...]:
    return timeline(of, point, blamed(of, point, fates), acked=acked, power=power)


def mark(row: str) -> str:
    return row.rsplit(maxsplit=1)[-1]


def test_a_write_followed_by_its_fsync_is_synced() -> None:
    assert mark(rows(trace(write(0), fsync(1)), 2)[0]) == "synced"


def test_a_write_is_only_done_when_the_fsync_is_another_files() -> None:
    assert mark(rows(trace(write(0), fsync(1, node=2)), 2)[0]) == "done"


def test_a_write_is_only_done_when_the_fsync_failed_or_comes_after_the_crash() -> None:
    assert mark(rows(trace(write(0), fsync(1, errno=5)), 2)[0]) == "done"
    assert mark(rows(trace(write(0), fsync(1)), 1)[0]) == "done"


def test_a_rename_is_synced_by_its_directory_alone() -> None:
    assert mark(rows(trace(rename(0), fsync(1)), 2)[0]) == "done"
    assert mark(rows(trace(rename(0), fsync(1, node=0, path="")), 2)[0]) == "synced"


def test_a_synchronous_write_and_a_sync_of_everything_count() -> None:
    everything = Op(seq=1, kind=Kind.SYNC, call="sync")
    assert mark(rows(trace(write(0, sync=Sync.DATA)), 1)[0]) == "synced"
    assert mark(rows(trace(rename(0), everything), 2)[0]) == "synced"


def test_a_sync_of_a_file_that_has_been_replaced_or_removed_shows_what_it_was_called() -> None:
    replacing = replace(rename(0), victim=2)
    removing = Op(seq=0, kind=Kind.UNLINK, call="unlink", node=2, parent=0, name="b", path="b")
    assert "(a, replaced)" in rows(trace(replacing, fsync(1, node=2, path="")), 2)[1]
    assert "(b, removed)" in rows(trace(removing, fsync(1, node=2, path="")), 2)[1]
    assert "(without a name)" in rows(trace(replacing, fsync(1, node=3, path="")), 2)[1]
    assert "(" not in rows(trace(replacing, fsync(1, node=0, path="")), 2)[1]


def test_a_name_that_can_not_be_printed_stays_in_its_row() -> None:
    (row, _) = rows(trace(write(0, path="a\nb\x1b[2J\udcff")), 1)
    assert r"a\nb\x1b[2J\udcff" in row


def test_a_failed_sync_shows_its_errno() -> None:
    assert rows(trace(write(0), fsync(1, errno=5)), 2)[1].endswith("errno 5")


def test_what_is_far_back_and_to_blame_is_shown_and_the_gap_counted() -> None:
    long = trace(*(write(seq) for seq in range(40)))
    shown = rows(long, 30, Fate(seq=2, loss="lost"))
    assert shown[0].endswith("lost")
    assert shown[1] == "      ... 22 more"
    assert sum(row.lstrip()[0].isdigit() for row in shown) <= ROWS


def test_long_paths_keep_their_end_and_rows_fit_80_columns() -> None:
    long = trace(write(0, path="some/very/deep/folder/with/a/file.json"), write(1))
    shown = rows(long, 1)
    assert "a/file.json" in shown[0]
    assert all(len(row) <= 80 for row in shown)


def test_only_acknowledgements_made_before_the_crash_are_shown() -> None:
    of = saver_trace(1)
    assert any("acknowledged" in row for row in rows(of, 2, acked=1))
    assert not any("acknowledged" in row for row in rows(of, 2, acked=0))


def test_a_crash_at_the_very_start_shows_where_the_program_would_have_gone() -> None:
    assert rows(saver_trace(1), 0, power=False) == (
        "      <- killed here",
        "    0 openat    state.json                  0 B targets.py:11 save   not reached",
    )


def test_a_long_function_name_gives_way_to_the_line() -> None:
    frame = Frame("/a/targets.py", 123, "a_function_with_a_long_name")
    assert "targets.py:123 " in rows(trace(write(0, source=(frame,))), 1)[0]
