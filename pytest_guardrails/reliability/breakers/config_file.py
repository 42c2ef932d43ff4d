"""Reads a YAML configuration file so that every complaint can name its line. Read `config.py` for what is in it."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.breakers.keys import KEYS, SECTIONS

__all__ = ["read_file"]


def read_file(path: str) -> Mapping[str, tuple[Any, int]]:
    """For each key that the file sets its value and line.

    Raises:
        ConfigurationError: it can't be read, is no YAML, or has a key that is not known or is there twice.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    try:
        loader = yaml.SafeLoader(content)
        try:
            root = loader.get_single_node()
            return {} if root is None else _entries(path, loader, root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{path}:{line}: not YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}:1: not YAML: {error}") from error


def _entries(path: str, loader: yaml.SafeLoader, root: yaml.Node) -> Mapping[str, tuple[Any, int]]:
    found: dict[str, tuple[Any, int]] = {}
    for key, line, node in _items(path, root, "the file"):
        if key in SECTIONS:
            pairs = [(f"{key}.{inner}", at, value) for inner, at, value in _items(path, node, key)]
        else:
            pairs = [(key, line, node)]
        for name, at, value in pairs:
            if name not in KEYS:
                close = difflib.get_close_matches(name, KEYS, 1)
                hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(KEYS)}"
                raise ConfigurationError(f"{path}:{at}: {name} is no setting{hint}")
            if name in found:
                raise ConfigurationError(f"{path}:{at}: {name} was set before, in line {found[name][1]}")
            found[name] = (loader.construct_object(value, deep=True), at)
    return found


def _items(path: str, node: yaml.Node, what: str) -> Iterator[tuple[str, int, yaml.Node]]:
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return  # a section of which every line is commented out
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(f"{path}:{node.start_mark.line + 1}: {what} must be a mapping of names to values")
    for key, value in node.value:
        yield str(key.value), key.start_mark.line + 1, value
