"""Every key of a document is found on its line, however the document is written."""

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.scenario.positions import Place, locate
from chaos.scenario.toml import parse_toml

DOCUMENT = '''\
# comment = "not a key"
name = "a # b"   # c = 1
text = """
inner = 1
[not.a.table]
quote "" and \\""" escaped
"""""
"quoted.key" = 'it''s'
literal = \'\'\'
x = ]
\'\'\'
a.b.c = [
  1,  # [
  [2, "]"], { p = 1, q = [3] },
]
when = 1979-05-27 07:32:00
[ target . "env" ]
A = {}
[[ expect ]]
oracle = "one"
[expect.more]
deep = true
[[expect]]

oracle = "two"
'''.replace("'it''s'", "'its'")


def leaves(value: Any, place: Place = ()) -> set[Place]:
    if isinstance(value, dict):
        return {place} | {leaf for key, inner in value.items() for leaf in leaves(inner, (*place, key))}
    if isinstance(value, list):
        return {place} | {leaf for index, inner in enumerate(value) for leaf in leaves(inner, (*place, index))}
    return {place}


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (("name",), 2),
        (("text",), 3),
        (("quoted.key",), 8),
        (("a", "b", "c"), 12),
        (("a", "b", "c", 0), 13),
        (("a", "b", "c", 1, 1), 14),
        (("a", "b", "c", 2, "q", 0), 14),
        (("when",), 16),
        (("target",), 17),
        (("target", "env", "A"), 18),
        (("expect", 0), 19),
        (("expect", 0, "more", "deep"), 22),
        (("expect", 1), 23),
        (("expect", 1, "oracle"), 25),
    ],
)
def test_a_key_is_found_on_its_line(place: Place, line: int) -> None:
    assert locate(DOCUMENT)[place] == line


def test_exactly_the_places_of_the_document_are_found() -> None:
    assert set(locate(DOCUMENT)) == leaves(parse_toml(DOCUMENT))


KEYS = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=4) | st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=4
)
SCALARS = st.sampled_from(
    ["1", "true", "-2.5", "inf", '"a]}#,"', "'b[{\"'", '"""x\n[y]\n"z""\\""""', "'''\n#'\n''''", "2020-01-01T00:00:00Z"]
)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


def written_key(key: str) -> str:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def written(tree: Any, gap: str) -> str:
    if isinstance(tree, list):
        return "[" + ",".join(f"{gap}{written(inner, gap)}" for inner in tree) + f"{gap}]"
    if isinstance(tree, dict):
        return "{ " + ", ".join(f"{written_key(key)} = {written(inner, '')}" for key, inner in tree.items()) + " }"
    return str(tree)


@given(
    st.dictionaries(KEYS, TREES, max_size=4),
    st.dictionaries(KEYS, st.lists(st.dictionaries(KEYS, TREES, max_size=3), max_size=3), max_size=2),
    st.sampled_from(["", " ", "\n", "\n  # ] comment\n\t"]),
)
def test_any_document_is_walked_exactly(top: dict[str, Any], arrays: dict[str, Any], gap: str) -> None:
    lines: list[str] = []
    expected: dict[Place, int] = {}
    number = 1

    def emit(text: str) -> None:
        nonlocal number
        lines.append(text)
        number += text.count("\n") + 1

    for key, tree in top.items():
        if key not in arrays:
            expected[(key,)] = number
            emit(f" {written_key(key)}\t={written(tree, gap)} # end")
    for key, tables in arrays.items():
        for index, table in enumerate(tables):
            expected[(key, index)] = number
            emit(f"[[ {written_key(key)} ]]")
            for inner, tree in table.items():
                expected[(key, index, inner)] = number
                emit(f"{written_key(inner)} = {written(tree, gap)}")
    text = "\n".join(lines)
    found = locate(text)
    assert set(found) == leaves(parse_toml(text))
    assert {place: found[place] for place in expected} == expected
