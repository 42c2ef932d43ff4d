"""Grouping, witnesses, blame and words of findings."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from chaos.observations import Damage, Ending, Finding, Observation, Outcome
from chaos.report.blame import Fate
from chaos.report.findings import Findings
from chaos.trace.model import Frame, Kind, Op, Trace
from tests.oracles.making import raised, returned, seen
from tests.report.making import DUMP, OPEN, collector, saver_trace, violation

TRACE = saver_trace()
JSON_ERROR = raised("json.decoder.JSONDecodeError", "Expecting value", frames=(Frame("/a/targets.py", 20, "load"),))


def failing(findings: Findings, *, point: int, state: str = "s", model: str = "kill", **more: object) -> None:
    outcome = more.pop("outcome", JSON_ERROR)
    assert isinstance(outcome, Outcome)
    observation = seen(outcome, acked=point // 2, point=point, state=state, model=model, **more)
    findings.add(observation, [violation(point=point, state=state)])


def only(findings: Findings) -> Finding:
    (finding,) = findings.finish()
    return finding


def with_fates(table: dict[str, tuple[Fate, ...]]) -> Findings:
    return collector(TRACE, describe=lambda recipe, model: table[recipe])


# Grouping


def test_states_blamed_on_one_line_are_one_finding_with_the_earliest_witness() -> None:
    findings = collector(TRACE)
    for point in (5, 3, 1):
        failing(findings, point=point, state=f"at {point}")
    finding = only(findings)
    assert (finding.states, finding.point, finding.state) == (3, 1, "at 1")
    assert finding.source == OPEN


def test_another_line_is_another_finding() -> None:
    findings = collector(TRACE)
    failing(findings, point=1)
    failing(findings, point=2)
    assert [finding.source for finding in findings.finish()] == [OPEN, DUMP]


def test_another_error_type_is_another_finding() -> None:
    findings = collector(TRACE)
    failing(findings, point=1)
    failing(findings, point=1, outcome=raised("KeyError"))
    assert len({finding.id for finding in findings.finish()}) == 2


def test_a_state_that_lost_more_belongs_to_the_smaller_witness_whichever_comes_first() -> None:
    small, large = (Fate(seq=1, loss="lost"),), (Fate(seq=0, loss="lost"), Fate(seq=1, loss="lost"))
    for order in (("small", "large"), ("large", "small")):
        findings = with_fates({"small": small, "large": large})
        for state in order:
            failing(findings, point=4, state=state, model="posix")
        finding = only(findings)
        assert (finding.states, finding.state, finding.source) == (2, "small", DUMP)


def test_two_smaller_witnesses_stay_two_findings() -> None:
    findings = with_fates({"a": (Fate(seq=0, loss="lost"),), "b": (Fate(seq=1, loss="torn"),)})
    failing(findings, point=4, state="a", model="posix")
    failing(findings, point=4, state="b", model="posix")
    assert len(findings.finish()) == 2


def test_the_weakest_model_is_named_and_the_witness_is_one_of_its_states() -> None:
    findings = collector(TRACE)
    failing(findings, point=1, state="p", model="posix")
    failing(findings, point=3, state="k", model="ext4")
    finding = only(findings)
    assert (finding.model, finding.state) == ("ext4", "k")
    assert finding.extra["states_by_model"] == "ext4 1, posix 1"


def test_programs_without_source_lines_are_grouped_by_call_and_shape_of_path() -> None:
    ops = [
        Op(seq=i, kind=op.kind, call=op.call, path=f"objects/tmp_{name}", data=op.data)
        for i, (op, name) in enumerate(zip(TRACE.ops, ("a81jKq", "x02mmZ", "q11ppQ"), strict=False))
    ]
    trace = Trace(engine="syscalls", command="git", initial=(), ops=tuple(ops))
    findings = collector(trace)
    findings.add(seen(JSON_ERROR, acked=0, point=1), [violation(point=1)])
    findings.add(seen(JSON_ERROR, acked=0, point=3), [violation(point=3)])
    finding = only(findings)
    assert finding.source is None
    assert finding.title.startswith("openat() that cuts objects/tmp_a81jKq to 0 bytes: recovery raises")


def test_ids_are_stable_over_runs_and_checkouts_and_differ_by_scenario() -> None:
    def one(folder: str, scenario: str) -> str:
        ops = tuple(
            Op(seq=op.seq, kind=op.kind, call=op.call, path=op.path, source=(Frame(f"{folder}/t.py", 1, "f"),))
            for op in TRACE.ops
        )
        trace = Trace(engine="syscalls", command="", initial=(), ops=ops, acks=TRACE.acks)
        findings = collector(trace)
        findings._scenario = scenario
        failing(findings, point=1)
        return only(findings).id

    assert one("/home/ada", "a") == one("/ci/build", "a")
    assert one("/home/ada", "a") != one("/home/ada", "b")


def test_each_new_cause_is_announced_once() -> None:
    findings = collector(TRACE)
    observation = seen(JSON_ERROR, acked=0, point=1)
    (news,) = findings.add(observation, [violation(point=1)])
    assert (news.title, news.point) == ("targets.py:11 save: recovery raises JSONDecodeError", 1)
    assert findings.add(observation, [violation(point=1)]) == ()


# Damage


def probing(answer: Outcome | None, asked: list[str]) -> Findings:
    def probe(observation: Observation) -> Outcome | None:
        asked.append(observation.state)
        return answer

    return collector(TRACE, probe=probe)


def test_a_failed_recovery_after_which_the_workload_fails_too_cannot_start() -> None:
    asked: list[str] = []
    findings = probing(raised("KeyError"), asked)
    failing(findings, point=3, state="later")
    failing(findings, point=1, state="witness")
    finding = only(findings)
    assert finding.damage is Damage.CANNOT_START
    assert asked == ["witness"]
    assert "can't go on either: it raised KeyError" in finding.explanation[-1]


def test_a_failed_recovery_after_which_the_workload_goes_on_is_loud() -> None:
    findings = probing(returned(3), [])
    failing(findings, point=1)
    finding = only(findings)
    assert finding.damage is Damage.LOUD
    assert finding.explanation[-1] == "run on, the workload goes on, and recovery then returns 3"


def test_a_run_that_an_oracle_asked_for_is_not_asked_for_again() -> None:
    asked: list[str] = []
    findings = probing(None, asked)
    failing(findings, point=1, resumed=raised("KeyError"))
    assert only(findings).damage is Damage.CANNOT_START
    assert not asked


def test_what_no_probe_can_tell_stays_loud() -> None:
    findings = probing(None, [])
    failing(findings, point=1)
    assert only(findings).damage is Damage.LOUD


def test_silent_damage_is_not_probed() -> None:
    asked: list[str] = []
    findings = probing(returned(3), asked)
    findings.add(seen(77, point=1, acked=0), [violation("atomic", Damage.SILENT, point=1)])
    assert only(findings).damage is Damage.SILENT
    assert not asked


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a",), "the next run of the workload removes it"),
        (("a", "a.tmp"), "the next run of the workload does not remove it"),
    ],
)
def test_whether_a_leftover_goes_with_the_next_run_is_told(names: tuple[str, ...], words: str) -> None:
    findings = probing(returned(3, names=names), [])
    observation = seen(returned(-1, names=("a.tmp",)), point=1, acked=0)
    findings.add(observation, [violation("clean", Damage.UNCLEAN, point=1, message="left over: a.tmp")])
    finding = only(findings)
    assert (finding.damage, finding.explanation[-1]) == (Damage.UNCLEAN, words)


def test_findings_come_with_most_damage_first() -> None:
    findings = collector(TRACE)
    failing(findings, point=1)
    findings.add(seen(0, point=3, acked=1), [violation("durable", Damage.LOST, point=3)])
    assert [finding.damage for finding in findings.finish()] == [Damage.LOST, Damage.LOUD]


# Words


def test_the_explanation_tells_line_call_and_cut_then_what_recovery_did() -> None:
    findings = with_fates({"s": (Fate(seq=3, loss="torn", words="only its first 4096 bytes"),)})
    failing(findings, point=4)
    finding = only(findings)
    assert finding.explanation == (
        "targets.py:12 in save: json.dump() (__init__.py:180 dump): "
        "write() of 9000 bytes to state.json was cut: only its first 4096 bytes",
        "2 acknowledgements had been made, the last of 1",
        "then recovery raised json.decoder.JSONDecodeError: Expecting value (targets.py:20 in load)",
    )
    assert finding.source == DUMP


def calls(*callers: tuple[int, ...]) -> Trace:
    """A write by one line for each of these, each a chain of calling lines, innermost first."""
    helper = Frame("/home/ada/app/targets.py", 3, "put")
    chains = [(helper, *(Frame("/home/ada/app/targets.py", line, "caller") for line in chain)) for chain in callers]
    write = Op(seq=0, kind=Kind.WRITE, call="write", node=1, path="f", data=b"x")
    ops = tuple(replace(write, seq=seq, source=chain) for seq, chain in enumerate(chains))
    return Trace(engine="syscalls", command="targets:workload", initial=(), ops=ops)


@pytest.mark.parametrize(
    ("callers", "words"),
    [
        ([(10,), (20,)], "targets.py:3 in put, called from targets.py:10 in caller: "),
        ([(10, 30), (10, 40)], "targets.py:3 in put, called from targets.py:30 in caller: "),  # what tells them apart
        ([(10,), (10,)], "targets.py:3 in put: "),
    ],
)
def test_the_caller_of_a_line_that_several_call_is_told(callers: list[tuple[int, ...]], words: str) -> None:
    findings = collector(calls(*callers))
    failing(findings, point=1)
    assert only(findings).explanation[0].startswith(words)


def test_what_was_not_on_the_disk_is_called_so() -> None:
    findings = with_fates({"s": (Fate(seq=3, loss="lost"),)})
    failing(findings, point=4, model="posix")
    assert only(findings).explanation[0].endswith("write() of 9000 bytes to state.json was not on the disk yet")


def test_without_losses_the_last_operation_is_to_blame() -> None:
    findings = collector(TRACE)
    failing(findings, point=3)
    assert only(findings).explanation[0] == (
        "targets.py:11 in save: openat() that cuts state.json to 0 bytes was done, then came the kill"
    )


def test_a_second_start_is_told() -> None:
    findings = collector(TRACE)
    failing(findings, point=1, again=raised("KeyError"))
    assert "a second start fails as well: it raised KeyError: bad" in only(findings).explanation


def test_failures_that_repeat_are_not_told_twice() -> None:
    findings = collector(TRACE)
    failing(findings, point=1, again=JSON_ERROR, resumed=JSON_ERROR)
    assert only(findings).explanation[-2:] == (
        "a second start fails in the same way",
        "run on, the workload fails in the same way",
    )


def test_many_lost_operations_are_summed_up() -> None:
    findings = with_fates({"s": tuple(Fate(seq=seq, loss="lost") for seq in range(6))})
    failing(findings, point=6, model="posix")
    assert "and 3 more operations" in only(findings).explanation


def test_a_crash_before_the_first_operation_has_no_line_to_blame() -> None:
    findings = collector(TRACE)
    failing(findings, point=0)
    finding = only(findings)
    assert finding.source is None
    assert finding.title == "before the first operation: recovery raises JSONDecodeError"


def test_hangs_are_called_so() -> None:
    findings = collector(TRACE)
    failing(findings, point=1, outcome=raised("deadline", "", Ending.HUNG))
    assert only(findings).title == "targets.py:11 save: recovery hangs"


# Undamaged


def test_what_a_failed_command_printed_last_is_told() -> None:
    findings = collector(TRACE)
    printed = "listing\n\ntar: this does not look like an archive\n  tar: exiting\x1b[2J\n"
    failing(findings, point=2, outcome=raised("exit", "tar ended with exit code 2", detail=2, output=printed))
    told = [line for line in only(findings).explanation if line.startswith("it printed")]
    assert told == ["it printed: tar: this does not look like an archive", r"it printed: tar: exiting\x1b[2J"]


def test_an_undamaged_failure_is_a_finding_of_its_own() -> None:
    findings = collector(TRACE)
    findings.add_undamaged([violation(state="", point=4, message="recovery raised KeyError (at acknowledgement 2)")])
    finding = only(findings)
    assert finding.title == "fails on an undamaged disk: recovery raised KeyError (at acknowledgement 2)"
    assert "neither owners nor" in finding.explanation[-1]
    assert (finding.state, finding.point, finding.extra["acked"]) == ("", 4, "2")


def shown(state: str, point: int, fates: Sequence[Fate], model: str) -> tuple[str, ...]:
    findings = with_fates({state: tuple(fates)})
    failing(findings, point=point, state=state, model=model)
    return only(findings).timeline


def test_the_timeline_shows_what_is_done_torn_and_acknowledged_and_where_the_crash_is() -> None:
    assert shown("s", 4, [Fate(seq=3, loss="torn")], "kill") == (
        "    0 openat    state.json                  0 B targets.py:11 save   done",
        "    1 write     state.json               9000 B targets.py:12 save   done",
        "      acknowledged 0",
        "    2 openat    state.json                  0 B targets.py:11 save   done",
        "    3 write     state.json               9000 B targets.py:12 save   torn",
        "      acknowledged 1",
        "      <- killed here",
        "    4 openat    state.json                  0 B targets.py:11 save   not reached",
    )
