"""On which line each key and each array element of a TOML document stands.

`tomllib` says what a document holds but not where. This scanner walks a document *that tomllib has accepted* and
notes lines; it judges nothing and must not be given anything else. A place is a path of keys and indices, as one
would index the parsed document: `("expect", 0, "oracle")`. Read `loader.py` next.
"""

import re
from bisect import bisect_right
from typing import final

from chaos.scenario.toml import parse_toml

__all__ = ["Place", "locate"]

Place = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACES = re.compile(r"[ \t]*")
# The closing quotes of a multi-line string may be preceded by up to two more of them.
_STRING = re.compile(r'"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'', re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BARE_VALUE = re.compile(r"[^,\]}#\n]+")


def locate(text: str) -> dict[Place, int]:
    """The line, from 1, on which every key, table and array element of the valid document `text` begins."""
    return _Scanner(text).document()


@final
class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.lines: dict[Place, int] = {(): 1}
        self.tables: dict[Place, int] = {}  # arrays of tables, and how many elements each has so far
        self.line_ends = [match.start() for match in re.finditer("\n", text)]

    def document(self) -> dict[Place, int]:
        table: Place = ()
        while self.skip(_BLANK):
            if self.text.startswith("[", self.position):
                table = self.header()
            else:
                self.pair(table)
        return self.lines

    def header(self) -> Place:
        array = self.text.startswith("[[", self.position)
        self.position += 2 if array else 1
        self.skip(_SPACES)
        line = self.line()
        *parents, last = self.key()
        self.position += 2 if array else 1
        table: Place = ()
        for part in parents:
            table = self.inside((*table, part), line)
        table = (*table, last)
        if array:
            self.note(table, line)
            table = (*table, self.tables.get(table, 0))
            self.tables[table[:-1]] = self.tables.get(table[:-1], 0) + 1
        self.note(table, line)
        return table

    def inside(self, table: Place, line: int) -> Place:
        """A header's parent; when it is an array of tables, its last element is meant."""
        self.note(table, line)
        return (*table, self.tables[table] - 1) if table in self.tables else table

    def pair(self, table: Place) -> None:
        line = self.line()
        for part in self.key():
            table = (*table, part)
            self.note(table, line)
        self.position += 1  # the equals sign
        self.skip(_SPACES)
        self.value(table)

    def key(self) -> list[str]:
        parts = []
        while True:
            self.skip(_SPACES)
            if self.text[self.position] in "\"'":
                quoted = self.take(_STRING)
                parts.append(str(parse_toml(f"key = {quoted}")["key"]))
            else:
                parts.append(self.take(_BARE_KEY))
            self.skip(_SPACES)
            if not self.text.startswith(".", self.position):
                return parts
            self.position += 1

    def value(self, place: Place) -> None:
        opening = self.text[self.position]
        if opening == "[":
            self.array(place)
        elif opening == "{":
            self.inline_table(place)
        else:
            self.take(_STRING if opening in "\"'" else _BARE_VALUE)

    def array(self, place: Place) -> None:
        index = 0
        while not self.closes("]"):
            self.note((*place, index), self.line())
            self.value((*place, index))
            index += 1

    def inline_table(self, place: Place) -> None:
        while not self.closes("}"):
            self.pair(place)

    def closes(self, closing: str) -> bool:
        """Step over what opened or separated the last element; True, and past the end, when there is no more."""
        self.skip(_BLANK)
        if self.text[self.position] in "[{,":
            self.position += 1
            self.skip(_BLANK)
        if self.text[self.position] != closing:
            return False
        self.position += 1
        return True

    def note(self, place: Place, line: int) -> None:
        self.lines.setdefault(place, line)

    def line(self) -> int:
        return bisect_right(self.line_ends, self.position - 1) + 1

    def skip(self, pattern: re.Pattern[str]) -> bool:
        """Step over `pattern`; False at the end of the document."""
        self.take(pattern)
        return self.position < len(self.text)

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.position)
        assert match, f"not a valid document at offset {self.position}"
        self.position = match.end()
        return match.group()
