"""Faults in time: a call that waits, one that never returns, a process that stands still before its next step.

Read `chaos/syscalls/calls.py` for what a policy may decide.
"""

from chaos.faults.fault import Deed, Fault
from chaos.syscalls.calls import Call, Hold

__all__ = ["wait"]


def wait(fault: Fault, _: Call) -> Hold:
    """Hold the call for as long as the fault says: for ever when it hangs."""
    return Hold(None if fault.deed is Deed.HANG else fault.duration_s, stop=fault.deed is Deed.PAUSE)
