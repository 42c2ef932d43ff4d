"""A hook's name is its command, normalised in white space alone, so that no two commands ever share one.

White space is only what a shell would not see: blanks and tabs around the command, and runs of them between words. In
quotes, after a backslash, and for line ends it means something and stays. Read `hook_state.py` for what is kept under
a name.
"""

from collections.abc import Sequence

from pytest_guardrails.errors import ConfigurationError
from pytest_guardrails.reliability.durability.digests import digest_of

__all__ = ["PREFIX", "command_line", "key_of", "name_of"]

PREFIX = "hook/"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+=:,./-_")
_BYTES = "\0bytes:"  # can't begin a command: no argument of a program holds a zero byte


def name_of(command: str) -> str:
    """The name under which a command is kept, also for people.

    A command that is not Unicode (from arguments with other bytes) gets a name in which each of its bytes can be seen.

    Raises:
        ConfigurationError: there is no command, or it holds a zero byte.
    """
    if command.startswith(_BYTES):
        return command  # a name already, such as one from an export
    if "\0" in command:
        raise ConfigurationError(f"a command can't hold a zero byte: {command[:60]!r}")
    name = _without_idle_blanks(command)
    if not name:
        raise ConfigurationError("a command must have at least one character that is not blank")
    if not name.isascii():
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            raw = name.encode("utf-8", "surrogatepass")
            return _BYTES + "".join(chr(byte) if 32 <= byte < 127 and byte != 92 else f"\\{byte:02x}" for byte in raw)
    return name


def key_of(name: str) -> str:
    """The store's key for a name: of one length, whatever the command."""
    return PREFIX + digest_of(name.encode("utf-8"), 20).hex()


def command_line(arguments: Sequence[str]) -> str:
    """The arguments as one command, quoted as a shell would need them."""
    return " ".join(_quoted(argument) for argument in arguments)


def _quoted(argument: str) -> str:
    if argument and _PLAIN.issuperset(argument):
        return argument
    return "'" + argument.replace("'", "'\"'\"'") + "'"


def _without_idle_blanks(command: str) -> str:
    if "  " not in command and "\t" not in command and command == command.strip(" \t"):
        return command
    kept: list[str] = []
    quote = ""
    escaped = False
    idle = True  # what stands before is a blank that separates, or nothing
    for character in command:
        if escaped or (quote and character != quote and not (quote == '"' and character == "\\")):
            kept.append(character)
            escaped = idle = False
        elif character in " \t" and not quote:
            if not idle:
                kept.append(" ")
            idle = True
        else:
            kept.append(character)
            escaped = character == "\\"
            idle = False
            if character in "'\"":
                quote = "" if quote else character
    return "".join(kept[:-1] if idle else kept)
