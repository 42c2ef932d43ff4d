"""Python with the portable engine's functions in it behaves as without them."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chaos.child import ack, recorded_calls
from chaos.trace.options import RecordOptions
from chaos.trace.portable import record
from tests.trace.engine_conformance import steps


def in_both(code: str, folder: Path) -> tuple[str, str]:
    """What a program prints without the engine, and with it, each in an empty folder."""
    printed = []
    for name in ("disk-plain", "disk-interposed"):
        disk = folder / name
        disk.mkdir()
        start = "import io, os, sys, tempfile, shutil\nos.chdir(sys.argv[1])\n"
        command = [sys.executable, "-W", "always", "-c", start + code, str(disk)]
        with open(folder / "out", "wb") as out:
            if name == "disk-plain":
                subprocess.run(command, stdout=out, stderr=out, check=False)
            else:
                record(command, disk, options=RecordOptions(output=out.fileno()))
        printed.append((folder / "out").read_text().replace(name, "disk"))
    return printed[0], printed[1]


MODES = ["w", "wb", "a", "ab", "x", "w+", "wb+", "r+", "wt", "+w", "r", "rb", "q", "rw", "wbt", "ww", "+", "U", "a+b"]
FILES = """
settings = [{}, {"buffering": 0}, {"buffering": 1}, {"buffering": 100}, {"newline": ""}, {"newline": "q"}]
settings.append({"encoding": "ascii", "errors": "strict"})
for mode, kept in itertools.product(["", *MODES], settings):
    name = "f" if "x" not in mode else mode + str(kept)
    try:
        with open(name, mode, **kept) as file:
            buffer = getattr(file, "buffer", file)
            raw = getattr(buffer, "raw", buffer)
            print(mode, kept, type(file).__name__, type(buffer).__name__, isinstance(raw, io.FileIO))
            print(file.name, file.mode, raw.mode, file.readable(), file.writable(), file.seekable())
            print(getattr(file, "line_buffering", None), getattr(file, "encoding", None))
    except Exception as error:
        print(mode, kept, type(error).__name__, error)
"""


def without_places(text: str) -> str:
    """A warning's place is that of the engine's own `open` where it leaves a file to the real one."""
    return re.sub(r"(?m)^.*:\d+: (\w+Warning.*)\n( .*\n)?", r"\1\n", text)


def test_open_gives_the_same_kinds_of_files_and_the_same_errors(tmp_path: Path) -> None:
    code = f"import itertools; MODES = {MODES!r}\n{FILES}"
    plain, interposed = in_both(code, tmp_path)
    assert without_places(plain) == without_places(interposed)
    assert plain.count("TextIOWrapper") > 10


@pytest.mark.parametrize(
    "code",
    [
        "print([os.unlink in os.supports_dir_fd, os.open in os.supports_dir_fd, os.chmod in os.supports_fd])",
        "print(shutil.rmtree.avoids_symlink_attacks)",
        "print(os.open.__name__, os.replace.__doc__ == os.replace.__doc__, open.__name__, io.open is open)",
        "os.write(99, b'x')",
        "os.open('none/f', os.O_CREAT | os.O_WRONLY)",
        "os.open(b'bytes', os.O_CREAT | os.O_WRONLY); print(os.listdir('.'))",
        "os.mkdir('a\\0b')",
        "os.rename('none', 'other')",
        "os.replace(1.5, 'x')",
        "open('f', 'w').write('x'); print(os.stat('f').st_size)",
        "f = open('f', 'w'); f.write('x'); f.close(); f.close(); print(f.closed)\nf.write('y')",
        "f = open('f', 'wb', 0); print(f.write(b''), f.write(bytearray(b'ab')), f.write(memoryview(b'cd')), f.tell())",
        "print(open('f', 'w').write('é'), os.path.getsize('f'))",
        "f = open('f', 'w+'); f.write('abc'); f.seek(1); print(f.read(), f.truncate(1)); f.seek(0); print(f.read())",
        "print(open(os.open('f', os.O_CREAT | os.O_RDWR), 'w+').write('x'))",
        "print(open('f', 'w', opener=lambda path, flags: os.open(path, flags, 0o600)).name, oct(os.stat('f').st_mode))",
        "os.umask(0o22); open('f', 'w').close(); print(oct(os.stat('f').st_mode))",
        "print(os.get_inheritable(open('f', 'w').fileno()))",
        "print(type(tempfile.NamedTemporaryFile(dir='.').file), len(os.listdir('.')))",
        "with tempfile.TemporaryFile(dir='.') as f: print(f.write(b'x'), f.name.__class__)",
        "a, b = os.pipe(); print(os.write(b, b'x'), os.read(a, 1), open(b, 'wb', closefd=False).write(b'y'))",
        "print(open('/dev/null', 'w').write('x'))",
        "os.truncate('none', 3)",
        "f = open('f', 'wb'); print(os.truncate(f.fileno(), 5), os.fstat(f.fileno()).st_size)",
        "os.close(os.open('d', os.O_CREAT)); print(os.link('d', 'e'), os.stat('e').st_nlink)",
        "print(os.symlink('d', 's'), os.readlink('s'))",
        "import pickle; print(pickle.loads(pickle.dumps([os.replace, open])) == [os.replace, open])",
        "class C: unlink = os.unlink\nC().unlink('none')",
        "f = io.FileIO('f', 'w'); print(f, f.write(b'x')); f.close(); print(f)",
        "import mmap; f = open('f', 'wb+', 0); f.write(b'abc'); m = mmap.mmap(f.fileno(), 3); print(m[:], type(m))",
        "sys.stdout.write('out'); sys.stdout.flush(); print('x', file=sys.stderr)",
        "print(os.sendfile(os.open('t', os.O_CREAT | os.O_RDWR), os.open('/dev/null', os.O_RDONLY), 0, 5))",
    ],
)
def test_results_and_errors_are_the_same(tmp_path: Path, code: str) -> None:
    def last_lines(text: str) -> list[str]:
        """The traceback's own frames are ours; what is raised and printed must not be."""
        return [line for line in text.splitlines() if not line.startswith((" ", "Traceback"))]

    plain, interposed = in_both(code, tmp_path)
    assert last_lines(plain) == last_lines(interposed)
    assert last_lines(plain)


def test_the_magic_descriptor_is_the_acknowledgements_own() -> None:
    assert recorded_calls.ACK_DESCRIPTOR == ack.ACK_DESCRIPTOR


def test_this_process_is_untouched_by_a_recording(tmp_path: Path) -> None:
    before: list[Any] = [open, io.open, io.FileIO, os.open, os.write, os.replace, os.environ.copy(), list(sys.path)]
    record((tmp_path / "f").touch, tmp_path)
    assert before == [open, io.open, io.FileIO, os.open, os.write, os.replace, os.environ.copy(), list(sys.path)]


def test_a_target_with_a_package_chaos_of_its_own_is_followed(tmp_path: Path) -> None:
    package, disk = tmp_path / "lib" / "chaos", tmp_path / "disk"
    package.mkdir(parents=True)
    disk.mkdir()
    (package / "__init__.py").write_text("def work():\n    open('f', 'w').close()\n")
    options = RecordOptions(cwd=str(disk), env={"PYTHONPATH": str(tmp_path / "lib")})
    trace = record([sys.executable, "-c", "import chaos; chaos.work()"], disk, options=options)
    assert trace.exit_code == 0
    assert steps(trace) == [("create", "f")]
