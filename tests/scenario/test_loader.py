"""A good file becomes a typed scenario; a bad one becomes a list of all that is wrong, each with its line."""

import pickle
from pathlib import Path

import pytest

from chaos.child.target import CommandTarget, PythonTarget
from chaos.observations import Damage
from chaos.scenario import Budget, Expectation, Explore, Scenario, ScenarioError, load
from chaos.scenario.positions import Place, locate

MINIMAL = """\
name = "one"
[target]
workload = "targets:save"
recover = "targets:load"
"""


def written(folder: Path, text: str, name: str = "x.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    with pytest.raises(ScenarioError) as caught:
        load(path)
    return [str(problem).removeprefix(str(path)) for problem in caught.value.problems]


def test_a_minimal_file_gets_the_defaults(tmp_path: Path) -> None:
    scenario = load(written(tmp_path, MINIMAL))
    assert isinstance(scenario, Scenario)
    assert isinstance(scenario.drive, Explore)
    assert scenario.drive.models == ("kill",)
    assert scenario.drive.oracles is None
    assert scenario.drive.roles.workload == PythonTarget(ref="targets:save", search=(str(tmp_path),))
    assert scenario.budget is None
    assert scenario.expect == ()


def test_models_of_ones_own_images_and_a_failing_sync_arrive(tmp_path: Path) -> None:
    top = 'models = ["real:xfs", "xfs fsync_keeps_data=false"]\nfailed_sync = 2\n'
    scenario = load(written(tmp_path, top + MINIMAL))
    assert isinstance(scenario.drive, Explore)
    assert scenario.drive.models == ("real:xfs", "xfs fsync_keeps_data=false")
    assert scenario.drive.failed_sync == 2


def test_every_key_arrives(tmp_path: Path) -> None:
    scenario = load(
        written(
            tmp_path,
            """\
name = "all"
description = "d"
kind = "explore"
models = ["ext4", "posix"]
isolation = "command"
oracles = ["recovers"]
exclude = ["*-shm"]
deadline = "500ms"
workload_deadline = 90
memory = "64MiB"
budget = 1000
engine = "portable"
depth = 2
[target]
setup = "targets:make"
workload = [["git", "commit"], ["sync"]]
recover = [["git", "fsck"]]
check = "a.b:C.check"
resume = "targets:again"
[target.env]
B = "2"
A = "1"
[[expect]]
oracle = "recovers"
model = "ext4"
damage = "cannot start"
source = "store.py:42"
[[expect]]
oracle = "atomic"
""",
        )
    )
    drive = scenario.drive
    assert isinstance(drive, Explore)
    assert (drive.models, drive.isolation, drive.oracles) == (("ext4", "posix"), "command", ("recovers",))
    assert (drive.exclude, drive.deadline_s, drive.workload_deadline_s) == (("*-shm",), 0.5, 90.0)
    assert (drive.memory_bytes, drive.engine, drive.depth) == (64 * 2**20, "portable", 2)
    assert scenario.budget == Budget(states=1000)
    env = (("A", "1"), ("B", "2"))
    assert drive.roles.workload == CommandTarget(commands=(("git", "commit"), ("sync",)), env=env)
    assert drive.roles.recover == CommandTarget(commands=(("git", "fsck"),), env=env)
    assert drive.roles.check == PythonTarget(ref="a.b:C.check", search=(str(tmp_path),))
    assert scenario.expect == (
        Expectation(oracle="recovers", model="ext4", damage=Damage.CANNOT_START, source="store.py:42"),
        Expectation(oracle="atomic"),
    )


def test_lines_are_looked_for_only_when_something_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    located: list[str] = []

    def noted(text: str) -> dict[Place, int]:
        located.append(text)
        return locate(text)

    monkeypatch.setattr("chaos.scenario.loader.locate", noted)
    load(written(tmp_path, MINIMAL))
    assert located == []
    assert problems_of(tmp_path, f"x = 1\ny = 2\n{MINIMAL}")[1].startswith(":2: y: unknown key")
    assert located == [f"x = 1\ny = 2\n{MINIMAL}"]


def test_loading_imports_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "imported"
    written(tmp_path, f"open({str(marker)!r}, 'w')", "targets.py")
    load(written(tmp_path, MINIMAL))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ('name = "a/../b"', ":1: name: expected a name of letters, digits, '.', '_' and '-', got \"a/../b\""),
        ("name = 7", ":1: name: expected a name of letters, digits, '.', '_' and '-', got 7"),
        ('name = "a\\n"', ":1: name: expected a name"),
        ('nmae = "one"', ':1: nmae: unknown key; next: did you mean "name"?'),
        ("zzz = 1", ":1: zzz: unknown key; next: known keys here: name, description"),
        ('workload = "a:b"', ":1: workload: unknown key; next: move it below [target]"),
        ('model = "posix"', ':1: model: unknown key; next: move it below [expect], or write "models" here'),
        ('kind = "fleat"', ':1: kind: expected one of "explore", "inject", "race", "fleet", "agent", got "fleat"'),
        ('models = "kill"', ':1: models: expected a list of persistence models, got "kill"; next: write it as'),
        ("models = []", ":1: models: expected a list of persistence models, got []"),
        ('models = ["kill",\n"kil"]', ':2: models[1]: expected one of "kill", "ext4"'),
        ('models = ["kill", "kill"]', ':1: models[1]: expected each name once, got "kill"'),
        (
            'models = ["kill",\n"ext4 fsync_keeps_data=maybe"]',
            ':2: models[1]: expected a persistence model, got "ext4 fsync_keeps_data=maybe"; '
            "next: rule fsync_keeps_data is 'maybe'; use one of: true, false",
        ),
        (
            '[[expect]]\nmodel = "ext4 fsync_keep=true"',
            ':2: expect[0].model: expected a persistence model, got "ext4 fsync_keep=true"; '
            "next: there is no rule 'fsync_keep'; the rules are: ",
        ),
        ('[[expect]]\nsource = "targets.py:0"', ":2: expect[0].source: expected a file's name, with its line from 1 "),
        ('oracles = ["atomc"]', ':1: oracles[0]: expected one of "recovers"'),
        ("exclude = [1]", ":1: exclude[0]: expected a glob pattern, got 1"),
        ('isolation = "thread"', ':1: isolation: expected one of "fork"'),
        ("deadline = 0", ":1: deadline: expected a duration above 0"),
        ("deadline = true", ":1: deadline: expected a duration above 0"),
        ("deadline = nan", ":1: deadline: expected a duration above 0"),
        ('deadline = "ten"', ":1: deadline: expected a duration above 0"),
        ('memory = "12"', ":1: memory: expected a size above 0"),
        ("memory = 12", ":1: memory: expected a size above 0"),
        ("budget = 0", ":1: budget: expected a number of states of at least 1"),
        ("budget = 1.5", ":1: budget: expected a number of states of at least 1"),
        ('engine = "ebpf"', ':1: engine: expected one of "auto"'),
        ("depth = 3", ":1: depth: expected a depth from 1 to 2, got 3"),
        ("description = 1979-05-27", ':1: description: expected a text, got "1979-05-27"'),
        ("target = 3", ":1: target: expected a table, got 3; next: write [target]"),
        ("expect = 3", ":1: expect: expected an array of tables, got 3; next: write [[expect]]"),
        ("expect = [3]", ":1: expect[0]: expected a table, got 3"),
        ("[[expect]]", ':1: expect[0]: "oracle" is missing; next: add oracle = "recovers"'),
        ("[target]\nworkload = 42", ':2: target.workload: expected "module:object" or a list of commands, got 42'),
        (
            '[target]\nworkload = "a.b"',
            ':2: target.workload: expected "module:object" or a list of commands, got "a.b"',
        ),
        ('[target]\nsetup = ["ls"]', "; next: put the command in one more pair of brackets: [[...]]"),
        ("[target]\nsetup = [[]]", ":2: target.setup[0]: expected a command as a list of arguments"),
        ("[target]\nsetup = []", ":2: target.setup: expected"),
        ('[target]\nsetup = [["a", 1]]', ":2: target.setup[0][1]: expected a string without NUL, got 1"),
        ("[target]\nenv = 1", ":2: target.env: expected a table of strings, got 1"),
        ("[target.env]\nA = 1", ":2: target.env.A: expected a string, got 1; next: put it in quotes"),
        ('[target.env]\n"A=" = "x"', ":2: target.env.A=: expected a name of letters"),
        ("[target]\nsteup = 1", ':2: target.steup: unknown key; next: did you mean "setup"?'),
        ('[target]\nname = "x"', "; next: move it to the top of the file, above the first [table]"),
        ("[target]", ':1: target: "workload" is missing; next: add workload = "targets:save"'),
    ],
)
def test_each_mistake_is_named_with_line_key_value_and_next_step(tmp_path: Path, change: str, problem: str) -> None:
    found = problems_of(tmp_path, change)
    assert any(line.startswith(problem) or line.endswith(problem) for line in found), found
    assert all("; next: " in line for line in found)


def test_all_problems_of_a_file_come_at_once_in_order_of_lines(tmp_path: Path) -> None:
    found = problems_of(tmp_path, 'nam = "x"\nmodels = []\n[target]\nworkload = 42\n[[expect]]\n')
    assert [int(line.split(":")[1]) for line in found] == sorted(int(line.split(":")[1]) for line in found)
    keys = [line.split(": ")[1] for line in found]
    assert keys == ["nam", '"name" is missing; next', "models", "target", "target.workload", "expect[0]"]


def test_what_comes_of_a_wrong_value_is_not_told_beside_it(tmp_path: Path) -> None:
    text = 'name = "x"\nkind = "fleet"\n[target]\nworker = "targets:save"\n[[fault]]\nkind = "kill"\nevery = "0ms"\n'
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(":7: fault[0].every: expected a duration above 0")


def test_an_environment_without_a_command_is_refused(tmp_path: Path) -> None:
    found = problems_of(tmp_path, MINIMAL + '[target.env]\nA = "1"\n')
    assert found == [
        ":5: target.env: there is no command to give it to; next: set os.environ in the target, or remove it"
    ]


def test_an_isolation_that_does_not_suit_the_target_is_refused(tmp_path: Path) -> None:
    found = problems_of(
        tmp_path, 'isolation = "batch"\n' + MINIMAL.replace('recover = "targets:load"', 'recover = [["true"]]')
    )
    assert found[0].startswith(':1: isolation: "batch" needs a recover of the form "module:object"')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a = 1\nb = = 2\n", ":2: not valid TOML: "),
        ("a = 1\na = 2\n", ":2: not valid TOML: Cannot overwrite a value"),
        ('a = """\n\n', ":3: not valid TOML: "),
        ("a = " + "[" * 5000, ": nested too deeply"),
    ],
)
def test_broken_toml_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (found,) = problems_of(tmp_path, text)
    assert found.startswith(problem)


def test_a_file_that_is_not_text_is_named_with_the_line_of_the_first_bad_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b'name = "one"\n# \xff\n')
    with pytest.raises(ScenarioError, match=r"x\.toml:2: not UTF-8 text; next: save the file as UTF-8"):
        load(path)


@pytest.mark.parametrize("make", ["folder", "dangling", "absent"])
def test_an_unreadable_file_is_named_with_the_reason(tmp_path: Path, make: str) -> None:
    path = tmp_path / "x.toml"
    if make == "folder":
        path.mkdir()
    elif make == "dangling":
        path.symlink_to("nowhere")
    with pytest.raises(ScenarioError, match=r"x\.toml: can't be read: .+; next: check the path"):
        load(path)


def test_windows_line_ends_and_a_byte_order_mark_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert load(path).name == "one"


def test_the_error_survives_pickling(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(written(tmp_path, "a = 1"))
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.problems == caught.value.problems
    assert again.exit_code == 2
