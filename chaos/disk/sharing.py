"""A map that is never changed: each update gives a new map that shares nearly everything with the old one.

Small maps are one dictionary, copied on update; larger ones split by hash into sixteen smaller maps, so an update
costs the same whether a folder holds ten names or ten thousand. Iteration order is not defined: sort where order
matters. Read `tree.py` next.
"""

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar, final

__all__ = ["SharedMap"]

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

# A leaf of 48 entries copies in about half a microsecond, less than one more level of branching costs.
_LEAF_LIMIT = 48
_BRANCH_BITS = 4
_BRANCH_MASK = (1 << _BRANCH_BITS) - 1


@final
class SharedMap(Generic[_Key, _Value]):
    """An immutable mapping with structural sharing."""

    __slots__ = ("_branches", "_leaf", "_shift", "_size")

    def __init__(
        self,
        leaf: dict[_Key, _Value] | None = None,
        shift: int = 0,
        branches: "tuple[SharedMap[_Key, _Value], ...]" = (),
        size: int | None = None,
    ) -> None:
        self._leaf: dict[_Key, _Value] = {} if leaf is None else leaf
        self._branches = branches
        self._shift = shift
        self._size = len(self._leaf) if size is None else size

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: _Key) -> bool:
        return key in self._leaf_of(key)

    def __getitem__(self, key: _Key) -> _Value:
        return self._leaf_of(key)[key]

    def __iter__(self) -> Iterator[_Key]:
        if not self._branches:
            yield from self._leaf
        for branch in self._branches:
            yield from branch

    def get(self, key: _Key) -> _Value | None:
        """The value at `key`, or None."""
        return self._leaf_of(key).get(key)

    def items(self) -> Iterator[tuple[_Key, _Value]]:
        """All (key, value) pairs, in no particular order."""
        if not self._branches:
            yield from self._leaf.items()
        for branch in self._branches:
            yield from branch.items()

    def put(self, key: _Key, value: _Value) -> "SharedMap[_Key, _Value]":
        """This map with `key` leading to `value`."""
        if self._branches:
            slot = (hash(key) >> self._shift) & _BRANCH_MASK
            return self._with_branch(slot, self._branches[slot].put(key, value))
        leaf = self._leaf.copy()
        leaf[key] = value
        grown = SharedMap(leaf, self._shift)
        return grown if len(leaf) <= _LEAF_LIMIT else grown._split()

    def update(self, changes: "dict[_Key, _Value]") -> "SharedMap[_Key, _Value]":
        """This map with all of these entries put in; a small map is copied once for all of them."""
        if not self._branches:
            leaf = self._leaf | changes
            grown = SharedMap(leaf, self._shift)
            return grown if len(leaf) <= _LEAF_LIMIT else grown._split()
        grown = self
        for key, value in changes.items():
            grown = grown.put(key, value)
        return grown

    def drop(self, key: _Key) -> "SharedMap[_Key, _Value]":
        """This map without `key`, which may be absent."""
        if self._branches:
            slot = (hash(key) >> self._shift) & _BRANCH_MASK
            return self._with_branch(slot, self._branches[slot].drop(key))
        if key not in self._leaf:
            return self
        leaf = self._leaf.copy()
        del leaf[key]
        return SharedMap(leaf, self._shift)

    def _leaf_of(self, key: _Key) -> dict[_Key, _Value]:
        node = self
        while node._branches:
            node = node._branches[(hash(key) >> node._shift) & _BRANCH_MASK]
        return node._leaf

    def _with_branch(self, slot: int, branch: "SharedMap[_Key, _Value]") -> "SharedMap[_Key, _Value]":
        branches = list(self._branches)
        size = self._size - branches[slot]._size + branch._size
        branches[slot] = branch
        return SharedMap(self._leaf, self._shift, tuple(branches), size)  # its own entries: none, as there are branches

    def _split(self) -> "SharedMap[_Key, _Value]":
        if self._shift >= 60:  # all bits of the hash are used up: equal hashes stay in one leaf
            return self
        leaves: list[dict[_Key, _Value]] = [{} for _ in range(_BRANCH_MASK + 1)]
        for key, value in self._leaf.items():
            leaves[(hash(key) >> self._shift) & _BRANCH_MASK][key] = value
        branches = tuple(SharedMap(leaf, self._shift + _BRANCH_BITS) for leaf in leaves)
        return SharedMap({}, self._shift, branches, self._size)
