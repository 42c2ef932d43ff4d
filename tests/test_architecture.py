"""The house rules that a machine can hold: import directions, sizes, public faces, and who may see pytest.

The tables here are the single place where the structure is stated for machines; `README.md` says it for people.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULE_LIMIT, TEST_MODULE_LIMIT, FUNCTION_LIMIT, PARAMETER_LIMIT = 600, 800, 60, 8
BANNED_NAMES = {"utils", "helpers", "common", "manager", "base", "misc", "core"}

# Room -> rooms that it may import. A module belongs to the longest room name that is a prefix of its own.
# Standard library and third parties are not listed, except in FORBIDDEN_PACKAGES below.
ALLOWED: dict[str, set[str]] = {
    "chaos": set(),
    "chaos.__main__": {"chaos.cli", "chaos.errors"},
    "chaos.errors": set(),
    "chaos.child": set(),
    "chaos.trace.model": set(),
    "chaos.observations": {"chaos.trace.model"},
    "chaos.history": {"chaos.observations", "chaos.child"},
    "chaos.syscalls": {"chaos.errors", "chaos.child"},
    "chaos.faults.fault": {"chaos.errors"},
    "chaos.faults.feedback": {"chaos.errors"},
    "chaos.faults.llm_script": {"chaos.errors", "chaos.faults.feedback"},
    "chaos.faults.network_rules": {"chaos.errors"},
    "chaos.faults": {
        "chaos.errors",
        "chaos.faults.fault",
        "chaos.faults.feedback",
        "chaos.faults.llm_script",
        "chaos.faults.network_rules",
        "chaos.syscalls",
        "chaos.child",
        "chaos.trace.model",
    },
    "chaos.trace.file": {"chaos.errors", "chaos.trace.model", "pytest_guardrails.reliability.durability"},
    "chaos.trace": {"chaos.errors", "chaos.child", "chaos.syscalls", "chaos.trace.model", "chaos.trace.file"},
    "chaos.disk.models": {"chaos.errors"},
    "chaos.disk": {
        "chaos.errors",
        "chaos.disk.models",
        "chaos.trace.model",
        "chaos.trace",
        "pytest_guardrails.faces",
    },
    "chaos.oracles": {"chaos.errors", "chaos.observations", "chaos.history", "chaos.trace.model", "chaos.child"},
    "chaos.race": {
        "chaos.errors",
        "chaos.observations",
        "chaos.history",
        "chaos.child",
        "chaos.trace.model",
        "chaos.trace",
        "chaos.syscalls",
        "chaos.disk",
        "chaos.explore",
    },
    "chaos.fleet.faults": {"chaos.errors", "chaos.faults.network_rules"},
    "chaos.fleet": {
        "pytest_guardrails.faces",
        "chaos.errors",
        "chaos.observations",
        "chaos.history",
        "chaos.child",
        "chaos.trace.model",
        "chaos.syscalls",
        "chaos.faults",
        "chaos.faults.fault",
        "chaos.faults.network_rules",
        "chaos.fleet.faults",
        "chaos.trace",
        "chaos.explore",
        "chaos.oracles",
    },
    "chaos.explore": {
        "chaos.errors",
        "chaos.observations",
        "chaos.child",
        "chaos.trace.model",
        "chaos.trace.file",
        "chaos.trace",
        "chaos.disk",
        "pytest_guardrails.reliability.durability",
    },
    "chaos.report": {
        "chaos.errors",
        "chaos.observations",
        "chaos.child",
        "chaos.trace.model",
        "chaos.trace",
        "chaos.oracles",
        "pytest_guardrails.errors",
        "pytest_guardrails.reliability.durability",
    },
    "chaos.scenario": {
        "pytest_guardrails.faces",
        "chaos.errors",
        "chaos.disk.models",
        "chaos.fleet.faults",
        "chaos.child",
        "chaos.faults.fault",
        "chaos.faults.feedback",
        "chaos.faults.llm_script",
        "chaos.faults.network_rules",
        "chaos.observations",
        "chaos.trace.model",
        "chaos.report",
    },
    "chaos.scenario.runner": {
        "pytest_guardrails.faces",
        "chaos.errors",
        "chaos.faults.fault",
        "chaos.child",
        "chaos.observations",
        "chaos.trace.model",
        "chaos.trace.file",
        "chaos.trace",
        "chaos.syscalls",
        "chaos.faults",
        "chaos.faults.llm_script",
        "chaos.faults.network_rules",
        "chaos.disk",
        "chaos.explore",
        "chaos.race",
        "chaos.fleet",
        "chaos.fleet.faults",
        "chaos.history",
        "chaos.oracles",
        "chaos.report",
        "chaos.scenario",
        "pytest_guardrails",
    },
    "chaos.cli": {
        "chaos",
        "chaos.errors",
        "chaos.faults.fault",
        "chaos.child",
        "chaos.observations",
        "chaos.syscalls",
        "chaos.trace.model",
        "chaos.trace.file",
        "chaos.trace",
        "chaos.disk",
        "chaos.disk.models",
        "chaos.explore",
        "chaos.oracles",
        "chaos.report",
        "chaos.scenario",
        "chaos.scenario.runner",
        "pytest_guardrails",
        "pytest_guardrails.errors",
        "pytest_guardrails.reliability.durability",
    },
    "pytest_guardrails": set(),
    "pytest_guardrails.errors": set(),
    "pytest_guardrails.hints": set(),
    "pytest_guardrails.callables": {"pytest_guardrails.errors", "pytest_guardrails.hints"},
    "pytest_guardrails.clock": {"pytest_guardrails.hints"},
    "pytest_guardrails.faces": set(),
    "pytest_guardrails.records": {"pytest_guardrails.hints"},
    "pytest_guardrails.reliability": set(),
    "pytest_guardrails.reliability.durability": {
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.faces",
        "pytest_guardrails.hints",
        "pytest_guardrails.records",
    },
    "pytest_guardrails.reliability.state": {
        "pytest_guardrails.callables",
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.faces",
        "pytest_guardrails.hints",
        "pytest_guardrails.records",
        "pytest_guardrails.reliability.durability",
    },
    "pytest_guardrails.reliability.telemetry": {
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.reliability.durability",
        "pytest_guardrails.reliability.state",
    },
    "pytest_guardrails.reliability.loops": {
        "pytest_guardrails.callables",
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.reliability.durability",
        "pytest_guardrails.reliability.state",
        "pytest_guardrails.reliability.telemetry",
    },
    "pytest_guardrails.reliability.processes": {
        "pytest_guardrails.callables",
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.faces",
        "pytest_guardrails.hints",
        "pytest_guardrails.records",
        "pytest_guardrails.reliability.durability",
        "pytest_guardrails.reliability.state",
        "pytest_guardrails.reliability.telemetry",
    },
    "pytest_guardrails.reliability.health": {
        "pytest_guardrails.callables",
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.faces",
        "pytest_guardrails.hints",
        "pytest_guardrails.records",
        "pytest_guardrails.reliability.durability",
        "pytest_guardrails.reliability.state",
        "pytest_guardrails.reliability.telemetry",
    },
    "pytest_guardrails.reliability.breakers": {
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.faces",
        "pytest_guardrails.hints",
        "pytest_guardrails.records",
        "pytest_guardrails.reliability.durability",
        "pytest_guardrails.reliability.state",
        "pytest_guardrails.reliability.telemetry",
    },
    "pytest_guardrails.cli": {
        "pytest_guardrails",
        "pytest_guardrails.errors",
        "pytest_guardrails.clock",
        "pytest_guardrails.faces",
        "pytest_guardrails.records",
        "pytest_guardrails.reliability.durability",
        "pytest_guardrails.reliability.state",
        "pytest_guardrails.reliability.breakers",
        "pytest_guardrails.reliability.processes",
        "pytest_guardrails.reliability.health",
    },
    "pytest_guardrails.plugin": {
        "chaos.child",
        "chaos.errors",
        "chaos.faults",
        "chaos.faults.feedback",
        "chaos.faults.llm_script",
        "chaos.faults.network_rules",
        "chaos.observations",
        "chaos.oracles",
        "chaos.report",
        "chaos.scenario",
        "chaos.scenario.runner",
    },
}
# Rooms whose modules may import nothing but the standard library and what the table above allows.
STANDARD_LIBRARY_ONLY = {
    "chaos.child",
    "chaos.syscalls",
    "chaos.trace",
    "chaos.disk",
    "chaos.explore",
    "chaos.race",
    "chaos.fleet",
}
PYTEST_ROOM = "pytest_guardrails.plugin"


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


SOURCES = {module_name(path): path for path in python_files("chaos", "pytest_guardrails")}


def room_of(module: str) -> str:
    fitting = [room for room in ALLOWED if module == room or module.startswith(room + ".")]
    return max(fitting, key=len)


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of every import in the file, wherever it stands, submodules named as deep as they are known."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            module = node.module or ""
            for alias in node.names:
                deeper = f"{module}.{alias.name}"
                yield node.lineno, deeper if deeper in SOURCES else module


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_point_one_way(module: str) -> None:
    room = room_of(module)
    wrong = []
    for line, imported in imported_modules(SOURCES[module]):
        if imported.split(".")[0] not in {"chaos", "pytest_guardrails"}:
            continue
        other = room_of(imported)
        if other != room and other not in ALLOWED[room]:
            wrong.append(f"{module}:{line} imports {imported}: {room} may not import {other}")
    assert not wrong, "\n".join(wrong)


def test_no_import_cycles() -> None:
    edges = {
        module: {imported for _, imported in imported_modules(path) if imported in SOURCES}
        for module, path in SOURCES.items()
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, "import cycle: " + " -> ".join([*trail[trail.index(module) :], module])
        if module not in done:
            for imported in sorted(edges[module]):
                # A package's own face re-exports its modules; importing the face from inside is the cycle.
                visit(imported, (*trail, module))
            done.add(module)

    for module in sorted(SOURCES):
        visit(module, ())


@pytest.mark.parametrize("room", sorted(STANDARD_LIBRARY_ONLY))
def test_room_uses_the_standard_library_only(room: str) -> None:
    foreign = [
        f"{module}:{line} imports {imported}"
        for module, path in SOURCES.items()
        if module == room or module.startswith(room + ".")
        for line, imported in imported_modules(path)
        if imported.split(".")[0] not in sys.stdlib_module_names | {"chaos", "pytest_guardrails"}
    ]
    assert not foreign, "\n".join(foreign)


def test_only_the_plugin_imports_pytest() -> None:
    wrong = [
        f"{module}:{line} imports {imported}"
        for module, path in SOURCES.items()
        if room_of(module) != PYTEST_ROOM
        for line, imported in imported_modules(path)
        if imported.split(".")[0] in {"pytest", "_pytest", "hypothesis"}
    ]
    assert not wrong, "\n".join(wrong)


def test_plugin_uses_public_pytest_names_only() -> None:
    wrong = [
        f"{module}:{line}"
        for module, path in SOURCES.items()
        for line, imported in imported_modules(path)
        if imported.split(".")[0] == "_pytest"
    ]
    assert not wrong


def test_importing_stack_and_harness_does_not_load_pytest() -> None:
    modules = [module for module in SOURCES if room_of(module) != PYTEST_ROOM and not module.endswith("__main__")]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted(set(sys.modules) & {'pytest', '_pytest', 'hypothesis'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_importing_the_stack_does_not_load_the_harness() -> None:
    modules = [m for m in SOURCES if m.startswith("pytest_guardrails") and room_of(m) != PYTEST_ROOM]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] == 'chaos'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", [*python_files("chaos", "pytest_guardrails", "scenarios", "tests")], ids=module_name)
def test_sizes_and_names(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (TEST_MODULE_LIMIT if "tests" in path.parts else MODULE_LIMIT), f"{path}: {lines} lines"
    assert path.stem not in BANNED_NAMES, f"{path}: a name that says nothing"
    for node in ast.walk(parse(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= FUNCTION_LIMIT, f"{path}:{node.lineno} {node.name}: {length} lines"
            if "tests" not in path.parts:
                arguments = node.args
                count = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
                method = bool(arguments.args) and arguments.args[0].arg in {"self", "cls"}
                assert count - method <= PARAMETER_LIMIT, f"{path}:{node.lineno} {node.name}: {count} parameters"


def public_names(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.If):  # a class that type checkers see as another one
            names.update(inner.name for inner in (*node.body, *node.orelse) if isinstance(inner, ast.ClassDef))
    return {name for name in names if not name.startswith("_")}


def stand_ins(tree: ast.Module) -> set[str]:
    """Names that are imported for type checkers, and something else at run time."""
    under_if = [inner for node in tree.body if isinstance(node, ast.If) for inner in node.body]
    return {alias.name for node in under_if if isinstance(node, ast.ImportFrom) for alias in node.names}


def declared_names(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            value = node.value  # type: ignore[attr-defined]
            return [element.value for element in value.elts]
    return None


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_public_face_is_declared(module: str) -> None:
    path = SOURCES[module]
    tree = parse(path)
    assert ast.get_docstring(tree), f"{path}: no module docstring"
    declared = declared_names(tree)
    if path.name == "__init__.py":
        if declared is not None:
            assert declared == sorted(declared), f"{path}: __all__ is not sorted"
        return
    if path.name == "__main__.py":
        return
    assert declared is not None, f"{path}: no __all__"
    differing = (set(declared) ^ public_names(tree)) - stand_ins(tree)
    assert not differing, f"{path}: __all__ and the public names differ by {sorted(differing)}"
