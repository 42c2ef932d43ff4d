"""Real ext4, xfs and btrfs: what their images hold is in the model's set, and a rule flipped on purpose is noticed."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from time import monotonic, sleep

import pytest

from chaos.disk import MODELS, RULES, Tree
from chaos.disk.models import PersistenceModel
from chaos.disk.real import FILESYSTEMS, in_own_namespace, probe, real_states
from chaos.disk.validate import UNSHOWABLE, Judge, stronger, validate
from chaos.disk.workloads import Nudge, NudgeKind, Workload, minimise, random_workload
from tests.cli.shell import start
from tests.disk.traces import Script

RANDOM_WORKLOADS = 6
COMMIT = Nudge(kind=NudgeKind.COMMIT)
OLD = b"o" * 9000


def nudged(script: Script, nudge: Nudge | None) -> Workload:
    ops = len(script.ops)
    return Workload(trace=script.trace(), nudges=(*[None] * (ops - 1), nudge))


def two_files() -> Script:
    script = Script()
    for name in ("s", "t"):
        script.create(name)
        script.write(name, OLD)
    return script.start()


def a_later_overwrite_written_back() -> Workload:
    script = two_files()
    script.write("s", b"n" * 100, 0)
    script.write("t", b"n" * 100, 0)
    return nudged(script, Nudge(kind=NudgeKind.WRITE_BACK, node=script.find("t")))


def a_replacement_of_an_empty_file_and_its_folder_synced() -> Workload:
    script = two_files()
    script.truncate("s")  # btrfs begins to flush when the file replaced is not empty
    script.create("u")
    script.write("u", b"n" * 9000)
    script.rename("u", "s")
    script.fsync("")
    return nudged(script, None)


def the_later_of_two_new_files_synced() -> Workload:
    script = two_files()
    script.create("n1")
    script.create("n2")
    script.write("n2", b"n" * 9000)
    script.fsync("n2")
    return nudged(script, None)


def an_append_inside_a_block_committed() -> Workload:
    script = two_files()
    script.write("s", b"n" * 100)
    return nudged(script, COMMIT)


def a_rewritten_file_renamed_and_its_folder_synced() -> Workload:
    script = two_files()
    script.truncate("s")
    script.write("s", b"n" * 100)
    script.rename("s", "u")
    script.fsync("")
    return nudged(script, None)


def a_file_renamed_over_another_and_unlinked() -> Workload:
    script = two_files()
    script.create("u")
    script.write("u", b"u" * 100)
    script.fsync("u")
    script.create("v")
    script.rename("u", "s")
    script.unlink("s")
    script.fsync("v")
    return nudged(script, None)


def a_file_shortened_and_made_longer() -> Workload:
    script = two_files()
    script.truncate("s", 4500)
    script.fsync("s")
    script.truncate("s", 9500)
    return nudged(script, COMMIT)


DIRECTED: tuple[Callable[[], Workload], ...] = (
    a_later_overwrite_written_back,
    a_replacement_of_an_empty_file_and_its_folder_synced,
    the_later_of_two_new_files_synced,
    an_append_inside_a_block_committed,
    a_rewritten_file_renamed_and_its_folder_synced,
    a_file_renamed_over_another_and_unlinked,
    a_file_shortened_and_made_longer,
)


@cache
def found_on(filesystem: str) -> tuple[tuple[Workload, list[Tree]], ...]:
    refusal = probe(filesystem)
    if refusal:
        pytest.skip(refusal)
    workloads = [make() for make in DIRECTED] + [random_workload(seed, 8) for seed in range(RANDOM_WORKLOADS)]
    return tuple(zip(workloads, real_states(workloads, filesystem), strict=True))


def judged(filesystem: str, model: PersistenceModel) -> Judge:
    judge = Judge(model)
    for workload, states in found_on(filesystem):
        judge.take(workload, states)
    return judge


def flipped(model: PersistenceModel, rule: str) -> PersistenceModel:
    if rule in stronger(model):
        return stronger(model)[rule]
    weaker = {"early_size": "zeroes", "overwrite_unit_bytes": 512}.get(rule, not getattr(model, rule))
    return replace(model, **{rule: weaker})  # type: ignore[arg-type]


each = pytest.mark.parametrize("filesystem", FILESYSTEMS)
pytestmark = pytest.mark.slow  # images are made, mounted and copied


@each
def test_every_real_state_is_in_the_models_set(filesystem: str) -> None:
    judge = judged(filesystem, MODELS[filesystem])
    assert judge.missed == []
    assert judge.states > 50


@each
def test_every_rule_that_promises_little_is_shown_by_a_real_state(filesystem: str) -> None:
    assert judged(filesystem, MODELS[filesystem]).unshown == ()


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in UNSHOWABLE])
@each
def test_a_flipped_rule_is_noticed(filesystem: str, rule: str) -> None:
    model = MODELS[filesystem]
    judge = judged(filesystem, flipped(model, rule))
    if rule in stronger(model):
        assert judge.missed, "a promise that the file system breaks"
    else:
        assert rule in judge.unshown, "less than the file system ever showed"


@each
def test_a_miss_is_shown_as_the_smallest_workload(filesystem: str) -> None:
    if refusal := probe(filesystem):
        pytest.skip(refusal)
    found = validate(filesystem, MODELS["kill"], count=1, length=4, seed=3)
    assert found.misses == 1
    assert found.smallest is not None
    assert len(found.smallest.workload.trace.ops) <= 2


def test_minimising_drops_all_operations_and_nudges_that_do_not_matter() -> None:
    workload = random_workload(5, 10)
    wanted = workload.trace.ops[4].kind
    small = minimise(workload, lambda candidate: any(op.kind is wanted for op in candidate.trace.ops))
    assert sum(op.kind is wanted for op in small.trace.ops) == 1
    assert small.nudges == (None,) * len(small.trace.ops)


def test_one_seed_makes_one_workload() -> None:
    assert random_workload(7) == random_workload(7)
    assert random_workload(7) != random_workload(8)


def leavings(pid: int) -> set[str]:
    folder, name = "/dev/shm" if Path("/dev/shm").is_dir() else "/tmp", f"chaos-real-{pid}-"
    loops = subprocess.run(["losetup", "--list", "--noheadings"], capture_output=True, text=True, check=False).stdout
    told = [*loops.splitlines(), *Path("/proc/mounts").read_text().splitlines(), *os.listdir(folder)]
    return {line for line in told if name in line}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupting_a_validation_leaves_no_mount_no_loop_device_and_no_folder(
    tmp_path: Path, number: signal.Signals
) -> None:
    if refusal := probe("ext4"):
        pytest.skip(refusal)
    process = start(tmp_path, "doctor", "--validate-models", "--file-system", "ext4")
    give_up = monotonic() + 30
    while not any("/loop" in line for line in leavings(process.pid)):
        assert monotonic() < give_up
        assert process.poll() is None
        sleep(0.01)
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in out + err
    give_up = monotonic() + 10  # the kernel lets go of a loop device a moment after its mount
    while leavings(process.pid) and monotonic() < give_up:
        sleep(0.02)
    assert not leavings(process.pid)


@contextmanager
def beside_a_thread() -> Iterator[None]:
    """A thread that takes every signal that this one has blocked."""
    ends = threading.Event()
    thread = threading.Thread(target=ends.wait)
    thread.start()
    yield
    ends.set()
    thread.join()


def test_an_interruption_between_making_the_folder_and_waiting_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fork, children = os.fork, list[int]()

    def interrupted_fork() -> int:
        children.append(fork())
        os.kill(os.getpid(), signal.SIGINT)  # each to itself, as Ctrl-C goes to the whole group
        return children[-1]

    monkeypatch.setattr(os, "fork", interrupted_fork)
    with beside_a_thread(), pytest.raises(KeyboardInterrupt):
        in_own_namespace(lambda _: 1)
    assert not leavings(os.getpid())
    with pytest.raises(ChildProcessError):
        os.waitpid(children[0], 0)


def test_what_a_process_left_that_was_killed_outright_is_swept_by_the_next(tmp_path: Path) -> None:
    if refusal := probe("ext4"):
        pytest.skip(refusal)
    process = start(tmp_path, "doctor", "--validate-models", "--file-system", "ext4")
    give_up = monotonic() + 30
    while not any("/loop" in line for line in leavings(process.pid)):
        assert monotonic() < give_up
        sleep(0.01)
    process.kill()
    process.communicate(timeout=30)
    assert probe("ext4") == ""
    give_up = monotonic() + 10
    while leavings(process.pid) and monotonic() < give_up:
        sleep(0.02)
    assert not leavings(process.pid)


def test_the_command_tells_counts_and_shown_rules(tmp_path: Path) -> None:
    if refusal := probe("ext4"):
        pytest.skip(refusal)
    words = ["--file-system", "ext4", "--workloads", "2", "--no-background"]
    process = start(tmp_path, "doctor", "--validate-models", *words)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "2 workloads, 22 real states" in out
    assert "no real state outside the model" in out


def test_an_unknown_file_system_is_wrong_usage(tmp_path: Path) -> None:
    process = start(tmp_path, "doctor", "--validate-models", "--file-system", "zfs")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "use one of: ext4, xfs, btrfs" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_without_root_it_says_why_and_measures_nothing(tmp_path: Path) -> None:
    program = "import os, sys; os.setuid(65534); from chaos.disk.real import probe; print(probe('ext4'))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout.strip() in {"mounting an image needs root", ""}, done.stderr
