"""A finding that takes two crashes reads from the first to the second."""

from chaos.report.blame import blamed
from chaos.report.second_crash import FirstCrash, second_id, told_with_first
from chaos.report.timeline import timeline
from tests.oracles.making import returned
from tests.report.making import finding, saver_trace

TRACE = saver_trace()
BLAMED = blamed(TRACE, 1, ())
FIRST = FirstCrash(
    recipe="1/0:all",
    model="kill",
    point=1,
    acked=2,
    blamed=BLAMED,
    timeline=timeline(TRACE, 1, BLAMED, acked=0, power=False),
    outcome=returned(7),
)


def test_its_id_is_not_that_of_one_crash_and_stays_the_same() -> None:
    told = told_with_first(finding(), FIRST)
    assert told.id == second_id(finding().id) != finding().id
    assert len(told.id) == 12


def test_title_state_and_explanation_name_both_crashes() -> None:
    told = told_with_first(finding(), FIRST)
    assert told.title.endswith("(second crash, the first one at targets.py:11 save)")
    assert told.state == "1/0:all then 4/100"
    assert told.explanation[0].startswith("first crash: targets.py:11 in save:")
    assert told.explanation[1] == "recovery was right then, it returned 7, and the program went on"
    assert told.explanation[2].startswith("second crash: targets.py:12 in save:")


def test_the_timeline_shows_one_run_after_the_other() -> None:
    told = told_with_first(finding(), FIRST)
    assert told.timeline[0] == "first run:"
    second = told.timeline.index("second run, started on what that left:")
    assert [row for row in told.timeline[:second] if "<- killed here" in row]
    assert told.timeline[second + 1 :] == finding().timeline


def test_the_first_runs_acknowledgements_are_not_listed_again() -> None:
    rows = ("      acknowledged 0", "      acknowledged 1", "      acknowledged 2", "    0 openat    f")
    told = told_with_first(finding(timeline=rows), FIRST)
    head = told.timeline.index("second run, started on what that left:")
    assert told.timeline[head + 1 :] == rows[2:]


def test_a_second_run_without_a_crash_is_told_as_such() -> None:
    told = told_with_first(finding(state="", extra={"message": "the check objects: " + "x" * 200}), FIRST)
    assert told.state == "1/0:all then no second crash"
    assert told.title.startswith("run on after a crash at targets.py:11 save: the check objects")
    assert len(told.title) < 120
    assert told.timeline[-1] == "      <- ran on to its end"
    assert "no second crash: the program ran on to its end" in told.explanation


def test_a_first_crash_before_the_first_operation_has_words() -> None:
    first = FirstCrash(recipe="0/0:all", model="kill", point=0, acked=0, blamed=(), timeline=(), outcome=returned(1))
    told = told_with_first(finding(), first)
    assert told.explanation[0] == "first crash: before the first operation"
    assert told.title.endswith("(second crash, the first one before the first operation)")
