"""What a program did to the disk: operations, acknowledgements, and the trace that holds them in order.

The data types are re-exported here; `recorder.py` (which needs an engine) is imported by its own name.
"""

from chaos.trace.model import Ack, Frame, InitialNode, Kind, NodeType, Op, Sync, Trace, Unmeasured

__all__ = ["Ack", "Frame", "InitialNode", "Kind", "NodeType", "Op", "Sync", "Trace", "Unmeasured"]
