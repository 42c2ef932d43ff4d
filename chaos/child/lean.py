"""What annotations need, without the module `typing`, which would make every fork dearer (by 28 us of 700, measured).

For the modules that a forker loads (`forker.py`); type checkers see the real things. Nothing but names belongs here:
`Any`, `NoReturn`, `TypedDict` and `final`.
"""

__all__ = ["TYPE_CHECKING"]

TYPE_CHECKING = False  # type checkers take it for true, as they do with the one of `typing`

if TYPE_CHECKING:
    from typing import Any as Any  # noqa: PLC0414 - this spelling, here and below, says that it is handed on
    from typing import NoReturn as NoReturn  # noqa: PLC0414
    from typing import TypedDict as TypedDict  # noqa: PLC0414
    from typing import final as final  # noqa: PLC0414
else:
    Any = NoReturn = object
    TypedDict = dict

    def final(kind):
        """Mark a class as not to be derived from."""
        return kind
