"""The oracle `exclusive`: no two workers are in one critical section at a time. Pure."""

from collections.abc import Iterable
from typing import NamedTuple, final

from chaos.history import Said

__all__ = ["Intrusion", "exclusive"]


@final
class Intrusion(NamedTuple):
    """Two workers in one section.

    Attributes:
        section: its name.
        inside: who was there.
        entered: who came in.
        position: when.
    """

    section: str
    inside: int
    entered: int
    position: int


def exclusive(said: Iterable[Said]) -> Intrusion | None:
    """The first time that somebody came into a section where another one was; None when nobody did.

    A worker that ends inside leaves by that: the kernel gives its locks back.
    """
    inside: dict[str, list[int]] = {}
    for one in said:
        kind = one.text[:1]
        if kind == "+":
            here = inside.setdefault(str(one.value), [])
            others = [process for process in here if process != one.process]
            if others:
                return Intrusion(str(one.value), others[0], one.process, one.position)
            here.append(one.process)
        elif kind == "-":
            here = inside.get(str(one.value), [])
            if one.process in here:
                here.remove(one.process)
        elif kind == "x":
            for here in inside.values():
                here[:] = [process for process in here if process != one.process]
    return None
