"""What a configuration file said the last time, kept beside it, so that a hook's start needs no YAML parser.

PyYAML costs more than all else that `hook run` does before the hook begins. So its result is kept as JSON in a hidden
file, together with the identity of the file it was read from (device, inode, size, times); where that differs, or
anything about the kept file is odd, the configuration is read anew. Values are checked after reading either.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module

from pytest_guardrails.errors import ConfigurationError, GuardrailsError
from pytest_guardrails.hints import Any
from pytest_guardrails.reliability.durability import finite_json, write_atomic

__all__ = ["cache_of", "entries_of"]

_FORMAT = "guardrails-config-cache 1"


def cache_of(path: str) -> str:
    """Where the result for a configuration file is kept."""
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name}.parsed")


def entries_of(path: str) -> Mapping[str, tuple[Any, int]] | None:
    """For each key that the file sets its value and line; None when there is no file.

    Raises:
        ConfigurationError: the file can't be read, or is not as a configuration must be.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error}") from error
    identity = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    kept = _kept(path, identity)
    if kept is not None:
        return kept
    # Only now, see above: this is the one import of the room that is not at the top of its module.
    file = import_module("pytest_guardrails.reliability.breakers.config_file")
    entries: Mapping[str, tuple[Any, int]] = file.read_file(path)
    with suppress(GuardrailsError):  # a folder that can't be written, or a value that JSON has not: the next time then
        document = {"format": _FORMAT, "identity": identity, "entries": entries}
        write_atomic(cache_of(path), finite_json.dumps(document).encode(), durability="process")
    return entries


def _kept(path: str, identity: list[int]) -> Mapping[str, tuple[Any, int]] | None:
    try:
        with open(cache_of(path), "rb") as file:
            document = json.load(file)
        if document["format"] != _FORMAT or document["identity"] != identity:
            return None
        return {key: (value, int(line)) for key, (value, line) in document["entries"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
