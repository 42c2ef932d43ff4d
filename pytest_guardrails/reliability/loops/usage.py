"""What this process has used so far: processor time, resident memory, open files. Read `facts.py` for what is kept."""

import os
import sys
import time as _time

if sys.platform != "linux":
    import psutil  # costs 20 ms, and is needed only where there is no /proc

__all__ = ["cpu_s", "open_files", "rss_bytes"]

_process_time = _time.process_time  # taken at import, so that a program that patches `time` does not break it


def cpu_s() -> float:
    """Processor time of this process so far, user and system, all threads, in seconds."""
    return _process_time()


def rss_bytes() -> int:
    """Resident memory of this process."""
    if sys.platform != "linux":
        return int(psutil.Process().memory_info().rss)
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    """Open descriptors of this process."""
    if sys.platform != "linux":
        return int(psutil.Process().num_fds())
    return len(os.listdir("/proc/self/fd")) - 1  # the listing itself opens one
