"""What a racer is held at: every call on the folder, told by name and file, and nothing else."""

import re

from chaos.race.moves import Form, race_numbers
from chaos.race.policies import Switches
from chaos.syscalls.tables import ARCHITECTURES
from tests.race.playing import staged


def test_every_kind_of_call_on_the_folder_is_seen_with_its_files() -> None:
    with staged("all_calls", "nothing") as stage:
        episode = stage.play(Switches({}, participants=2)).episode
    moves = [step.move for step in episode.steps]
    named = {(re.sub("at2?$", "", move.call), move.path, move.text) for move in moves}
    assert [move.form for move in moves].count(Form.SLEEP) == 1
    assert {
        ("mkdir", "d", ""),
        ("open", "a", ""),
        ("open", "d/relative", ""),
        ("write", "d/relative", ""),
        ("rename", "d/relative", "b"),
        ("link", "b", "c"),
        ("symlink", "d/s", ""),
        ("readlink", "d/s", ""),
        ("sendfile", "b", "a"),
        ("copy_file_range", "b", "a"),
        ("fsync", "a", ""),
        ("ftruncate", "a", ""),
        ("open", ".", ""),
        ("unlink", "a", ""),
        ("getdents64", ".", ""),
    } <= named
    assert not [move for move in moves if move.path.startswith(("/", ".."))]


def test_times_that_are_set_and_lengths_that_are_asked_for_are_seen() -> None:
    with staged("times_and_lengths", "nothing") as stage:
        episode = stage.play(Switches({}, participants=2)).episode
    calls = [step.move.call for step in episode.steps if step.move.path == "a"]
    assert calls.count("utimensat") == 2  # by its path, and by a descriptor
    assert calls.count("lseek") == 1  # to the end, which depends on what others write; not to a place that is given
    assert "fstat" in calls


def test_what_a_racer_says_arrives_whatever_it_says() -> None:
    with staged("all_calls", "nothing") as stage:
        episode = stage.play(Switches({}, participants=2)).episode
    said = [step.move.text for step in episode.steps if step.move.form is Form.SAY]
    assert len(said) == 2
    assert said[1] == "\N{REPLACEMENT CHARACTER}"


def test_each_architecture_knows_the_waiting_and_the_reading_calls() -> None:
    for architecture in ARCHITECTURES.values():
        names = set(race_numbers(architecture).values())
        assert {"flock", "fcntl", "clock_nanosleep", "read", "close", "openat", "renameat2", "unlinkat"} <= names
