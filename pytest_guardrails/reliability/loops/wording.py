"""What a text says, without what changes by itself: numbers, dates, ids, folders, case, white space, attempt counters.

Two messages whose `Wording.skeleton` is equal say the same. Numbers that tell how far the work is ("3 failed", "40 %",
"7 of 9") are set aside as *measures*, so that a message which repeats while its measure moves is known from one that
stands still. `digest` is for exact equality: no two different values share a text before they are hashed.

Nothing here knows of loops. Read `likeness.py` for messages that are nearly equal.
"""

import hashlib
import json
import re
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple, final

from pytest_guardrails.reliability.durability.finite_json import printable

__all__ = ["Role", "Wording", "digest", "distinct", "plain_text", "read", "read_value"]

_READ_CHARACTERS = 40_000  # of a longer text, the first and the last half of this; the rest counts by its digest
_KEPT_WORDS = 48  # of a longer text, those at its ends; what is between counts by its digest
_KEPT_MEASURES = 16
_IDENTIFIER_DIGITS = 9  # a number of so many digits names something, or is a time
_REMEMBERED_TOKENS = 4096
_REMEMBERED_TEXTS = 64  # what repeats is not read again
_SPACES = str.maketrans(dict.fromkeys("()[]{}<>,;!?\"'`|=*~^&$\t\n\r", " "))
_EDGES = ".:-#/\\_+@"

# What a token with digits may be, the first that fits; so many digits always make a finite number.
_TOKEN = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\d(?:[t_]\d\d[:\d.,]*(?:z|[+-]\d\d:?\d\d)?)?"
    r"|\d{1,2}:\d\d(?::\d\d)?(?:[.]\d+)?(?:z|am|pm)?|\d{1,4}[./]\d{1,2}[./]\d{2,4}"
    r"|\d+(?:\.\d+)?(?:ns|us|µs|ms|s|secs?|seconds?|mins?|minutes?|h|hrs?|hours?))"
    r"|(?P<nth>\d+(?:st|nd|rd|th))"
    r"|(?P<id>(?:0x)?(?=\d*[a-f])[0-9a-f]{6,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{9,})"
    r"|(?P<ratio>\d{1,15}/\d{1,15})"
    r"|(?P<range>\d{1,8}(?:-|–|\.\.)\d{1,8})"  # noqa: RUF001 - the dash that typesetters use
    r"|(?P<number>[-+]?\d{1,15}(?:\.\d{1,15})?)(?P<unit>%|[a-z]{1,3})?"
)
_SIGNS = {"time": "<time>", "nth": "<nth>", "id": "<id>"}
_LINE = re.compile(r"(.*[^\d:])(?::\d+)+")
_IDENTIFIER = re.compile(r"(?:0x)?[0-9a-f]{6,}|\d{9,}")
_DIGITS = re.compile(r"\d+")
_PARTS = re.compile(r"[_\-.:@]")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_COUNTERS = _set("attempt attempts try tries retry retries retrying round rounds iteration")
_LABELS = _set(
    "id request req pid port line lines col column seed job session thread worker step turn cycle run no number trace "
    "at on time timestamp elapsed took after within date build revision offset address version"
)
_FALLING = _set(
    "failed failing failures failure fails errors error remaining left pending todo open missing warnings issues "
    "problems violations unresolved loss"
)
_BOUNDED = _set("of passed passing passes coverage score accuracy percent complete")
_RISING = _set(
    "page chunk batch rows row items records files processed downloaded copied fetched received loaded done completed "
    "finished epoch bytes"
)
_UNITS = _set("s sec secs second seconds ms minute minutes min hours")
_MONTHS = _set("jan feb mar apr jun jul aug sep oct nov dec mon tue wed thu fri")


@final
class Role(IntEnum):
    """What a number in a text is about."""

    PLAIN = 0  # nothing near it tells
    FALLING = 1  # work that is left: less is better
    BOUNDED = 2  # a share of a whole: more is better, up to an end
    RISING = 3  # work that was done: more is better, without an end


@final
class Wording(NamedTuple):
    """A text as it is compared.

    Attributes:
        words: its words in lower case, with a sign where something variable stood.
        roles: of the measures.
        measures: the numbers that may tell how far the work is, in the order of the text.
    """

    words: tuple[str, ...]
    roles: tuple[Role, ...]
    measures: tuple[float, ...]

    @property
    def skeleton(self) -> str:
        """The words as one text."""
        return " ".join(self.words)


def digest(value: Any) -> str:
    """SHA-256 of a value, in hex; texts by their bytes, a list of texts whatever their order, all else by structure."""
    if isinstance(value, str):
        return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        value = sorted(value)
    # 0xFF can't begin a text's bytes, so no text looks like a structure.
    return hashlib.sha256(b"\xff" + plain_text(value).encode("utf-8", "surrogatepass")).hexdigest()


def plain_text(value: Any) -> str:
    """One text for a value: a text is itself, all else is JSON with sorted keys; what JSON lacks is named by type."""
    if isinstance(value, str):
        return value if value.isascii() else printable(value)
    try:
        return printable(json.dumps(value, sort_keys=True, ensure_ascii=False, default=_foreign))
    except (TypeError, ValueError):  # keys of several types, or a reference to itself
        return _foreign(value)


def read_value(value: Any) -> Wording:
    """As `read`, for any value; a text that is a JSON object or list is read as that, so its key order is forgotten.

    The length of a list counts as a measure of work that is left: fewer findings are progress.
    """
    if isinstance(value, str):
        if value[:1] not in ("{", "["):
            return read(plain_text(value))
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return read(plain_text(value))
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        found = read(plain_text("\n".join(sorted(value))))
        return found._replace(roles=(Role.FALLING, *found.roles), measures=(float(len(value)), *found.measures))
    return read(plain_text(value))


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def read(text: str) -> Wording:
    """The wording of a text; its cost grows with the text's length alone."""
    words, slots = _words(text)
    return _measured(words, slots) if slots else Wording(_kept(words), (), ())


def distinct(value: Any) -> str:
    """A digest that differs for any two values that differ in more than dates, ids and folders; numbers count."""
    return _distinct(plain_text(value))


@lru_cache(maxsize=_REMEMBERED_TEXTS)
def _distinct(text: str) -> str:
    words, slots = _words(text)
    for index, number in slots:
        words[index] = f"{number:.15g}"
    return digest(" ".join(words))


def _words(text: str) -> tuple[list[str], list[tuple[int, float]]]:
    """The words, and which of them stand for a number, with the number."""
    tail = ""
    if len(text) > _READ_CHARACTERS:
        half = _READ_CHARACTERS // 2
        tail = digest(text[half:-half])
        text = text[:half] + text[-half:]
    tokens = text.lower().translate(_SPACES).split()
    if not tail and all(map(str.isalpha, tokens)):
        return tokens, []
    words: list[str] = []
    slots: list[tuple[int, float]] = []
    for token in tokens:
        if token.isalpha():
            words.append(token)
            continue
        word, value = _shape(token)
        if value is not None:
            slots.append((len(words), value))
        if word:
            words.append(word)
    if tail:
        words.append(tail)
    return words, slots


def _measured(words: list[str], slots: list[tuple[int, float]]) -> Wording:
    """Give each number its role; take out attempt counters altogether, since the first attempt often has none."""
    roles, measures, dropped = [], [], set()
    for index, value in slots:
        before = words[index - 1] if index else ""
        after = words[index + 1] if index + 1 < len(words) else ""
        beyond = words[index + 2] if index + 2 < len(words) else ""
        whole = before == "of" and index - 1 in dropped  # the 10 in "attempt 3 of 10"
        if whole or before in _COUNTERS or (after in _COUNTERS and before not in _FALLING):
            dropped.add(index)
            if before in _COUNTERS:
                dropped.add(index - 1)
            if after == "of" and not whole:
                dropped.add(index + 1)
            continue
        share = after == "of" or words[index] == "#/#"  # "step 3 of 9" names no step, it tells how far the work is
        if (before in _LABELS and not share) or after in _UNITS or before in _MONTHS or after in _MONTHS:
            continue
        roles.append(_role(words[index], before, after, beyond))
        measures.append(value)
    if dropped:
        words = [word for index, word in enumerate(words) if index not in dropped]
    return Wording(_kept(words), tuple(roles[:_KEPT_MEASURES]), tuple(measures[:_KEPT_MEASURES]))


def _kept(words: list[str]) -> tuple[str, ...]:
    if len(words) <= _KEPT_WORDS:
        return tuple(words)
    half = _KEPT_WORDS // 2
    return (*words[:half], digest(" ".join(words[half:-half])), *words[-half:])


def _role(shape: str, before: str, after: str, beyond: str) -> Role:
    if shape in ("#%", "#/#") or after == "%":
        return Role.BOUNDED
    near = {before, after, beyond}
    if near & _FALLING:
        return Role.FALLING
    if after in _BOUNDED or before in _BOUNDED or beyond in _BOUNDED - {"of"}:
        return Role.BOUNDED
    return Role.RISING if near & _RISING else Role.PLAIN


@lru_cache(maxsize=_REMEMBERED_TOKENS)
def _shape(token: str) -> tuple[str, float | None]:
    """What stands for a token that is not all letters, and its number if it is one."""
    if token.isdecimal() and token.isascii() and len(token) < _IDENTIFIER_DIGITS:
        return "#", float(token)
    token = token.strip(_EDGES) if token[-1:] != "%" else token.lstrip(_EDGES)
    if not _DIGITS.search(token):
        return (_path(token) if "/" in token or "\\" in token else token), None
    if found := _TOKEN.fullmatch(token):
        kind = found.lastgroup or ""
        if kind in _SIGNS:
            return _SIGNS[kind], None
        if kind == "ratio":
            done, whole = token.split("/")
            return "#/#", float(done) / (float(whole) or 1.0)
        if kind == "range":
            return "#-#", float(_DIGITS.findall(token)[0])
        return f"#{found['unit'] or ''}", float(found["number"])
    if found := _LINE.fullmatch(token):
        word, _ = _shape(found.group(1))
        return f"{word}:<line>", None
    if "/" in token or "\\" in token:
        return _path(token), None
    return _masked(token), None


def _path(token: str) -> str:
    """Folders vary from run to run, the file's own name says what it is."""
    return "<path>" + _masked(re.split(r"[/\\]", token.rstrip("/\\"))[-1])


def _masked(token: str) -> str:
    masked = [_masked_part(part) for part in _PARTS.split(token)]
    return "-".join(masked)


def _masked_part(part: str) -> str:
    if _IDENTIFIER.fullmatch(part):
        return "<id>"
    masked = _DIGITS.sub("#", part)
    return "<id>" if masked.count("#") > 1 else masked


def _foreign(value: Any) -> str:
    """A text for what JSON lacks: its type and, where that is plain, what it holds; never an address in memory."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__} {sorted(plain_text(item) for item in value)}"
    if isinstance(value, dict):
        return f"dict {sorted((type(key).__name__, str(key), plain_text(value[key])) for key in value)}"
    if isinstance(value, (bytes, bytearray)):
        return f"bytes {bytes(value).hex()}"
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    return f"{type(value).__module__}.{type(value).__qualname__}"
