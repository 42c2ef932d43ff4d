"""Racers for the tests: each does one thing that a race must cope with."""

import ctypes
import fcntl
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from chaos.child.witness import Witness


def nothing(disk: Path, witness: Witness) -> None:
    """Ends without any call on the folder."""


def notes(disk: Path, witness: Witness) -> int:
    for number in range(3):
        with open(disk / "notes", "a") as file:
            file.write(f"{witness.number}{number} ")
    return witness.number


def raises(disk: Path, witness: Witness) -> None:
    (disk / f"made{witness.number}").touch()
    raise KeyError("nothing of the kind")


def leaves(disk: Path, witness: Witness) -> None:
    os._exit(7)


def killed(disk: Path, witness: Witness) -> None:
    (disk / "before").touch()
    os.kill(os.getpid(), signal.SIGKILL)


def computes(disk: Path, witness: Witness) -> None:
    (disk / "before").touch()
    while True:
        pass


def waits_for_a_busy_child(disk: Path, witness: Witness) -> None:
    """Its child takes longer than the deadline, and never for long without a call."""
    child = os.fork()
    if not child:
        for number in range(12):
            (disk / f"{number}").touch()
            until = time.process_time() + 0.25
            while time.process_time() < until:
                pass
        os._exit(0)
    os.waitpid(child, 0)


def waits_at_once(disk: Path, witness: Witness) -> None:
    threading.Event().wait()


def waits_outside(disk: Path, witness: Witness) -> None:
    (disk / "before").touch()
    threading.Event().wait()


def sleeps_long(disk: Path, witness: Witness) -> None:
    time.sleep(3600)
    (disk / f"awake{witness.number}").touch()


def locked(disk: Path, witness: Witness) -> None:
    with open(disk / "lock", "w") as lock:
        for _ in range(3):
            fcntl.flock(lock, fcntl.LOCK_EX)
            with witness.section():
                (disk / "inside").touch()
            fcntl.flock(lock, fcntl.LOCK_UN)


def record_locked(disk: Path, witness: Witness) -> None:
    with open(disk / "lock", "w") as lock:
        for _ in range(3):
            fcntl.lockf(lock, fcntl.LOCK_EX)
            with witness.section():
                (disk / "inside").touch()
            fcntl.lockf(lock, fcntl.LOCK_UN)


def polls(disk: Path, witness: Witness) -> None:
    """A correct lock by exclusive creation, waited for in a loop that sleeps."""
    for _ in range(2):
        while True:
            try:
                os.close(os.open(disk / "lock", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                time.sleep(0.5)
        with witness.section():
            (disk / "inside").touch()
        os.unlink(disk / "lock")


def spins(disk: Path, witness: Witness) -> None:
    """Likewise, in a loop that does not even sleep."""
    for _ in range(2):
        while True:
            try:
                os.close(os.open(disk / "lock", os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                continue
        with witness.section():
            (disk / "inside").touch()
        os.unlink(disk / "lock")


def polls_for_ever(disk: Path, witness: Witness) -> None:
    while not (disk / "never").exists():
        time.sleep(0.1)


def crosswise(disk: Path, witness: Witness) -> None:
    """Two locks, taken in opposite orders."""
    first, second = (disk / "a", disk / "b") if witness.number % 2 else (disk / "b", disk / "a")
    with open(first, "w") as one, open(second, "w") as other:
        fcntl.flock(one, fcntl.LOCK_EX)
        fcntl.flock(other, fcntl.LOCK_EX)


def forks(disk: Path, witness: Witness) -> int:
    program = f"open({str(disk / 'child')!r}, 'a').close()"
    return subprocess.run([sys.executable, "-S", "-c", program], check=False).returncode


def abandons(disk: Path, witness: Witness) -> None:
    """Leaves a process behind that would go on writing."""
    if os.fork() == 0:
        while True:
            (disk / "abandoned").touch()
            time.sleep(0.01)
    while not (disk / "abandoned").exists():
        time.sleep(0.01)


def threaded(disk: Path, witness: Witness) -> None:
    thread = threading.Thread(target=(disk / "thread").touch)
    thread.start()
    (disk / "main").touch()
    thread.join()


def by_chance(disk: Path, witness: Witness) -> None:
    for _ in range(random.randrange(6)):
        (disk / "x").touch()
    for name in set("abcdefgh"):  # its order depends on the hash seed
        (disk / name).touch()
        if name == "a":
            break


def burn() -> None:
    """Compute long enough for everybody else to go on, if they may."""
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass


def slow_thread(disk: Path, witness: Witness) -> None:
    def work() -> None:
        burn()
        (disk / "thread").touch()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def slow_child(disk: Path, witness: Witness) -> None:
    pid = os.fork()
    if pid == 0:
        burn()
        (disk / "child").touch()
        os._exit(0)
    os.waitpid(pid, 0)


def forgets_child(disk: Path, witness: Witness) -> int:
    """Leaves a process behind that never makes a call on the folder."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def holds_and_goes_on(disk: Path, witness: Witness) -> None:
    with open(disk / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        fcntl.flock(lock, fcntl.LOCK_UN)
        for _ in range(5):
            (disk / "after").touch()


def crosswise_records(disk: Path, witness: Witness) -> None:
    first, second = (disk / "a", disk / "b") if witness.number % 2 else (disk / "b", disk / "a")
    with open(first, "w") as one, open(second, "w") as other:
        fcntl.lockf(one, fcntl.LOCK_EX)
        fcntl.lockf(other, fcntl.LOCK_EX)


def closes_all(disk: Path, witness: Witness) -> None:
    os.closerange(3, 1000)
    (disk / "after").touch()
    witness(1)


def entering(disk: Path, witness: Witness) -> None:
    """A critical section without any lock."""
    with witness.section("x"):
        (disk / "inside").touch()


def dies_inside(disk: Path, witness: Witness) -> None:
    with open(disk / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with witness.section():
            os._exit(0)


def add_one(disk: Path, witness: Witness) -> None:
    with witness.call("add", 1):
        number = int((disk / "counter").read_text() or "0")
        (disk / "counter").write_text(str(number + 1))


def add_one_locked(disk: Path, witness: Witness) -> None:
    with open(disk / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        add_one(disk, witness)


def zero(disk: Path) -> None:
    (disk / "counter").write_text("0")


def counted(disk: Path, results: list[object]) -> int:
    return int((disk / "counter").read_text() or "0")


def is_counted(disk: Path, results: list[object]) -> None:
    assert counted(disk, results) == len(results)


def polls_by_programs(disk: Path, _: Witness) -> None:
    """Each time in a process of its own."""
    while not (disk / "go").exists():
        child = os.fork()
        if not child:
            time.sleep(1)
            os._exit(0)
        os.waitpid(child, 0)


def takes_its_time(disk: Path, _: Witness) -> None:
    for number in range(100):
        os.close(os.open(disk / str(number), os.O_CREAT))
    os.close(os.open(disk / "go", os.O_CREAT))


def lays_pipe(disk: Path) -> None:
    os.mkfifo(disk / "pipe")


def writes_to_pipe(disk: Path, _: Witness) -> None:
    (disk / "pipe").write_text("here")


def reads_from_pipe(disk: Path, _: Witness) -> str:
    return (disk / "pipe").read_text()


def lays_stale_lock(disk: Path) -> None:
    (disk / "lock").touch()
    os.utime(disk / "lock", (time.time() - 86_400, time.time() - 86_400))


def age_of_lock(disk: Path, _: Witness) -> float:
    return time.time() - os.stat(disk / "lock").st_mtime


def takes_over(disk: Path, witness: Witness) -> bool:
    if age_of_lock(disk, witness) < 3600:
        return False
    os.utime(disk / "lock")
    return True


def fails(disk: Path, *_: object) -> None:
    raise ValueError("not today")


def hangs_up(disk: Path, *_: object) -> None:
    os._exit(3)


def tells(disk: Path, witness: Witness) -> None:
    witness(1)
    witness(2)


def times_and_lengths(disk: Path, _: Witness) -> None:
    """What changes a file's times, and what tells its length, each way there is."""
    (disk / "a").write_bytes(b"123")
    os.utime(disk / "a")
    with open(disk / "a", "rb", buffering=0) as file:
        os.utime(file.fileno())
        file.seek(1)
        file.seek(0, os.SEEK_END)
        number = {"x86_64": 5, "aarch64": 80}[os.uname().machine]
        ctypes.CDLL(None).syscall(
            number, file.fileno(), ctypes.create_string_buffer(1024)
        )  # which some libcs don't use


def all_calls(disk: Path, witness: Witness) -> None:
    """A call of each kind on the folder, and some elsewhere."""
    os.stat("/")
    os.mkdir(disk / "d")
    os.close(os.open(disk / "a", os.O_CREAT | os.O_RDWR))
    os.chdir(disk / "d")
    Path("relative").write_bytes(b"123")
    os.rename("relative", disk / "b")
    os.link(disk / "b", disk / "c")
    os.symlink("../c", "s")
    os.readlink("s")
    with open(disk / "b", "rb", buffering=0) as source, open(disk / "a", "wb", buffering=0) as goal:
        os.sendfile(goal.fileno(), source.fileno(), 0, 3)
        os.copy_file_range(source.fileno(), goal.fileno(), 1)
        os.fsync(goal.fileno())
        os.ftruncate(goal.fileno(), 1)
    folder = os.open(disk, os.O_DIRECTORY)
    os.unlink("a", dir_fd=folder)
    os.close(folder)
    os.listdir(disk)
    os.rmdir(disk / "none") if (disk / "none").exists() else None
    witness("\udcff and \N{SNOWMAN}")
    os.write(0x6ACE_D00D, b"\xff")
    time.sleep(1)
