"""The oracles over runs of an agent: each catches its canary and passes the sound twin."""

from dataclasses import replace

import pytest

from chaos.errors import UsageError
from chaos.observations import Damage, Ending, Outcome, Verdict
from chaos.oracles.agents import AGENT_CANARIES, AGENT_ORACLES, AgentRun, choose_agent, prove_agent
from chaos.oracles.answer import holds
from chaos.oracles.live import Terms
from chaos.scenario.kinds import AGENT_ORACLES as NAMES

RETURNED = AgentRun(outcome=Outcome(ending=Ending.RETURNED, value="1"))


def test_every_oracle_has_a_canary_and_a_name_in_scenarios() -> None:
    assert set(AGENT_CANARIES) == set(AGENT_ORACLES) == set(NAMES)


@pytest.mark.parametrize("name", AGENT_ORACLES)
def test_it_catches_its_canary_and_passes_the_sound_twin(name: str) -> None:
    assert prove_agent(name) == ""


@pytest.mark.parametrize("name", AGENT_ORACLES)
def test_an_oracle_that_sees_nothing_is_found_out(name: str) -> None:
    blind = {**AGENT_ORACLES, name: replace(AGENT_ORACLES[name], judge=lambda run, terms: holds())}
    assert "does not catch its canary" in prove_agent(name, blind)


def test_a_number_in_a_file_is_judged_as_well() -> None:
    answer = AGENT_ORACLES["finite"].judge(replace(RETURNED, bad_files=("a.json: $",)), Terms())
    assert (answer.verdict, answer.damage) == (Verdict.VIOLATED, Damage.SILENT)


def test_what_was_ended_by_force_did_not_fail_to_return() -> None:
    cut = AgentRun(outcome=Outcome(ending=Ending.HUNG), cut="too long")
    assert AGENT_ORACLES["returns"].judge(cut, Terms()).verdict is Verdict.UNKNOWN


def test_a_check_that_was_not_made_holds_nothing() -> None:
    assert AGENT_ORACLES["check"].judge(RETURNED, Terms()).verdict is Verdict.UNKNOWN


def test_oracles_are_chosen_by_name_and_a_given_check_is_never_passed_over() -> None:
    assert choose_agent(None, checked=False) == ("finite", "terminates", "returns")
    assert choose_agent(("terminates",), checked=True) == ("check", "terminates")
    with pytest.raises(UsageError, match="unknown oracle"):
        choose_agent(("atomic",), checked=False)
    with pytest.raises(UsageError, match="no check"):
        choose_agent(("check",), checked=False)
