"""Paths, folders and names lead to scenarios, each once; anything else is one clear message."""

from pathlib import Path

import pytest

from chaos.errors import UsageError
from chaos.scenario import Profile, Scenario, ScenarioError, discover, discovery, load, now_and_later

GOOD = '[target]\nworkload = "t:w"\nrecover = "t:r"\n'


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("apple", "pear"):
        put(tmp_path / "scenarios" / name / f"{name}.toml", name)
    put(tmp_path / "elsewhere" / "plum.toml", "plum")
    return tmp_path


def put(path: Path, name: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'name = "{name}"\n{GOOD}')


def names(*wanted: str) -> list[str]:
    return [scenario.name for scenario in discover(wanted)]


def test_nothing_asked_means_all_in_the_default_folder(shelf: Path) -> None:
    assert names() == ["apple", "pear"]


def test_a_file_a_folder_and_a_name_each_lead_to_scenarios(shelf: Path) -> None:
    assert names("elsewhere/plum.toml") == ["plum"]
    assert names("elsewhere") == ["plum"]
    assert names("pear") == ["pear"]
    assert names("elsewhere", "pear") == ["plum", "pear"]


def test_a_name_may_hold_wildcards(shelf: Path) -> None:
    assert names("*p*") == ["apple", "pear"]


@pytest.mark.parametrize("wanted", ["pear", "p?ar", "p[a-e]ar", "*ear"])
def test_a_name_leads_to_its_scenario_however_the_file_writes_it(shelf: Path, wanted: str) -> None:
    (shelf / "scenarios" / "pear" / "pear.toml").write_text(f'name = "p\\u0065ar"\n{GOOD}')
    assert names(wanted) == ["pear"]


def test_by_name_no_other_file_is_read_as_a_scenario(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def noted(file: Path) -> Scenario:
        read.append(file.name)
        return load(file)

    monkeypatch.setattr(discovery, "load", noted)
    assert names("pear") == ["pear"]
    assert read == ["pear.toml"]


def test_a_second_scenario_of_the_name_is_still_refused_when_asked_for_by_name(shelf: Path) -> None:
    put(shelf / "scenarios" / "other.toml", "pear")
    with pytest.raises(ScenarioError, match='"pear" is also the name in'):
        discover(["pear"])


def test_a_scenario_named_twice_is_run_once(shelf: Path) -> None:
    assert names("scenarios/pear", "scenarios/pear/pear.toml", "pear") == ["pear"]


def test_hidden_folders_and_project_files_are_no_scenarios(shelf: Path) -> None:
    put(shelf / "scenarios" / ".venv" / "x.toml", "hidden")
    (shelf / "scenarios" / "pyproject.toml").write_text("[project]")
    assert names() == ["apple", "pear"]


def test_an_unknown_name_gets_a_suggestion(shelf: Path) -> None:
    with pytest.raises(UsageError, match=r'"aple" is neither a file .*\n.*did you mean "apple"'):
        discover(["aple"])


def test_no_scenarios_folder_is_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"there is no folder \./scenarios here"):
        discover()
    with pytest.raises(UsageError, match=r'"a/b\.toml" is no file either'):
        discover(["a/b.toml"])


def test_an_empty_folder_is_wrong_usage(shelf: Path) -> None:
    (shelf / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no scenario \(\*\.toml\) in empty"):
        discover(["empty"])


def test_two_scenarios_of_one_name_are_refused(shelf: Path) -> None:
    put(shelf / "scenarios" / "z.toml", "apple")
    with pytest.raises(ScenarioError, match=r'z\.toml: name: "apple" is also the name in .*apple\.toml; next: rename'):
        discover()


def test_the_problems_of_all_files_come_at_once(shelf: Path) -> None:
    (shelf / "scenarios" / "a.toml").write_text("x = 1\n" + GOOD)
    (shelf / "scenarios" / "b.toml").write_text("y = 1\n" + GOOD)
    with pytest.raises(ScenarioError) as caught:
        discover()
    assert {Path(problem.file).name for problem in caught.value.problems} == {"a.toml", "b.toml"}


def test_a_broken_neighbour_does_not_stop_a_scenario_asked_for_by_name(shelf: Path) -> None:
    (shelf / "scenarios" / "a.toml").write_text("x = 1\n")
    assert names("pear") == ["pear"]


def test_a_broken_neighbour_is_shown_when_the_name_is_not_found(shelf: Path) -> None:
    (shelf / "scenarios" / "a.toml").write_text('name = "cherry"\nx = 1\n')
    with pytest.raises(ScenarioError, match=r"a\.toml:2: x: unknown key"):
        discover(["cherry"])


@pytest.mark.parametrize(
    ("wanted", "profile", "run"),
    [
        ((), Profile.CI, ["apple"]),
        (("scenarios",), Profile.CI, ["apple"]),
        ((), Profile.DEEP, ["apple", "long"]),
        (("long",), Profile.QUICK, ["long"]),
        (("l*",), Profile.QUICK, ["long"]),
        (("scenarios/long.toml",), Profile.QUICK, ["long"]),
    ],
)
def test_a_longer_scenario_is_run_by_its_profile_or_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: tuple[str, ...], profile: Profile, run: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "scenarios" / "apple.toml", "apple")
    (tmp_path / "scenarios" / "long.toml").write_text(f'name = "long"\nprofile = "deep"\n{GOOD}')
    now, later = now_and_later(discover(wanted), wanted, profile)
    assert [scenario.name for scenario in now] == run
    assert {scenario.name for scenario in later} == {s.name for s in discover(wanted)} - set(run)
