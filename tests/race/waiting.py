"""Racers that wait, each in another way, for an hour or for each other."""

import asyncio
import mmap
import multiprocessing
import os
import queue
import select
import threading
import time
from pathlib import Path

from chaos.child.witness import Witness

HOUR_S = 3600.0


def event(disk: Path, witness: Witness) -> bool:
    return threading.Event().wait(HOUR_S)


def selecting(disk: Path, witness: Witness) -> list[int]:
    reader, _ = os.pipe()
    return [len(ready) for ready in select.select([reader], [], [reader], HOUR_S)]


def polling(disk: Path, witness: Witness) -> int:
    reader, _ = os.pipe()
    poll = select.poll()
    poll.register(reader)
    return len(poll.poll(HOUR_S * 1000))


def edges(disk: Path, witness: Witness) -> int:
    reader, _ = os.pipe()
    epoll = select.epoll()
    epoll.register(reader, select.EPOLLIN)
    return len(epoll.poll(HOUR_S))


def coroutine(disk: Path, witness: Witness) -> int:
    asyncio.run(asyncio.sleep(HOUR_S))
    return 0


def until(disk: Path, witness: Witness) -> int:
    """A loop that the clock must end, and that sleeps."""
    end, rounds = time.monotonic() + HOUR_S, 0
    while time.monotonic() < end:
        time.sleep(60)
        rounds += 1
    return rounds


def told_by_thread(disk: Path, witness: Witness) -> bool:
    done = threading.Event()

    def work() -> None:
        for number in range(3):
            (disk / f"{witness.number}.{number}").touch()
        done.set()

    threading.Thread(target=work).start()
    return done.wait(HOUR_S)


def told_by_child(disk: Path, witness: Witness) -> bool:
    ours, theirs = multiprocessing.Pipe()
    pid = os.fork()
    if pid == 0:
        (disk / f"{witness.number}.child").touch()
        theirs.send("done")
        os._exit(0)
    told = ours.poll(HOUR_S)
    os.waitpid(pid, 0)
    return told


def taken_from_queue(disk: Path, witness: Witness) -> int:
    items: queue.Queue[int] = queue.Queue()

    def work() -> None:
        (disk / f"{witness.number}.item").touch()
        items.put(7)

    threading.Thread(target=work).start()
    return items.get(timeout=HOUR_S)


def robs_the_patient(disk: Path, witness: Witness) -> None:
    """Takes a lock for a dead one's once it has slept three times, however soon that was."""
    lock = disk / "lock"
    for tries in range(10):
        try:
            lock.mkdir()
            break
        except FileExistsError:
            if tries >= 3:
                break
            time.sleep(0.1)
    with witness.section():
        (disk / "work").touch()


def maps(disk: Path, witness: Witness) -> None:
    with open(disk / "mapped", "r+b") as file, mmap.mmap(file.fileno(), 8) as memory:
        memory[0] += 1


def make_mapped(disk: Path) -> None:
    (disk / "mapped").write_bytes(bytes(8))
