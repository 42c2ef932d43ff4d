"""What a run started is found, named once and ended."""

import os
import signal
from itertools import count

from chaos.child import reaping
from tests.reliability.processes import Child


def test_a_process_that_is_slow_to_end_has_one_name() -> None:
    """A killed process loses its command line before it ends, and is known by its short name then."""

    def work(_say: object) -> object:
        if not os.fork():
            signal.pause()
        names, killed, kill = count(1), list[int](), os.kill
        vars(reaping)["process_name"] = lambda _pid: f"name {next(names)}"

        def late(pid: int, number: int) -> None:
            killed.append(number)
            if len(killed) == 3:  # until then it is on its way
                kill(pid, number)

        os.kill = late
        strays = reaping.end_strays()
        return strays, killed[:3]

    assert Child(work).result() == (("name 1",), [signal.SIGKILL] * 3)
