"""How many failing states a change is said to remove."""

import pytest

from chaos.child.target import CommandTarget, Roles
from chaos.disk import MODELS, StateSpace
from chaos.explore.settings import Settings
from chaos.observations import Damage
from chaos.report.blame import Blamed
from chaos.scenario.runner.advising import Advisor
from tests.disk.traces import Script


@pytest.mark.parametrize(
    ("states", "words"),
    [(2, "removes all 2 failing states"), (700, "removes all of the 2 failing states tried, of 700")],
)
def test_states_that_were_not_kept_are_not_said_to_be_removed(states: int, words: str) -> None:
    script = Script()
    script.create("s")
    script.start()
    script.write("s", b"n" * 100)
    script.ack()
    trace, model = script.trace(), MODELS["ext4"]
    lost = next(state for state in StateSpace(trace, model).states() if state.lost and state.acked)
    nothing = CommandTarget(commands=(("true",),))
    advisor = Advisor(trace, Roles(workload=nothing, recover=nothing), Settings(models=(model,)), ("durable",))
    blamed = [Blamed(op=trace.ops[0], loss="lost")]
    (line,) = advisor("durable", Damage.LOST, blamed, [(lost.recipe, "ext4")] * 2, states)
    assert line.startswith("an fsync of s when it is written, ")
    assert line.endswith(words)
