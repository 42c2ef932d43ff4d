"""How many values of some keys are promised to be remembered: what a clean-up of the store leaves alone.

Who keeps something in the history of keys, as `Checkpoints` does, says so once, by the prefix of those keys; it lies in
the store under one reserved key, so that a clean-up by any process knows. `Transaction.promise` writes it,
`StateStore.prune` goes by it.
"""

import json
from collections.abc import Mapping

from pytest_guardrails.errors import NewerFormatError
from pytest_guardrails.reliability.state.model import Cell, Draft
from pytest_guardrails.reliability.state.values import RESERVED

__all__ = ["RETENTION", "kept_of", "parse_promises", "with_promise"]

RETENTION = RESERVED + "retention"
_FORMAT = 1


def parse_promises(cell: Cell | None) -> Mapping[str, int]:
    """How many values are promised of the keys that start with each prefix.

    Raises:
        NewerFormatError: a later version wrote it.
    """
    if cell is None or cell.text is None:
        return {}
    plain = json.loads(cell.text)
    if plain["format"] > _FORMAT:
        raise NewerFormatError(
            f"what the store promised to keep has format {plain['format']}; this program knows {_FORMAT}: update it"
        )
    found: Mapping[str, int] = plain["prefixes"]
    return found


def with_promise(cell: Cell | None, prefix: str, count: int) -> Draft | None:
    """What is to be written so that at least `count` values are promised; None when they are already."""
    before = parse_promises(cell)
    if before.get(prefix, 0) >= count:
        return None
    text = json.dumps({"format": _FORMAT, "prefixes": {**before, prefix: count}}, separators=(",", ":"))
    return Draft(RETENTION, 1, text, 1)


def kept_of(key: str, keep: int, promises: Mapping[str, int]) -> int:
    """How many values of a key a clean-up leaves, that was told to leave `keep`."""
    return max([keep, *(count for prefix, count in promises.items() if key.startswith(prefix))])
