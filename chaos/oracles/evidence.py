"""How recovered values hold what was acknowledged, as far as the run without a crash proves it; pure.

Three ways are known: acknowledged values are members of what is recovered; it is itself the last one; one place in it
(a field, a word of a printed line) shows the last one. The first two take values as they are. Where they differ in form
only (a number and its digits, a line's end, JSON that was printed), members and places are still found. A way counts
when the undamaged run follows it from its start to its end. Read `durable.py` for what is made of it.
"""

import json
import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import pairwise
from typing import Any

from chaos.child import values
from chaos.observations import Ending, Reference

__all__ = ["Rule", "followed", "is_distinct", "never_lost", "proven_rule"]

Rule = Callable[[str, Reference], frozenset[int]]
"""(recovered value, reference) -> the acknowledgements, numbered from 0, that are in it."""

_WORD = re.compile(r"[^\s,;:=()\[\]{}'\"]+")
_WHOLE = ""  # the place of a value itself


@lru_cache(maxsize=4)
def proven_rule(reference: Reference) -> Rule | None:
    """The way in which values hold acknowledgements, if the undamaged run follows one from its start to its end."""
    if not reference.acks or any(step.ending is not Ending.RETURNED for step in reference.steps[1:]):
        return None
    everything = frozenset(range(len(reference.acks)))
    for rule in (_contained, followed):
        there = [rule(step.value, reference) for step in reference.steps[1:]]
        if there[-1] == everything and all(earlier <= later for earlier, later in pairwise(there)):
            if rule is followed or _is_proof(reference):
                return rule
            break
    places = _showing_places(reference)
    return partial(_shown, places) if places else None


def followed(value: str, reference: Reference) -> frozenset[int]:
    """A value that is itself an acknowledged one stands for all before it; each must have been another.

    What was never acknowledged nor there at the start (a torn value) says nothing.
    """
    if not is_distinct(reference):
        return frozenset()
    order = {reference.steps[0].value: -1}
    order.update((ack.value, number) for number, ack in enumerate(reference.acks))
    return frozenset(range(order.get(value, len(reference.acks)) + 1))


def is_distinct(reference: Reference) -> bool:
    """Whether each acknowledged value is another, and none was there at the start."""
    return len({reference.steps[0].value, *(ack.value for ack in reference.acks)}) == len(reference.acks) + 1


def _contained(value: str, reference: Reference) -> frozenset[int]:
    """Acknowledged values that are members of a container, or of a printed text."""
    members = {text for place, text in _members(value, reference) if place != _WHOLE}
    return frozenset(number for number, ack in enumerate(reference.acks) if _form(ack.value) in members)


def never_lost(rule: Rule, proof: Reference, reference: Reference) -> frozenset[int]:
    """The acknowledgements of a run, numbered from 0, that a container can't be missed in, by another run's proof."""
    there = _there_from_the_start(proof) if rule is _contained else frozenset[str]()
    return frozenset(number for number, ack in enumerate(reference.acks) if _form(ack.value) in there)


def _is_proof(reference: Reference) -> bool:
    """Whether members of a container tell what was acknowledged: they keep their places, and came there in the run."""
    there = _there_from_the_start(reference)
    return any(_form(ack.value) not in there for ack in reference.acks) and _keep_their_places(reference)


@lru_cache(maxsize=4)
def _there_from_the_start(reference: Reference) -> frozenset[str]:
    """Acknowledged values that are found, all along, where they stood before anything was done: by chance, that is.

    A counter's 1 and 2 are in a list of settings, too, which holds 1, 2 and 3 and has nothing to do with it.
    """
    if reference.steps[0].ending is not Ending.RETURNED:
        return frozenset()
    places = [_places(step.value, reference) for step in reference.steps]
    found = set()
    for number, ack in enumerate(reference.acks, start=1):
        form = _form(ack.value)
        held = [one.get(form, frozenset[str]()) for one in (places[0], *places[number:])]
        if held[0].intersection(*held[1:]):
            found.add(form)
    return frozenset(found)


def _keep_their_places(reference: Reference) -> bool:
    """Whether each acknowledged value, once there, stays in one place: what only turns up again proves nothing.

    A balance of 10 in one account, and later in another, is not the same 10. In lists and sets any place is the same.
    Nor does a word prove anything that is printed before anything was saved.
    """
    start, *places = (_places(step.value, reference) for step in reference.steps)
    printed = isinstance(values.decode(reference.steps[-1].value), (str, bytes))
    for number, ack in enumerate(reference.acks):
        form = _form(ack.value)
        held = [found[form] for found in places[number:] if form in found]
        if not frozenset[str]().union(*held[:1]).intersection(*held) or (printed and form in start):
            return False
    return True


def _places(value: str, reference: Reference) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for place, text in _members(value, reference) if value else ():
        if place != _WHOLE:
            found.setdefault(text, set()).add(place)
    return {text: frozenset(where) for text, where in found.items()}


def _shown(places: frozenset[str], value: str, reference: Reference) -> frozenset[int]:
    """The latest acknowledged value that a place shows stands for all before it; what shows none says nothing."""
    order = _order(reference)
    single = _single(value, reference)
    shown = [order[single[place]] for place in places if single.get(place) in order]
    last = len(reference.acks) - 1
    return frozenset(range(1 + (max(shown, default=last) if len(order) > last else last)))


def _showing_places(reference: Reference) -> frozenset[str]:
    """Places that show one acknowledged value after the other, the last one in the end, two of them at least."""
    order = _order(reference)
    last = len(reference.acks) - 1
    if len(order) <= last:
        return frozenset()
    steps = [_single(step.value, reference) for step in reference.steps[1:]]
    found = []
    for place in steps[-1]:
        shown = [order.get(step.get(place, ""), -1) for step in steps]
        # Before the first one anything may be there.
        if shown == sorted(shown) and shown[-1] == last and len({*shown} - {-1}) > 1:
            found.append(place)
    return frozenset(found)


def _order(reference: Reference) -> dict[str, int]:
    return {_form(ack.value): number for number, ack in enumerate(reference.acks)}


def _single(value: str, reference: Reference) -> dict[str, str]:
    """What is at places that hold one thing."""
    found: dict[str, list[str]] = {}
    for place, text in _members(value, reference):
        found.setdefault(place, []).append(text)
    return {place: texts[0] for place, texts in found.items() if len(texts) == 1}


def _form(text: str) -> str:
    """A value's text, whatever wrote it: a number and its digits are the same, spaces around a string do not count."""
    return _plain(values.decode(text))


def _plain(value: Any) -> str:
    return value.strip() if isinstance(value, str) else values.encode(value)


def _members(value: str, reference: Reference) -> Iterator[tuple[str, str]]:
    """Everything in a recovered value: its place, and its form; the value itself first."""
    whole = values.decode(value)
    if isinstance(whole, bytes):
        whole = whole.decode(errors="replace")
    yield _WHOLE, _plain(whole)
    if not isinstance(whole, str):
        yield from _inside(whole)
    elif not _is_numbering(reference):
        yield from _printed(whole)


def _is_numbering(reference: Reference) -> bool:
    """Whether steps are acknowledged by their numbers, as commands are: such numbers turn up in any text."""
    return [ack.value for ack in reference.acks] == [str(number) for number in range(len(reference.acks))]


def _inside(value: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """Everything inside a container, at any depth."""
    if isinstance(value, dict):
        inside = [(f"{above}/keys", key) for key in value]
        inside += [(f"{above}/{values.encode(key)}", content) for key, content in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inside = [(f"{above}/any", one) for one in value]
    else:
        return
    for place, one in inside:
        yield place, _plain(one)
        yield from _inside(one, place)


def _printed(text: str) -> Iterator[tuple[str, str]]:
    """What is in a text: of JSON its members, of any other its lines and their words."""
    try:
        known = json.loads(text)
    except (ValueError, RecursionError):
        known = None
    if isinstance(known, (dict, list)):
        yield from _inside(known)
        return
    for number, line in enumerate(text.splitlines()):
        yield f"/{number}", line.strip()
        for place, word in enumerate(_WORD.findall(line)):
            yield f"/{number}/{place}", word
