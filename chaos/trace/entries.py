"""From the portable engine's journal to operations, and what the journal missed.

The journal (`chaos/child/ledger.py` has its format) names inodes; here they become nodes, names are followed, and
the files' contents are kept along, so that at the end the folder can be held against what was written down. Where
they differ, code has called the operating system by itself: the file is not measured. Read `portable.py` next.
"""

import base64
import json
import os
import stat
from typing import Any, final

from chaos.trace.model import Ack, Frame, InitialNode, Kind, NodeType, Op, Sync, Unmeasured
from chaos.trace.nodes import Node, Nodes, type_of

__all__ = ["Entries"]

_TYPES = {Kind.CREATE: stat.S_IFREG, Kind.MKDIR: stat.S_IFDIR, Kind.SYMLINK: stat.S_IFLNK}
_BY_ITSELF = "by code that calls the operating system by itself (a C extension, or another program)"


@final
class Entries:
    """Reads one journal.

    Args:
        nodes: the table, after its scan.
        initial: what the scan found.
    """

    def __init__(self, nodes: Nodes, initial: tuple[InitialNode, ...]) -> None:
        self._nodes = nodes
        self._contents = {node.node: bytearray(node.data) for node in initial}
        self._modes = {node.node: node.mode for node in initial}
        self._processes: dict[int, int] = {}
        self._threads: dict[tuple[int, int], int] = {}
        self._thread_counts: dict[int, int] = {}
        self._stacks: dict[tuple[int, int], tuple[Frame, ...]] = {}
        self._frames: dict[Frame, Frame] = {}
        self._unmeasured: dict[tuple[str, str], None] = {}
        self.operations: list[Op] = []
        self.acks: list[Ack] = []
        self.notes: list[str] = []
        self.calls = 0
        self.outside = 0

    @property
    def unmeasured(self) -> tuple[Unmeasured, ...]:
        """What could not be followed."""
        return tuple(Unmeasured(path=path, reason=reason) for path, reason in self._unmeasured)

    def read(self, journal: str) -> None:
        """Take in all entries."""
        with open(journal, "rb") as file:
            for line in file:
                if line != b"\n":
                    self._line(line)

    def compare(self) -> None:
        """Hold the folder as it is now against what was written down."""
        real = dict(self._real(self._nodes.folder, ""))
        expected = dict(self._expected(self._nodes.root))
        for path in sorted(real.keys() | expected.keys()):
            difference = self._difference(path, real.get(path), expected.get(path))
            if difference:
                self._miss(path, difference)

    def _line(self, line: bytes) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            self.notes.append("a process was killed while it wrote an entry: its last call is not recorded")
            return
        if "frames" in entry:
            frames = (Frame(file, number, function) for file, number, function in entry["frames"])
            interned = tuple(self._frames.setdefault(frame, frame) for frame in frames)
            self._stacks[entry["pid"], entry["stack"]] = interned
        elif "ack" in entry:
            self.calls += 1
            process = self._process(entry["pid"])
            self.acks.append(Ack(after=len(self.operations), process=process, value=entry["ack"]))
        elif "outside" in entry:
            self.calls += 1
            self.outside += 1
        elif "miss" in entry:
            node = self._node(entry.get("key"))
            self._miss(entry.get("path") or (node.path if node else ""), entry["miss"])
        else:
            self.calls += 1
            self._operation(Kind(entry["kind"]), entry)

    def _operation(self, kind: Kind, entry: dict[str, Any]) -> None:
        if kind in _TYPES:
            self._made(kind, entry)
        elif kind is Kind.LINK:
            self._linked(entry)
        elif kind in {Kind.UNLINK, Kind.RMDIR}:
            self._removed(kind, entry)
        elif kind is Kind.RENAME:
            self._renamed(entry)
        elif kind is Kind.SYNC:
            self._add(kind, entry, None)
        else:
            node = self._node(entry["key"])
            if node is not None:
                self._changed(kind, entry, node)
            elif not self._nodes.exclude:
                self._miss("", f"{entry['call']} on a file that was made {_BY_ITSELF}")

    def _changed(self, kind: Kind, entry: dict[str, Any], node: Node) -> None:
        fields: dict[str, Any] = {}
        if kind is Kind.WRITE:
            data, offset = base64.b64decode(entry["data"]), entry["offset"]
            content = self._contents[node.number]
            content.extend(bytes(max(0, offset - len(content))))
            content[offset : offset + len(data)] = data
            fields = {"data": data, "offset": offset, "sync": Sync(entry["sync"])}
        elif kind is Kind.TRUNCATE:
            content = self._contents[node.number]
            content.extend(bytes(max(0, entry["size"] - len(content))))
            del content[entry["size"] :]
            fields = {"size": entry["size"]}
        elif kind is Kind.CHMOD:
            self._modes[node.number] = fields["mode"] = entry["mode"]
        else:
            fields = {"errno": entry.get("errno", 0)}
        self._add(kind, entry, node, **fields)

    def _made(self, kind: Kind, entry: dict[str, Any]) -> None:
        parent, name = self._entry(entry, "parent", "name")
        if "name" in entry and (parent is None or self._nodes.excludes(parent.path_of(name))):
            return
        if parent is not None and name in parent.entries:
            self._miss(parent.path_of(name), f"removed {_BY_ITSELF}")
            self._nodes.unlink(parent, name)
        device, inode = entry["key"]
        status = os.stat_result((_TYPES[kind] | entry.get("mode", 0), inode, device, 1, 0, 0, 0, 0, 0, 0))
        node = self._nodes.add(status, entry.get("target", ""))
        self._contents[node.number], self._modes[node.number] = bytearray(), entry.get("mode", 0)
        fields: dict[str, Any] = {"target": node.target} if kind is Kind.SYMLINK else {"mode": entry["mode"]}
        if parent is not None:
            self._nodes.link(node, parent, name)
            fields |= {"parent": parent.number, "name": name}
        self._add(kind, entry, node, **fields)

    def _linked(self, entry: dict[str, Any]) -> None:
        node = self._node(entry["key"])
        parent, name = self._entry(entry, "parent", "name")
        if node is None or parent is None or self._nodes.excludes(parent.path_of(name)):
            return
        victim = parent.entries.get(name)
        if victim is not None:
            self._nodes.unlink(parent, name)
        self._nodes.link(node, parent, name)
        path, over = parent.path_of(name), None if victim is None else victim.number
        self._add(Kind.LINK, entry, node, path=path, parent=parent.number, name=name, victim=over)

    def _removed(self, kind: Kind, entry: dict[str, Any]) -> None:
        parent, name = self._entry(entry, "parent", "name")
        if parent is None or name not in parent.entries:
            return
        node = parent.entries[name]
        self._add(kind, entry, node, path=parent.path_of(name), parent=parent.number, name=name)
        self._nodes.unlink(parent, name)

    def _renamed(self, entry: dict[str, Any]) -> None:
        parent, name = self._entry(entry, "parent", "name")
        to_parent, to_name = self._entry(entry, "to_parent", "to_name")
        node = parent.entries.get(name) if parent is not None else None
        arrives = to_parent is not None and not self._nodes.excludes(to_parent.path_of(to_name))
        if parent is None or node is None:
            if to_parent is not None and arrives:
                self._miss(to_parent.path_of(to_name), "a file that was not followed was renamed to this name")
            return
        path = parent.path_of(name)
        if to_parent is None or not arrives:
            kind = Kind.RMDIR if node.type is NodeType.DIRECTORY else Kind.UNLINK
            self._add(kind, entry, node, path=path, parent=parent.number, name=name)
            self._nodes.unlink(parent, name)
            return
        victim = to_parent.entries.get(to_name)
        to_path, over = to_parent.path_of(to_name), None if victim is None else victim.number
        to = {"to_parent": to_parent.number, "to_name": to_name, "to_path": to_path, "victim": over}
        self._add(Kind.RENAME, entry, node, path=path, parent=parent.number, name=name, **to)
        if victim is not None:
            self._nodes.unlink(to_parent, to_name)
        self._nodes.move(node, (parent, name), (to_parent, to_name))

    def _entry(self, entry: dict[str, Any], parent: str, name: str) -> tuple[Node | None, str]:
        return self._node(entry.get(parent)), entry.get(name, "")

    def _node(self, key: list[int] | None) -> Node | None:
        return None if key is None else self._nodes.by_key.get((key[0], key[1]))

    def _add(self, kind: Kind, entry: dict[str, Any], node: Node | None, **fields: Any) -> None:
        pid = entry["pid"]
        if node is not None:
            fields.setdefault("path", node.path)
            fields["node"] = node.number
        process, thread = self._process(pid), self._thread(pid, entry["thread"])
        source = self._stacks.get((pid, entry["stack"]), ())
        seq, call = len(self.operations), entry["call"]
        op = Op(seq=seq, kind=kind, call=call, process=process, thread=thread, source=source, **fields)
        self.operations.append(op)

    def _process(self, pid: int) -> int:
        return self._processes.setdefault(pid, len(self._processes))

    def _thread(self, pid: int, thread: int) -> int:
        number = self._threads.get((pid, thread))
        if number is None:
            number = self._thread_counts.get(pid, 0)
            self._thread_counts[pid] = number + 1
            self._threads[pid, thread] = number
        return number

    def _miss(self, path: str, reason: str) -> None:
        self._unmeasured[path, reason] = None

    def _real(self, folder: str, prefix: str) -> list[tuple[str, os.stat_result]]:
        found = []
        for name in sorted(os.listdir(folder)):
            path, whole = prefix + name, os.path.join(folder, name)
            status = os.lstat(whole)
            if type_of(status.st_mode) is None or self._nodes.excludes(path):
                continue
            found.append((path, status))
            if stat.S_ISDIR(status.st_mode):
                found += self._real(whole, path + "/")
        return found

    def _expected(self, folder: Node) -> list[tuple[str, Node]]:
        found = []
        for name, node in folder.entries.items():
            found.append((folder.path_of(name), node))
            if node.type is NodeType.DIRECTORY:
                found += self._expected(node)
        return found

    def _difference(self, path: str, status: os.stat_result | None, node: Node | None) -> str:
        if status is None:
            return f"removed {_BY_ITSELF}"
        if node is None or type_of(status.st_mode) is not node.type:
            return f"made {_BY_ITSELF}"
        whole = os.path.join(self._nodes.folder, path)
        if node.type is NodeType.SYMLINK:
            return "" if os.readlink(whole) == node.target else f"made {_BY_ITSELF}"
        if stat.S_IMODE(status.st_mode) != self._modes[node.number]:
            return f"its mode was changed {_BY_ITSELF}"
        if node.type is NodeType.FILE:
            with open(whole, "rb") as file:
                if file.read() != self._contents[node.number]:
                    return f"written {_BY_ITSELF}"
        return ""
