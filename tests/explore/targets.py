"""Targets of the explorer's tests: well-behaved ones, and ones that do everything a recovery must not do."""

import ctypes
import fcntl
import gc
import json
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

LONG_S = 1000


def load(disk: Path) -> Any:
    return json.loads((disk / "state.json").read_bytes())


def count(disk: Path) -> Any:
    return load(disk)["count"]


def heal(disk: Path) -> Any:
    """The first start fails and mends, the second is right."""
    try:
        return load(disk)
    except ValueError:
        (disk / "state.json").write_text('{"count": 0, "log": ""}')
        raise


def heal_in_two(disk: Path) -> Any:
    """The first start fails and notes that, the second fails no more."""
    try:
        return load(disk)
    except ValueError:
        if not (disk / "failed").exists():
            (disk / "failed").touch()
            raise
    (disk / "state.json").write_text('{"count": 0, "log": ""}')
    return load(disk)


def save(disk: Path, ack: Callable[[object], None]) -> None:
    """Goes on from what is there up to 3."""
    for number in range(count(disk) + 1, 4):
        (disk / "state.json").write_text(json.dumps({"count": number}))
        ack(number)


def save_in_children(disk: Path, ack: Callable[[object], None]) -> None:
    for number in (1, 2):
        child = os.fork()
        if child == 0:
            os.closerange(3, 1000)
            ack(number)
            os._exit(0)
        os.waitpid(child, 0)


def save_and_fail(disk: Path, ack: Callable[[object], None]) -> None:
    ack("begun")
    raise OSError("no more")


def check_none_is_third(value: Any, acked: list[Any]) -> None:
    assert len(acked) < 3, "the third"


def check(value: Any, acked: list[Any]) -> None:
    assert value["count"] >= len(acked), f"{value['count']} after {acked}"


def object_to_all(value: Any, acked: list[Any]) -> None:
    raise KeyError(json.dumps(acked))


# Recoveries that misbehave


def hang(disk: Path) -> None:
    time.sleep(LONG_S)


def spin(disk: Path) -> None:
    while True:
        pass


def stop_itself(disk: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def ignore_signals_and_hang(disk: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(LONG_S)


def kill_itself(disk: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash_in_c(disk: Path) -> None:
    ctypes.string_at(0)


def leave_at_once(disk: Path) -> None:
    os._exit(7)


def leave_quietly(disk: Path) -> None:
    os._exit(0)


def exit_politely(disk: Path) -> None:
    sys.exit(3)


def exit_with_words(disk: Path) -> None:
    sys.exit("broken")


def exec_another(disk: Path) -> None:
    os.execvp("true", ["true"])


def eat_memory(disk: Path) -> None:
    eaten = []
    while True:
        eaten.append(bytearray(1 << 20))


def eat_shared_memory(disk: Path) -> None:
    eaten = mmap.mmap(-1, 1 << 30)
    for at in range(0, 1 << 30, 4096):
        eaten[at] = 1
    time.sleep(LONG_S)


def write_without_end(disk: Path) -> None:
    with open(disk / "large", "wb") as file:
        while True:
            file.write(b"x" * (1 << 20))


def recurse(disk: Path) -> None:
    recurse(disk)


def print_without_end(disk: Path) -> None:
    while True:
        sys.stdout.write("x" * 1000)


def print_and_fail(disk: Path) -> None:
    sys.stdout.write("to standard output\n")
    sys.stderr.write(f"to standard error, {disk}\n")
    raise ValueError("told")


def raise_at_length(disk: Path) -> None:
    raise ValueError("x" * 1_000_000)


def raise_interrupt(disk: Path) -> None:
    raise KeyboardInterrupt


class _BrokenError(Exception):
    def __str__(self) -> str:
        raise OSError("no text")


def raise_unprintable(disk: Path) -> None:
    raise _BrokenError


class _Unreadable:
    def __reduce_ex__(self, protocol: Any) -> Any:
        raise OSError("no state")

    def __repr__(self) -> str:
        raise OSError("no text")


def return_unencodable(disk: Path) -> Any:
    return _Unreadable()


def return_too_much(disk: Path) -> Any:
    return "x" * (17 << 20)


def return_much(disk: Path) -> Any:
    return "x" * (5 << 20)


# Recoveries that return, and do something else as well


def shrink_everything(disk: Path) -> Any:
    for descriptor in range(3, 256):
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
    return count(disk)


def tell_of_the_collector(disk: Path) -> Any:
    return gc.isenabled()


def tell_the_environment(disk: Path) -> Any:
    return os.environ.get("LD_BIND_NOW")


def close_everything(disk: Path) -> Any:
    value = count(disk)
    os.closerange(0, 65536)
    return value


def leave_threads(disk: Path) -> Any:
    threading.Thread(target=time.sleep, args=(LONG_S,)).start()
    return count(disk)


def fork_away(disk: Path) -> Any:
    """A daemon: its own session, reparented, deaf to polite signals."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(writing, str(os.getpid()).encode())
            time.sleep(LONG_S)
        os._exit(0)
    os.wait()
    return int(os.read(reading, 100))


def fork_and_return_twice(disk: Path) -> Any:
    if os.fork() == 0:
        return "the child's"
    os.wait()
    return count(disk)


def change_everything(disk: Path) -> Any:
    value = count(disk)
    os.chdir("/")
    os.umask(0o777)
    sys.stdout = None
    time.monotonic = lambda: 0.0
    os.getpid = lambda: 1
    json.dumps = None  # type: ignore[assignment]
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    return value


def remove_the_folder(disk: Path) -> Any:
    value = count(disk)
    for path in disk.iterdir():
        path.unlink()
    disk.rmdir()
    return value


def link_the_folder_elsewhere(disk: Path) -> Any:
    value = count(disk)
    disk.rename(disk.parent / "moved")
    disk.symlink_to(os.environ["CHAOS_TEST_PRECIOUS"])
    return value


def forbid_the_folder(disk: Path) -> Any:
    value = count(disk)
    (disk / "below").mkdir()
    (disk / "below" / "file").touch()
    (disk / "below").chmod(0)
    disk.chmod(0)
    return value


def tell_the_path(disk: Path) -> Any:
    return {"path": disk / "state.json", "text": f"in {disk}"}


def fail_with_the_path(disk: Path) -> Any:
    return (disk / "missing").read_text()


_held: list[Any] = []


def hold_things(disk: Path) -> Any:
    """Returns with a file open and locked, and a process running."""
    file = open(disk / "lock", "w")  # noqa: SIM115 - held on purpose
    fcntl.flock(file, fcntl.LOCK_EX)
    _held.append(file)
    _held.append(subprocess.Popen(["sleep", str(LONG_S)]))
    return count(disk)


def start_a_short_process(disk: Path) -> Any:
    if os.fork() == 0:
        os._exit(0)
    return count(disk)


def hold_in_the_value(disk: Path) -> Any:
    return {"open": open(disk / "state.json")}


def kill_its_parent(disk: Path) -> Any:
    if count(disk) == 1:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(LONG_S)
    return count(disk)


def remember(disk: Path) -> Any:
    """How many recoveries this process has done."""
    _held.append(1)
    return len(_held)


def die_sometimes(disk: Path) -> Any:
    """Every way of going wrong, by what is on the disk; torn text dies in its own way."""
    text = (disk / "state.json").read_bytes()
    if len(text) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if 1 < len(text) < 30:
        os._exit(4)
    return json.loads(text)


def hang_later(disk: Path) -> Any:
    value = (disk / "state.json").read_bytes()
    if b'"count": 3' in value:
        os.fork()
        time.sleep(LONG_S)
    return len(value)


def take_the_recorder_down(disk: Path, ack: Callable[[object], None]) -> None:
    """Kills the process above the guardian above this one, when the state is the one before any save."""
    if count(disk) == 0:
        above = Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1]
        os.kill(int(above), signal.SIGKILL)
    save(disk, ack)


def tell_how_often_memory_was_copied(disk: Path) -> Any:
    load(disk)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def end_badly_in_many_ways(disk: Path) -> Any:
    number = count(disk) % 5
    if number == 1:
        kill_itself(disk)
    elif number == 2:
        leave_at_once(disk)
    elif number == 3:
        raise ValueError(number)
    return number


def tell_surroundings(disk: Path) -> Any:
    """What a harness could add to a process: descriptors, modules, locked memory."""
    load(disk)
    locked = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmLck")]
    return sorted(os.listdir("/proc/self/fd")), sorted(sys.modules), locked
