"""Scenarios of kind `agent`: from the file to findings and back from a replay file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic, sleep

import pytest

from chaos.child.target import CallableTarget, CommandTarget, PythonTarget
from chaos.errors import UsageError
from chaos.faults.feedback import Feedback, FeedbackKind
from chaos.faults.llm_script import Script, Then, Trouble, Turn, script_of
from chaos.faults.network_rules import (
    Corrupt,
    Cut,
    Delay,
    Direction,
    Rule,
    SlowClose,
    Throttle,
    rule_data,
    rule_from,
)
from chaos.faults.network_rules import Ending as Ends
from chaos.observations import Damage, Ending
from chaos.report import ScenarioResult, Status, status, why
from chaos.report.live_replay import LiveReplay
from chaos.scenario import Budget, RunOptions, Scenario, ScenarioError
from chaos.scenario.kinds import Agent
from chaos.scenario.loader import load, parse
from chaos.scenario.runner import Run, find_finding, live_drive, replay_live
from chaos.scenario.runner.agent_runs import AgentRuns, Blow

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "scenarios" / "agent_loop"
HONEST = script_of(Feedback(kind=FeedbackKind.HONEST, texts=("too long", "good")), then="last")
NAIVE = PythonTarget(ref="targets:naive", search=(str(HERE),))
SOUND = PythonTarget(ref="targets:sound", search=(str(HERE),))

FILE = """\
name = "a"
kind = "agent"
rounds = 7
deadline = "3s"
oracles = ["terminates"]
[target]
agent = "targets:naive"
[llm]
then = "again"
troubles = ["timeout", "nan usage"]
[[llm.turn]]
say = "one"
times = 2
[[llm.turn]]
feedback = "cyclic"
texts = ["two", "three"]
times = 4
[[llm.turn]]
trouble = "stall"
after_chunks = 0
[[llm.turn]]
trouble = "status"
status = 503
retry_after = "2s"
"""


def run(drive: Agent, folder: Path, **options: object) -> ScenarioResult:
    with Run(RunOptions(report_dir=folder, **options), command="test") as running:  # type: ignore[arg-type]
        return running.scenario(Scenario(name="agent", drive=drive))


def test_a_file_says_what_the_llm_does() -> None:
    drive = parse(FILE, file="a.toml", folder=HERE).drive
    assert isinstance(drive, Agent)
    assert (drive.agent, drive.rounds, drive.deadline_s, drive.oracles) == (NAIVE, 7, 3.0, ("terminates",))
    assert drive.troubles == (Trouble.TIMEOUT, Trouble.NAN_USAGE)
    assert drive.script == Script(
        turns=(
            Turn(say="one", times=2),
            Turn(feedback=Feedback(kind=FeedbackKind.CYCLIC, texts=("two", "three")), times=4),
            Turn(trouble=Trouble.STALL, after_chunks=0),
            Turn(trouble=Trouble.STATUS, status=503, retry_after_s=2.0),
        ),
        then=Then.AGAIN,
    )


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('agent = "targets:naive"', "", ':6: target: "agent" is missing'),
        ('trouble = "stall"', 'trouble = "stal"', ':19: llm.turn[2].trouble: expected one of "timeout"'),
        ('texts = ["two", "three"]', 'texts = ["two"]', ":14: llm.turn[1]: cyclic feedback takes 2 texts or more"),
        ('trouble = "stall"', 'trouble = "refused"', ":18: llm.turn[2]: after_chunks means something with"),
        ('say = "one"', "", ""),
        ("status = 503", "status = 200", ":21: llm.turn[3]: status must be an HTTP error"),
        ('then = "again"', 'then = "never"', ':9: llm.then: expected one of "end"'),
        ("rounds = 7", "rounds = 0", ":3: rounds: expected"),
    ],
)
def test_a_wrong_file_is_refused_with_the_line(before: str, after: str, said: str) -> None:
    text = FILE.replace(before, after)
    assert text != FILE
    if not said:
        parse(text, file="a.toml", folder=HERE)
        return
    with pytest.raises(ScenarioError) as caught:
        parse(text, file="a.toml", folder=HERE)
    assert f"a.toml{said}" in str(caught.value)


NETWORK = """
[[network]]
latency = "5ms"
jitter = 0.001
connections = [1, 2]
[[network]]
cut = "half open"
after_bytes = 10
direction = "downstream"
probability = 0.5
[[network]]
corrupt = 0.25
bytes_per_second = 1000
slow_close = 1
"""
RULES = (
    Rule(fault=Delay(latency_s=0.005, jitter_s=0.001), connections=frozenset({1, 2})),
    Rule(fault=Cut(how=Ends.HALF_OPEN, after_bytes=10), direction=Direction.DOWNSTREAM, probability=0.5),
    Rule(fault=Throttle(bytes_per_s=1000)),
    Rule(fault=Corrupt(rate=0.25)),
    Rule(fault=SlowClose(delay_s=1)),
)


def test_a_file_says_what_is_done_to_connections() -> None:
    drive = parse(FILE + NETWORK, file="a.toml", folder=HERE).drive
    assert isinstance(drive, Agent)
    assert drive.network == RULES


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_read_from_a_replay_file_as_it_was_written(rule: Rule) -> None:
    assert rule_from(json.loads(json.dumps(rule_data(rule)))) == rule


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('latency = "5ms"', "", ":26: network[0]: jitter means something with latency alone"),
        ('cut = "half open"', "", ":30: network[1]: after_bytes means something with cut alone"),
        ('cut = "half open"\nafter_bytes = 10', "", ":30: network[1]: nothing is done to any connection"),
        ("corrupt = 0.25", "corrupt = 0", ":36: network[2].corrupt: expected a number above 0 and at most 1"),
        ("connections = [1, 2]", "connections = [0]", ":29: network[0].connections[0]: expected"),
    ],
)
def test_a_network_that_makes_no_sense_is_refused(before: str, after: str, said: str) -> None:
    assert before in NETWORK
    with pytest.raises(ScenarioError) as caught:
        parse(FILE + NETWORK.replace(before, after), file="a.toml", folder=HERE)
    assert f"a.toml{said}" in str(caught.value)


def test_a_bad_network_stands_between_agent_and_llm(tmp_path: Path) -> None:
    reset = Rule(fault=Cut(how=Ends.RESET), direction=Direction.DOWNSTREAM, connections=frozenset({2}))
    drive = Agent(agent=NAIVE, script=HONEST, network=(reset,))
    (finding,) = run(drive, tmp_path).findings
    assert "ConnectionResetError" in finding.title
    path, replay = find_finding(finding.id, tmp_path)
    assert isinstance(replay, LiveReplay)
    assert live_drive(path, replay) == replace(drive, oracles=replay.oracles)
    assert replay_live(replay, live_drive(path, replay))[0]
    assert not replay_live(replay, replace(drive, agent=SOUND))[0]


def test_a_network_that_does_nothing_is_not_measured(tmp_path: Path) -> None:
    reset = Rule(fault=Cut(how=Ends.RESET), connections=frozenset({99}))
    result = run(Agent(agent=SOUND, script=HONEST, network=(reset,)), tmp_path)
    assert status(result) is Status.NOT_MEASURED
    assert "nothing was done to any connection" in why(result)


@pytest.mark.parametrize(
    "name", ["naive_identical", "naive_nan", "sound_identical", "sound_cyclic", "sound_almost", "naive_network"]
)
def test_shipped_scenarios_come_out_as_they_say(name: str, tmp_path: Path) -> None:
    scenario = load(HERE / f"{name}.toml")
    with Run(RunOptions(report_dir=tmp_path), command="test") as running:
        result = running.scenario(scenario)
    assert (status(result), why(result)) == (Status.PASSED, "")


def test_a_naive_loop_is_ended_after_its_rounds_and_shown_with_what_it_was_told(tmp_path: Path) -> None:
    script = script_of(Feedback(kind=FeedbackKind.IDENTICAL, texts=("not yet",)))
    result = run(Agent(agent=NAIVE, script=script, rounds=5), tmp_path)
    (finding,) = result.findings
    assert (finding.oracle, finding.damage) == ("terminates", Damage.STUCK)
    assert finding.title == "the agent goes on asking: 5 requests are allowed"
    assert finding.explanation == ("with the script as it is",)
    assert [line.split("-> ")[1] for line in finding.timeline] == ["'not yet'"] * 5 + ["timeout"]


def test_a_naive_wait_is_ended_at_its_deadline(tmp_path: Path) -> None:
    drive = Agent(agent=NAIVE, script=script_of(Turn(trouble=Trouble.TIMEOUT)), deadline_s=0.5)
    (finding,) = run(drive, tmp_path).findings
    assert finding.oracle == "terminates"
    assert finding.title.startswith("the agent was still running after 0.5 s")


def test_each_trouble_is_made_at_each_request_until_a_run_ends_untouched(tmp_path: Path) -> None:
    drive = Agent(agent=NAIVE, script=HONEST, troubles=(Trouble.STATUS, Trouble.NAN_USAGE))
    result = run(drive, tmp_path)
    # The script; a status ends the run at request 1 and 2, and the third is untouched; NaN is kept at both.
    assert result.statistics.states == 1 + 3 + 3
    assert {(one.oracle, one.state, one.states) for one in result.findings} == {
        ("returns", "status at 1", 2),
        ("finite", "nan usage at 1", 2),
    }
    raised = next(one for one in result.findings if one.oracle == "returns")
    assert "HTTPError" in raised.title
    assert raised.source is not None
    assert Path(raised.source.file).name == "targets.py"
    assert raised.explanation[0] == "with status at 1: status in the place of the LLM's answer to request 1"


def test_a_sound_agent_bears_trouble_at_each_request(tmp_path: Path) -> None:
    troubles = (Trouble.DROP, Trouble.STATUS, Trouble.INVALID_JSON, Trouble.NAN_USAGE, Trouble.REFUSED, Trouble.EMPTY)
    check = PythonTarget(ref="targets:check", search=(str(HERE),))
    result = run(Agent(agent=SOUND, script=HONEST, troubles=troubles, check=check), tmp_path)
    assert (result.findings, status(result)) == ((), Status.PASSED)
    assert {one.oracle for one in result.verdicts if one.held} == {"check", "finite", "returns", "terminates"}


AGENTS = f"""
import os
import sys

sys.path.insert(0, {str(HERE)!r})
from targets import ask


def keeps_nan(disk):
    ask()
    (disk / "metrics.json").write_text('{{"loss": NaN}}')


def objects(disk, value):
    assert (disk / "spent.json").exists()
    raise AssertionError(f"spent {{value}}")


def begins(disk):
    assert os.listdir(disk) == []
    (disk / "begun").touch()


def goes_on(disk):
    ask()
    (disk / "more").touch()
    return sorted(os.listdir(disk))


def asks_nothing(disk):
    print("nothing to ask")


def leaves_a_daemon(disk):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        (disk / "daemon").write_text(str(os.getpid()))
        os.read(os.pipe()[0], 1)  # for ever
    while not (disk / "daemon").exists() or not (disk / "daemon").read_text():
        os.sched_yield()
    while True:
        ask()


def waits_with_a_daemon(disk):
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        tell_pid()
        os.read(os.pipe()[0], 1)  # for ever
    tell_pid()
    ask()


def tell_pid():
    with open(os.environ["PIDS"], "a") as file:
        file.write(f"{{os.getpid()}}\\n")


def dies(disk):
    ask()
    os.kill(os.getpid(), 9)
"""


def target(folder: Path, name: str) -> PythonTarget:
    (folder / "chaos_test_agents.py").write_text(AGENTS)
    return PythonTarget(ref=f"chaos_test_agents:{name}", search=(str(folder),))


def test_a_number_that_is_not_finite_in_a_file_is_found(tmp_path: Path) -> None:
    (finding,) = run(Agent(agent=target(tmp_path, "keeps_nan"), script=HONEST), tmp_path).findings
    assert (finding.oracle, finding.title) == (
        "finite",
        "a file holds a number that is not finite: metrics.json: $.loss = nan",
    )


def test_the_users_check_sees_folder_and_value(tmp_path: Path) -> None:
    drive = Agent(agent=NAIVE, script=HONEST, check=target(tmp_path, "objects"))
    (finding,) = run(drive, tmp_path).findings
    assert finding.oracle == "check"
    assert "spent 11" in finding.title


def test_every_run_begins_with_the_files_of_the_set_up(tmp_path: Path) -> None:
    drive = Agent(agent=target(tmp_path, "goes_on"), setup=target(tmp_path, "begins"), script=HONEST)
    with AgentRuns(drive, 0) as runs:
        assert [runs.run(Blow()).run.outcome.value for _ in range(2)] == ['["begun","more"]'] * 2


def test_an_agent_that_asks_nothing_is_not_measured(tmp_path: Path) -> None:
    result = run(Agent(agent=target(tmp_path, "asks_nothing"), script=HONEST), tmp_path)
    assert status(result) is Status.NOT_MEASURED
    assert "asked nothing" in why(result)


def test_an_agent_that_can_not_be_imported_is_wrong_usage(tmp_path: Path) -> None:
    result = run(Agent(agent=PythonTarget(ref="targets:none", search=(str(HERE),)), script=HONEST), tmp_path)
    assert status(result) is Status.USAGE


def test_a_command_finds_the_llm_by_its_environment(tmp_path: Path) -> None:
    program = f"import sys; sys.path.insert(0, {str(HERE)!r}); import targets; print(targets.ask()['object'])"
    drive = Agent(agent=CommandTarget(commands=(("{python}", "-c", program),)), script=HONEST)
    with AgentRuns(drive, 0) as runs:
        assert runs.run(Blow()).run.outcome.value == '"chat.completion\\n"'


def test_what_a_run_leaves_running_ends_with_it(tmp_path: Path) -> None:
    drive = Agent(agent=target(tmp_path, "leaves_a_daemon"), script=HONEST, rounds=2)
    with AgentRuns(drive, 0) as runs:
        seen = runs.run(Blow())
        assert seen.run.outcome.ending is Ending.KILLED
        daemon = int((Path(runs.disk) / "daemon").read_text())
        with pytest.raises(ProcessLookupError):
            os.kill(daemon, 0)


def test_when_the_harness_is_killed_the_agent_and_what_it_started_end(tmp_path: Path) -> None:
    agent = target(tmp_path, "waits_with_a_daemon")
    program = f"""
from chaos.child.target import PythonTarget
from chaos.faults.llm_script import Trouble, Turn, script_of
from chaos.scenario.kinds import Agent
from chaos.scenario.runner.agent_runs import AgentRuns, Blow

agent = PythonTarget(ref={agent.ref!r}, search={agent.search!r})
with AgentRuns(Agent(agent=agent, script=script_of(Turn(trouble=Trouble.TIMEOUT)), deadline_s=1000), 0) as runs:
    runs.run(Blow())
"""
    (tmp_path / "pids").touch()
    harness = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, "PIDS": str(tmp_path / "pids")})
    polled(lambda: (tmp_path / "pids").read_text().count("\n") == 2)
    harness.kill()
    harness.wait()
    pids = (tmp_path / "pids").read_text().split()
    polled(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


def polled(holds: Callable[[], bool]) -> None:
    end = monotonic() + 30
    while not holds():
        assert monotonic() < end
        sleep(0.005)


def test_an_agent_that_dies_is_told_by_its_signal(tmp_path: Path) -> None:
    (finding,) = run(Agent(agent=target(tmp_path, "dies"), script=HONEST), tmp_path).findings
    assert (finding.oracle, finding.title) == ("returns", "the agent was killed by signal 9")


def test_a_function_that_only_this_process_knows_is_refused(tmp_path: Path) -> None:
    result = run(Agent(agent=CallableTarget(function=lambda disk: None), script=HONEST), tmp_path)
    assert status(result) is Status.USAGE
    assert "agent is a function that only this process knows" in why(result)


def test_the_same_seed_says_the_same_and_another_one_does_not(tmp_path: Path) -> None:
    script = script_of(Feedback(kind=FeedbackKind.ALMOST, texts=("attempt 100000 failed",)))
    drive = Agent(agent=SOUND, script=script)

    def said(seed: int) -> tuple[str, ...]:
        with AgentRuns(drive, seed) as runs:
            return runs.run(Blow()).lines()

    assert said(1) == said(1) != said(2)


def test_a_budget_cuts_the_runs_and_says_so(tmp_path: Path) -> None:
    drive = Agent(agent=SOUND, script=HONEST, troubles=(Trouble.STATUS,))
    result = run(drive, tmp_path, budget=Budget(states=2))
    assert result.statistics.states == 2
    assert result.statistics.left_out == ("from status at 2 on: the budget was spent",)


def test_a_finding_shows_again_from_its_replay_file_and_is_gone_once_mended(tmp_path: Path) -> None:
    script = script_of(Feedback(kind=FeedbackKind.IDENTICAL, texts=("not yet",)))
    drive = Agent(agent=NAIVE, script=script, rounds=6, deadline_s=20, troubles=(Trouble.NAN_USAGE,))
    findings = run(drive, tmp_path).findings
    for finding in findings:
        path, replay = find_finding(finding.id, tmp_path)
        assert isinstance(replay, LiveReplay)
        assert live_drive(path, replay) == replace(drive, oracles=replay.oracles)
        shows, lines = replay_live(replay, live_drive(path, replay))
        assert shows
        assert lines[:-1] == finding.timeline
        assert not replay_live(replay, replace(drive, agent=SOUND))[0]
    assert {one.oracle for one in findings} == {"terminates", "finite"}


@pytest.mark.parametrize("text", ["", "timeout", "timeout at x", "nothing at 1"])
def test_a_damaged_recipe_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="damaged"):
        Blow.parse(text)


@pytest.mark.parametrize("blow", [Blow(), Blow(3, Trouble.TIMEOUT), Blow(1, Trouble.NAN_USAGE)])
def test_a_recipe_is_read_as_it_was_written(blow: Blow) -> None:
    assert Blow.parse(str(blow)) == blow
