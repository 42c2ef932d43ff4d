"""What a set-up leaves beside files and folders is there in each episode: named pipes, and what looks old."""

import os
from pathlib import Path
from time import time, time_ns

from chaos.race.furnishing import Furnishing
from tests.race.playing import episodes

_DAY_S = 86_400


def test_a_named_pipe_of_the_set_up_is_there_in_each_episode() -> None:
    for played in episodes(3, "writes_to_pipe", "reads_from_pipe", setup="lays_pipe"):
        assert [outcome.ending.value for outcome in played.outcomes] == ["returned", "returned"]


def test_a_file_that_the_set_up_made_look_old_is_old_in_each_episode() -> None:
    for played in episodes(3, "age_of_lock", "nothing", setup="lays_stale_lock"):
        assert _DAY_S <= float(played.outcomes[0].value) < 2 * _DAY_S


def test_two_that_take_over_what_is_old_by_touching_it_may_both_do_so() -> None:
    found = [played.outcomes for played in episodes(40, "takes_over", "takes_over", setup="lays_stale_lock")]
    assert ["true", "true"] in [[outcome.value for outcome in outcomes] for outcomes in found]
    assert ["false", "false"] not in [[outcome.value for outcome in outcomes] for outcomes in found]


def test_a_file_is_as_new_in_each_episode_as_when_the_set_up_ended(tmp_path: Path) -> None:
    began_ns = time_ns()
    for name in ("new", "old"):
        (tmp_path / name).touch()
    os.utime(tmp_path / "old", (1000, 2000))
    os.mkdir(tmp_path / "folder")
    os.utime(tmp_path / "folder", (1000, 3000))
    furnishing = Furnishing.left_in(str(tmp_path), since_ns=began_ns)
    assert {path for path, *_ in furnishing.ages} == {"folder", "old"}
    for path in (tmp_path / "old", tmp_path / "folder"):
        os.utime(path)
    furnishing.lay(str(tmp_path))
    shift_s = os.stat(tmp_path / "old").st_mtime - 2000
    assert 0 <= shift_s <= time() - began_ns / 1e9
    assert abs(os.stat(tmp_path / "folder").st_mtime - 3000 - shift_s) < 0.001


def test_pipes_come_back_with_their_mode(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "below")
    os.mkfifo(tmp_path / "below" / "pipe")
    os.chmod(tmp_path / "below" / "pipe", 0o622)
    furnishing = Furnishing.left_in(str(tmp_path), since_ns=time_ns())
    os.unlink(tmp_path / "below" / "pipe")
    furnishing.lay(str(tmp_path))
    assert (tmp_path / "below" / "pipe").is_fifo()
    assert os.stat(tmp_path / "below" / "pipe").st_mode & 0o777 == 0o622
