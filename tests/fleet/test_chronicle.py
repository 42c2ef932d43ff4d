"""The chronicle: what was stated survives the writer's SIGKILL, whole and in order."""

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.child.ack import ack
from chaos.child.chronicle import CHRONICLE_VARIABLE, HARNESS, Chronicle, line_of, parse_line
from chaos.fleet.telling import Told, statements, told

GIVE_UP_S = 30.0
TEXTS = st.text(st.characters(exclude_characters="\n"), max_size=40)


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "chronicle"
    file.touch()
    return str(file)


def forked(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
        finally:
            os._exit(1)
    return pid


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = monotonic() + GIVE_UP_S
    while not condition():
        assert monotonic() < give_up
        sleep(0.001)


@given(worker=st.integers(-1, 99), life=st.integers(0, 9999), text=TEXTS)
def test_a_line_is_read_as_it_was_written(worker: int, life: int, text: str) -> None:
    assert parse_line(line_of(worker, life, text).strip(b"\n")) == (worker, life, text)


@given(text=TEXTS.filter(bool), data=st.data())
def test_a_part_of_a_line_is_no_line(text: str, data: st.DataObject) -> None:
    line = line_of(3, 1, text)[1:-1]
    assert parse_line(line[: data.draw(st.integers(0, len(line) - 1))]) is None


def test_a_statement_cut_short_spoils_none_after_it(path: str) -> None:
    Chronicle(path, 0, 0).append("a1")
    with open(path, "ab") as file:
        file.write(line_of(1, 0, "a2")[:-9])  # as a kill leaves it
    Chronicle(path, 2, 0).append("a3")
    assert [(worker, text) for _, worker, _, text in statements(path)] == [(0, "a1"), (2, "a3")]


def test_the_order_of_the_file_is_that_of_the_statements(path: str) -> None:
    one, other = Chronicle(path, 0, 0), Chronicle(path, 1, 0)
    for number in range(20):
        (one if number % 3 else other).append(f"a{number}")
    found = list(statements(path))
    assert [text for _, _, _, text in found] == [f"a{number}" for number in range(20)]
    assert [position for position, *_ in found] == sorted({position for position, *_ in found})


def test_a_process_that_closes_all_descriptors_goes_on_stating(path: str) -> None:
    pen = Chronicle(path, 0, 0)

    def work() -> None:
        pen.append("a1")
        os.closerange(3, 2000)
        os.open(os.devnull, os.O_WRONLY)
        pen.append("a2")
        os._exit(0)

    assert os.waitstatus_to_exitcode(os.waitpid(forked(work), 0)[1]) == 0
    assert [text for _, _, _, text in statements(path)] == ["a1", "a2"]


def test_no_statement_that_was_relied_on_is_lost_or_torn_by_kills(path: str, tmp_path: Path) -> None:
    """Each writer tells in shared memory how far it has come, after each append: that much must be there."""
    shared = mmap.mmap(-1, 8 * 40)
    for number in range(40):
        pen = Chronicle(path, number, 0)

        def work(pen: Chronicle = pen, number: int = number) -> None:
            filler = "x" * 5000  # across pages: a kill does cut such a write
            for count in range(1, 1_000_000):
                pen.append(f"a{count} {filler}")
                shared[8 * number : 8 * number + 8] = count.to_bytes(8, "little")

        pid = forked(work)
        wait_until(lambda number=number: shared[8 * number] > number % 5)  # type: ignore[misc]
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    counts: dict[int, list[int]] = {}
    for _, worker, _, text in statements(path):
        counts.setdefault(worker, []).append(int(text[1:].split()[0]))
    for number in range(40):
        relied = int.from_bytes(shared[8 * number : 8 * number + 8], "little")
        found = counts[number]
        assert found == list(range(1, len(found) + 1))
        assert relied <= len(found) <= relied + 1


def test_a_program_that_a_worker_starts_acknowledges_by_the_environment(path: str) -> None:
    environment = {**os.environ, CHRONICLE_VARIABLE: Chronicle(path, 2, 5).to_environment()}
    subprocess.run([sys.executable, "-m", "chaos.child.ack", '{"n": 1}'], env=environment, check=True)
    assert [statement[1:] for statement in statements(path)] == [(2, 5, 'a{"n":1}')]


def test_a_full_disk_is_told_to_the_one_who_states() -> None:
    with pytest.raises(OSError, match="No space left"):
        Chronicle("/dev/full", 0, 0).append("a1")


def test_progress_is_counted_as_it_is_made(path: str) -> None:
    seen = Told(path)
    try:
        pen = Chronicle(path, 4, 0)
        for text in ("^123", "a1", '("x"', ")1", "!{}", "?1", "+s", "-s", ".null", ":0", "/1"):
            pen.append(text)
        Chronicle(path, HARNESS, 0).append("*{}")
        seen.advance()
        assert dict(seen.counts) == {4: 6}
        pen.append("a2")
        seen.advance()
        assert seen.total == 7
    finally:
        seen.close()


def test_half_a_statement_is_counted_when_it_is_whole(path: str) -> None:
    seen = Told(path)
    try:
        line = line_of(1, 0, "a1")
        with open(path, "ab", buffering=0) as file:
            file.write(line[:-3])
            seen.advance()
            assert seen.total == 0
            file.write(line[-3:])
        seen.advance()
        assert seen.total == 1
    finally:
        seen.close()


def test_who_dies_in_a_section_leaves_it_by_that(path: str) -> None:
    first, second = Chronicle(path, 0, 0), Chronicle(path, 1, 0)
    first.append('+"s"')
    second.append("a1")
    Chronicle(path, 0, 1).append("a2")
    said = [(one.process, one.text) for one in told(path, workers=2)]
    assert said == [(0, '+"s"'), (0, "x"), (1, "a1"), (2, "a2")]


def test_a_value_whose_text_begins_like_another_statement_is_acknowledged_as_itself(path: str) -> None:
    def work() -> None:
        os.environ[CHRONICLE_VARIABLE] = Chronicle(path, 0, 0).to_environment()
        ack(-5)
        os._exit(0)

    os.waitpid(forked(work), 0)
    assert [one.text for one in told(path, workers=1)] == ["a-5"]
