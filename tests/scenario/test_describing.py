"""What became of operations, on its way from the disk's words to a finding's."""

from chaos.disk import MODELS, StateSpace
from chaos.explore.settings import Settings
from chaos.scenario.runner.exploring import describer
from tests.disk.traces import Script


def test_what_is_missing_is_told_whatever_stands_in_it_and_in_the_path() -> None:
    script = Script()
    script.create("a: b, c")
    script.write("a: b, c", b"o" * 100)
    script.start()
    script.write("a: b, c", b"n" * 100)
    trace, model = script.trace(), MODELS["posix"]
    describe = describer(trace, Settings(models=(model,)))
    told = {fate.words for state in StateSpace(trace, model).states() for fate in describe(state.recipe, model.name)}
    assert {words.partition(" (")[0] for words in told} == {"", "not there: bytes 100 to 199"}
