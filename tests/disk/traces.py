"""Traces made by hand or by Hypothesis, with no engine: a tiny file system that notes what is done to it.

`Script` keeps names and nodes in plain dictionaries, on purpose apart from `chaos.disk.tree`, so that tests of the one
are not tests of the other by itself. `scripts()` is the strategy of short valid runs over three names.
"""

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st

from chaos.trace.model import Ack, Frame, InitialNode, Kind, NodeType, Op, Sync, Trace

__all__ = ["Script", "scripts"]


class Script:
    """Records operations on a made-up folder. Paths are relative; a file may also be named by its node number."""

    def __init__(self) -> None:
        self.entries: dict[int, dict[str, int]] = {0: {}}
        self.types: dict[int, NodeType] = {0: NodeType.DIRECTORY}
        self.modes: dict[int, int] = {0: 0o755}
        self.data: dict[int, bytes] = {}
        self.targets: dict[int, str] = {}
        self.ops: list[Op] = []
        self.acks: list[Ack] = []
        self.initial: tuple[InitialNode, ...] | None = None

    def start(self) -> "Script":
        """What was done so far becomes the durable tree before the run."""
        names: dict[int, list[tuple[int, str]]] = {node: [] for node in self.types}
        for parent, entries in self.entries.items():
            for name, node in sorted(entries.items()):
                names[node].append((parent, name))
        self.initial = tuple(
            InitialNode(
                node=node,
                type=kind,
                mode=self.modes[node],
                data=self.data.get(node, b""),
                target=self.targets.get(node, ""),
                names=tuple(names[node]),
            )
            for node, kind in self.types.items()
            if node == 0 or names[node]
        )
        self.ops = []
        return self

    def trace(self) -> Trace:
        initial = self.initial or (InitialNode(node=0, type=NodeType.DIRECTORY, mode=0o755),)
        return Trace(engine="script", command="script", initial=initial, ops=tuple(self.ops), acks=tuple(self.acks))

    def find(self, path: str | int) -> int:
        if isinstance(path, int):
            return path
        node = 0
        for name in path.split("/") if path else ():
            node = self.entries[node][name]
        return node

    def place(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        return self.find(above), name

    def exists(self, path: str) -> bool:
        try:
            self.find(path)
        except KeyError:
            return False
        return True

    def note(self, kind: Kind, call: str = "", **fields: object) -> Op:
        seq = len(self.ops)
        source = (Frame("/app/store.py", 100 + seq, "save"),)
        op = Op(seq=seq, kind=kind, call=call or kind.value, source=source)
        self.ops.append(replace(op, **fields))  # type: ignore[arg-type]
        return self.ops[-1]

    def ack(self, value: str = "") -> "Script":
        self.acks.append(Ack(after=len(self.ops), process=0, value=value or str(len(self.acks))))
        return self

    def _make(self, kind: Kind, node_type: NodeType, path: str | None, mode: int, target: str = "") -> int:
        node = len(self.types)
        self.types[node], self.modes[node] = node_type, mode
        parent, name = (None, "") if path is None else self.place(path)
        if parent is not None:
            self.entries[parent][name] = node
        self.note(kind, node=node, path=path or "", parent=parent, name=name, mode=mode, target=target)
        return node

    def create(self, path: str, mode: int = 0o644) -> int:
        node = self._make(Kind.CREATE, NodeType.FILE, path, mode)
        self.data[node] = b""
        return node

    def tmpfile(self) -> int:
        node = self._make(Kind.CREATE, NodeType.FILE, None, 0o600)
        self.data[node] = b""
        return node

    def mkdir(self, path: str) -> int:
        node = self._make(Kind.MKDIR, NodeType.DIRECTORY, path, 0o755)
        self.entries[node] = {}
        return node

    def symlink(self, path: str, target: str) -> int:
        node = self._make(Kind.SYMLINK, NodeType.SYMLINK, path, 0o777, target)
        self.targets[node] = target
        return node

    def link(self, source: str | int, path: str) -> None:
        node = self.find(source)
        parent, name = self.place(path)
        self.entries[parent][name] = node
        self.note(Kind.LINK, node=node, path=path, parent=parent, name=name)

    def unlink(self, path: str) -> int:
        parent, name = self.place(path)
        node = self.entries[parent].pop(name)
        self.note(Kind.UNLINK, node=node, path=path, parent=parent, name=name)
        return node

    def rmdir(self, path: str) -> None:
        parent, name = self.place(path)
        node = self.entries[parent].pop(name)
        self.note(Kind.RMDIR, node=node, path=path, parent=parent, name=name)

    def rename(self, path: str, to_path: str) -> None:
        parent, name = self.place(path)
        to_parent, to_name = self.place(to_path)
        node, victim = self.entries[parent][name], self.entries[to_parent].get(to_name)
        if node != victim:
            del self.entries[parent][name]
            self.entries[to_parent][to_name] = node
        self.note(
            Kind.RENAME,
            node=node,
            path=path,
            parent=parent,
            name=name,
            to_parent=to_parent,
            to_name=to_name,
            to_path=to_path,
            victim=victim,
        )

    def exchange(self, path: str, to_path: str) -> None:
        parent, name = self.place(path)
        to_parent, to_name = self.place(to_path)
        node, victim = self.entries[parent][name], self.entries[to_parent][to_name]
        self.entries[parent][name], self.entries[to_parent][to_name] = victim, node
        self.note(
            Kind.EXCHANGE,
            node=node,
            path=path,
            parent=parent,
            name=name,
            to_parent=to_parent,
            to_name=to_name,
            to_path=to_path,
            victim=victim,
        )

    def write(self, path: str | int, data: bytes, offset: int | None = None, sync: Sync = Sync.NONE) -> None:
        """Write at an offset, or at the end."""
        node = self.find(path)
        old = self.data[node]
        at = len(old) if offset is None else offset
        old = old.ljust(at, b"\0")
        self.data[node] = old[:at] + data + old[at + len(data) :]
        shown = path if isinstance(path, str) else ""
        self.note(Kind.WRITE, node=node, path=shown, offset=at, data=data, sync=sync)

    def truncate(self, path: str | int, size: int = 0) -> None:
        node = self.find(path)
        self.data[node] = self.data[node][:size].ljust(size, b"\0")
        self.note(Kind.TRUNCATE, node=node, path=path if isinstance(path, str) else "", size=size)

    def chmod(self, path: str, mode: int) -> None:
        node = self.find(path)
        self.modes[node] = mode
        self.note(Kind.CHMOD, node=node, path=path, mode=mode)

    def fsync(self, path: str | int, errno: int = 0) -> None:
        self.note(Kind.FSYNC, node=self.find(path), path=path if isinstance(path, str) else "", errno=errno)

    def fdatasync(self, path: str | int, errno: int = 0) -> None:
        self.note(Kind.FDATASYNC, node=self.find(path), path=path if isinstance(path, str) else "", errno=errno)

    def sync(self) -> None:
        self.note(Kind.SYNC)

    def listing(self) -> dict[str, object]:
        """Path -> what is there, with hard-linked files told by the sorted list of their paths."""
        found: dict[str, tuple[int, object]] = {}
        self._list(0, "", found)
        links: dict[int, list[str]] = {}
        for path, (node, _) in found.items():
            links.setdefault(node, []).append(path)
        return {path: (what, tuple(sorted(links[node]))) for path, (node, what) in found.items()}

    def _list(self, directory: int, prefix: str, found: dict[str, tuple[int, object]]) -> None:
        for name, node in self.entries[directory].items():
            path, kind = prefix + name, self.types[node]
            if kind is NodeType.DIRECTORY:
                found[path] = (node, ("directory", self.modes[node]))
                self._list(node, path + "/", found)
            elif kind is NodeType.SYMLINK:
                found[path] = (node, ("symlink", self.targets[node]))
            else:
                found[path] = (node, ("file", self.modes[node], self.data[node]))


NAMES = ("a", "b", "d", "d/a", "d/b")
SIZES = (1, 100, 4096, 5000, 9000)


@st.composite
def scripts(draw: st.DrawFn, most: int = 10, prepared: bool = True) -> Script:
    """A short valid run over the names a, b and d (a folder, or a file), with d/a and d/b when d is a folder."""
    script = Script()
    if prepared and draw(st.booleans()):
        script.create("a")
        script.write("a", b"old" * 3000)
        script.start()
    for _ in range(draw(st.integers(1, most))):
        choices = possible(script)
        draw(st.sampled_from(choices))(draw)
    return script


def possible(script: Script) -> list[Callable[[st.DrawFn], object]]:
    """What can be done next, as functions that do it with drawn details."""
    files = [name for name in NAMES if script.exists(name) and script.types[script.find(name)] is NodeType.FILE]
    folders = ["", *(n for n in NAMES if script.exists(n) and script.types[script.find(n)] is NodeType.DIRECTORY)]
    free = [n for n in NAMES if not script.exists(n) and n.rpartition("/")[0] in folders]
    able: list[Callable[[st.DrawFn], object]] = [lambda draw: script.fsync(draw(st.sampled_from(folders)))]
    able.append(lambda draw: script.sync() if draw(st.integers(0, 3)) == 0 else script.ack())
    if free:
        able.append(lambda draw: script.create(draw(st.sampled_from(free))))
        if "d" in free:
            able.append(lambda draw: script.mkdir("d"))
            able.append(lambda draw: script.symlink("d", "a"))
        if files:
            able.append(lambda draw: script.link(draw(st.sampled_from(files)), draw(st.sampled_from(free))))
            able.append(lambda draw: script.rename(draw(st.sampled_from(files)), draw(st.sampled_from(free))))
    if files:
        able.extend([lambda draw: _write(script, files, draw)] * 3)
        able.append(lambda draw: script.truncate(draw(st.sampled_from(files)), draw(st.sampled_from((0, *SIZES)))))
        able.append(lambda draw: script.unlink(draw(st.sampled_from(files))))
        able.append(lambda draw: script.fsync(draw(st.sampled_from(files)), draw(st.sampled_from((0, 0, 0, 5)))))
        able.append(lambda draw: script.fdatasync(draw(st.sampled_from(files))))
        able.append(lambda draw: script.chmod(draw(st.sampled_from(files)), draw(st.sampled_from((0o600, 0o644)))))
    if len(files) > 1:
        able.append(lambda draw: script.rename(*draw(st.permutations(files))[:2]))
        able.append(lambda draw: script.exchange(*draw(st.permutations(files))[:2]))
    if "d" in folders and not script.entries[script.find("d")]:
        able.append(lambda draw: script.rmdir("d"))
    return able


def _write(script: Script, files: list[str], draw: st.DrawFn) -> None:
    path = draw(st.sampled_from(files))
    size = len(script.data[script.find(path)])
    length = draw(st.sampled_from(SIZES))
    offset = draw(st.sampled_from((0, size, max(size - 100, 0), 4096)))
    fill = bytes([draw(st.integers(97, 122))])
    sync = draw(st.sampled_from((Sync.NONE, Sync.NONE, Sync.NONE, Sync.DATA, Sync.ALL)))
    script.write(path, fill * length, offset, sync)
