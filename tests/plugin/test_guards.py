"""The fixtures that guard a test, as their user meets them: a broken test fails and says why, its sound twin passes."""

import re

import pytest

from tests.plugin.running import run as printed
from tests.plugin.running import run_anew, told
from tests.warm import run_pytest


def test_the_seed_is_what_was_asked_for_and_is_told_when_a_test_fails(pytester: pytest.Pytester) -> None:
    text = """
def test_given(chaos_seed):
    assert chaos_seed == 7


def test_failing(chaos_seed):
    assert False
"""
    said = printed(pytester, text, "--chaos-seed", "7", passed=1, failed=1)
    assert "drawn with --chaos-seed 7" in said


def test_the_seed_is_0_unless_given_and_a_wrong_one_is_refused(pytester: pytest.Pytester) -> None:
    text = "def test_default(chaos_seed):\n    assert chaos_seed == 0\n"
    printed(pytester, text, passed=1)
    assert "expected a whole number" in printed(pytester, text, "--chaos-seed", "seven", errors=1)


LOOPS = """
import itertools

import pytest


def rounds(feedback):
    for said in feedback:
        yield said
        if said == "done":
            return


def test_identical(loop_guard):
    for _ in loop_guard.each(rounds(itertools.repeat("no improvement"))):
        pass


def test_cyclic(loop_guard):
    for _ in loop_guard.each(rounds(itertools.cycle(["too long", "too short"]))):
        pass


def test_almost(loop_guard):
    for number in itertools.count():
        loop_guard(f"2026-11-21 10:00:{number % 60:02}: attempt {number} failed")


def test_endless(loop_guard):
    loop_guard.limits(rounds=20)
    for number in itertools.count():
        loop_guard("x" * number)


def test_watched(loop_guard):
    ask = loop_guard.watch(lambda question: {"score": float("nan")})
    while True:
        try:
            ask("well?")
        except Exception:
            pass


def test_honest(loop_guard):
    told = ["two left", "two left", "one left", "one left", "done"]
    assert list(loop_guard.each(rounds(told))) == told
    assert loop_guard.count == 5


def test_patient(loop_guard):
    loop_guard.limits(repeats=50)
    for _ in loop_guard.each(["same"] * 50):
        pass


def test_wrong(loop_guard):
    loop_guard.limits(repeats=0)
"""


def test_loops_that_get_nowhere_fail_and_honest_ones_pass(pytester: pytest.Pytester) -> None:
    said = printed(pytester, LOOPS, failed=6, passed=2)
    assert "loop_guard: rounds 1 to 4 brought the same 4 times; 3 are allowed" in said
    assert "the last one brought 'no improvement'" in said
    assert "loop_guard: rounds 1 to 8 brought the same, 2 in turn, 4 times; 3 are allowed" in said
    assert "rounds 1 to 11 brought the same but for numbers, dates and ids 11 times; 10 are allowed" in said
    assert "loop_guard.limits(alike=...)" in said
    assert "this is round 21, and 20 are allowed" in said
    assert "nan" in said
    assert "loop_guard.limits(repeats=...): expected 1 or more, got 0" in said


FINITE = r"""
import json
import math
from dataclasses import dataclass

import numpy
import pytest


@dataclass
class Epoch:
    loss: float
    weights: object = None


def test_nan(finite):
    finite({"epochs": [Epoch(0.5), Epoch(math.nan)]}, "history")


def test_array(finite):
    finite(numpy.array([1.0, math.inf]))


def test_made(finite):
    numpy.array([0.0]) / numpy.array([0.0])


def test_file(finite, tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"loss": math.nan}))
    finite.folder(tmp_path)


def test_path(finite, tmp_path):
    finite(tmp_path)


@pytest.mark.guardrails(finite=True)
def test_marked():
    numpy.log(numpy.array([-1.0]))


def test_sound(finite, tmp_path):
    epoch = Epoch(0.5, numpy.array([1e308]))
    assert finite(epoch) is epoch
    assert finite([1, "nan", None, 2**5000]) == [1, "nan", None, 2**5000]
    (tmp_path / "metrics.json").write_text(json.dumps({"loss": 0.5}))
    finite.folder(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_not_asked_for():
    assert math.isnan((numpy.array([0.0]) / numpy.array([0.0]))[0])


def test_no_folder(finite, tmp_path):
    finite.folder(tmp_path / "missing")
"""


def test_numbers_that_are_not_finite_fail(pytester: pytest.Pytester) -> None:
    said = printed(pytester, FINITE, failed=7, passed=2)
    assert "finite: history holds a number that is not finite" in said
    assert "history['epochs'][1]" in said
    assert "metrics.json: " in said
    assert "FloatingPointError: invalid value encountered in divide" in said
    assert "FloatingPointError: invalid value encountered in log" in said
    assert "finite.folder: there is no folder " in said
    assert "is a path, which holds no number; for its files: finite.folder(path)" in said


LEAKS = """
import os
import subprocess
import sys
import tempfile
import threading

import pytest

KEPT = []
SLEEPER = [sys.executable, "-c", "import sys; sys.stdin.read()"]  # ends with whoever holds the other end


def test_process(no_leaks):
    KEPT.append(subprocess.Popen(SLEEPER, stdin=subprocess.PIPE))


def test_daemon(no_leaks):
    reading, writing = os.pipe()
    starter = f"import os; os.fork() and os._exit(0); os.setsid(); os.read({reading}, 1)"
    subprocess.run([sys.executable, "-c", starter], pass_fds=[reading], check=True)
    os.close(reading)
    KEPT.append(writing)


def test_descriptor(no_leaks):
    KEPT.append(open(__file__))


def test_lock(no_leaks, tmp_path):
    import fcntl
    file = open(tmp_path / "a.lock", "w")
    fcntl.flock(file, fcntl.LOCK_EX)
    KEPT.append(file)


def test_thread(no_leaks):
    stop = threading.Event()
    KEPT.append(stop)
    threading.Thread(target=stop.wait, name="poller", daemon=True).start()


def test_file(no_leaks):
    tempfile.mkstemp(suffix=".left")


@pytest.mark.guardrails(no_leaks=True)
def test_marked():
    tempfile.mkdtemp(suffix=".marked")
"""
SOUND = """
import fcntl
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading

import pytest


@pytest.fixture
def server():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    yield
    stop.set()
    thread.join()


@pytest.fixture(scope="session")
def for_all():
    with tempfile.TemporaryFile() as file:
        yield file


@pytest.mark.guardrails(no_leaks=True)
def test_marked(server, for_all, tmp_path):
    (tmp_path / "kept").write_text("of pytest, and not ours")


def test_sound(no_leaks, server, tmp_path):
    subprocess.run([sys.executable, "-c", ""], check=True)
    with tempfile.TemporaryDirectory() as folder, open(os.path.join(folder, "lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
    thread = threading.Thread(target=print)
    thread.start()
    thread.join()
    cycle = [open(__file__)]
    cycle.append(cycle)  # nobody's any more when the test is over


def test_multiprocessing(no_leaks):
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=print)
    process.start()
    process.join()
    process.close()


def test_temporary_files_are_where_they_were():
    assert "no_leaks" not in tempfile.gettempdir()
    assert "no_leaks" not in os.environ.get("TMPDIR", "")
"""


def test_what_a_test_leaves_behind_fails_it(pytester: pytest.Pytester) -> None:
    # What is left is left for good here, so the time that it is given to go away is spent in vain.
    pytester.makeconftest("import pytest_guardrails.plugin.leaks as leaks\n\nleaks._GRACE_S = 0.05\n")
    said = printed(pytester, LEAKS, passed=7, errors=7)
    assert said.count("_ ERROR at teardown of ") == 7
    assert "sys.stdin.read()" in said
    assert "os.setsid()" in said
    assert "open on" in said
    assert "a.lock (FLOCK)" in said
    assert "thread 'poller' (daemon)" in said
    assert ".left" in said
    assert ".marked" in said


def test_what_is_given_back_or_of_others_fails_nothing(pytester: pytest.Pytester) -> None:
    printed(pytester, SOUND, passed=4)


LIMITS = """
import threading
import unittest

import pytest


@pytest.mark.guardrails(timeout=0.05)
def test_waits_for_ever():
    threading.Event().wait()


@pytest.mark.guardrails(timeout="50ms")
def test_waits_for_another_thread():
    stop = threading.Event()
    thread = threading.Thread(target=waiting, args=[stop])
    thread.start()
    try:
        thread.join()
    finally:
        stop.set()
        thread.join()


def waiting(stop):
    stop.wait()


def test_ate_more_before():
    bytearray(b"x") * 120_000_000


@pytest.mark.guardrails(max_rss="20MB")
def test_eats_memory():
    bytearray(b"x") * 60_000_000


@pytest.mark.guardrails(timeout="1m", max_rss="200MB", finite=True, no_leaks=True)
def test_sound():
    assert threading.active_count() == 1


def test_no_timer_is_left():
    import signal
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


class TestOldStyle(unittest.TestCase):
    @pytest.mark.guardrails(timeout="50ms", no_leaks=True)
    def test_waits(self):
        threading.Event().wait()


@pytest.mark.guardrails(timeout="1m")
class TestClass:
    def test_marked_by_its_class(self):
        import signal
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 60
"""


def test_tests_beyond_their_limits_fail(pytester: pytest.Pytester) -> None:
    said = printed(pytester, LIMITS, failed=4, passed=4)
    assert "guardrails: still running after 0.05 s" in said
    assert "thread 'Thread-1 (waiting)' is in" in said
    assert re.search(r"guardrails: resident memory grew by [56]\d\.\d MB at its peak, and 20 MB are allowed", said)


@pytest.mark.usefixtures("every_plugin")
def test_a_coroutine_beyond_its_time_is_told_by_what_it_awaits(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    text = """
import asyncio

import pytest


async def answer():
    await asyncio.Event().wait()


@pytest.mark.asyncio
@pytest.mark.guardrails(timeout="50ms")
async def test_waits():
    await answer()
"""
    lines = told(run_anew(pytester, text, failed=1), "test_waits")
    assert lines[0] == "guardrails: still running after 0.05 s"
    assert any(line.endswith("in answer") for line in lines)
    assert "    await asyncio.Event().wait()" in lines
    assert "run_until_complete" not in "".join(lines)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "takes arguments by name, at least one"),
        ("5", "takes arguments by name"),
        ("timout=5", "did you mean timeout?"),
        ("nothing=1", "known are: timeout, max_rss, finite, no_leaks"),
        ("timeout=0", 'guardrails(timeout=...): expected a duration above 0 such as "500ms", "10s" or "2m", got 0'),
        ("max_rss=5", "guardrails(max_rss=...): expected a size"),
        ("finite=1", "guardrails(finite=...): expected True or False, got 1"),
    ],
)
def test_a_marker_that_makes_no_sense_is_refused(pytester: pytest.Pytester, arguments: str, said: str) -> None:
    pytester.makepyfile(f"import pytest\n\n@pytest.mark.guardrails({arguments})\ndef test_it():\n    pass\n")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:asyncio")
    done.assert_outcomes(errors=1)
    assert said in done.stdout.str()


def test_a_refused_marker_leaves_the_fixtures_of_its_test_whole_for_the_others(pytester: pytest.Pytester) -> None:
    text = """
import pytest


@pytest.fixture
def own():
    yield


@pytest.mark.guardrails(timeout="soon")
def test_refused(own):
    pass


def test_next(own):
    pass


def test_another(own):
    pass
"""
    said = printed(pytester, text, passed=2, errors=1)
    assert "guardrails(timeout=...): expected a duration above 0" in said


def test_two_timers_at_once_are_refused(pytester: pytest.Pytester) -> None:
    text = """
import signal

import pytest


@pytest.fixture
def other():
    signal.setitimer(signal.ITIMER_REAL, 1000)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.guardrails(timeout=5)
def test_it(other):
    pass
"""
    assert "another timer is under way" in printed(pytester, text, failed=1)


@pytest.mark.usefixtures("every_plugin")
def test_nothing_is_imported_where_none_of_it_is_used(pytester: pytest.Pytester) -> None:
    text = """
import sys


def test_lean():
    heavy = {"chaos", "numpy", "hypothesis", "openai", "psutil"}
    assert not heavy & {name.split(".")[0] for name in sys.modules}
    assert not [name for name in sys.modules if name.startswith("pytest_guardrails.plugin.") and name.split(".")[2] in
                {"loops", "finiteness", "leaks", "limits", "services", "strategies"}]
"""
    run_anew(pytester, text, "-p", "no:hypothesispytest", "-p", "no:asyncio", "-p", "no:xdist", passed=1)


def test_the_plugin_tells_its_marker_and_its_fixtures(pytester: pytest.Pytester) -> None:
    assert "@pytest.mark.guardrails(timeout=, max_rss=" in run_pytest(pytester, "--markers").stdout.str()
    said = run_pytest(pytester, "--fixtures").stdout.str()
    for name in ("fake_llm", "chaos_proxy", "loop_guard", "finite", "no_leaks", "chaos_seed"):
        assert f"\n{name} --" in said
    assert "_guardrails" not in said.replace("pytest_guardrails", "")
