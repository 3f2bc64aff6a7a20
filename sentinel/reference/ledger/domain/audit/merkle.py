"""The Merkle tree of RFC 6962: its hashes, a tree that grows, and which parts a proof is made of.

Leaves and nodes are hashed with different first bytes, so that no node can pass for a leaf. The hash of
n leaves is that of its two halves, the left of which has the largest power of two below n. Whatever is
asked of a tree is thus the hash of a range, and a range falls into complete subtrees: (level, place)
names the one over the leaves place * 2**level up to (place + 1) * 2**level. Only these are ever kept.

>>> tree = Tree()
>>> for text in (b"one", b"two", b"three"):
...     _ = tree.append(leaf_hash(text))
>>> tree.root() == node_hash(node_hash(leaf_hash(b"one"), leaf_hash(b"two")), leaf_hash(b"three"))
True
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


@dataclass(frozen=True, slots=True, order=True)
class Subtree:
    """A complete subtree, of 2**level leaves, the `place`-th of its level."""

    level: int
    place: int

    @property
    def start(self) -> int:
        """The first of its leaves."""
        return self.place << self.level

    @property
    def end(self) -> int:
        """The leaf after its last."""
        return (self.place + 1) << self.level


@dataclass(frozen=True, slots=True)
class Range:
    """Leaves from `start` up to `end`, as RFC 6962 divides a tree; both within one tree."""

    start: int
    end: int

    def subtrees(self) -> list[Subtree]:
        """The complete subtrees it falls into, from the left."""
        found = []
        start = self.start
        while start < self.end:
            level = (self.end - start).bit_length() - 1
            if start:
                level = min(level, (start & -start).bit_length() - 1)
            found.append(Subtree(level, start >> level))
            start += 1 << level
        return found


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of an entry's bytes."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of two subtrees side by side."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the hash of subtrees that stand side by side, each smaller than the one before."""
    folded = hashes[-1]
    for left in reversed(hashes[:-1]):
        folded = node_hash(left, folded)
    return folded


def complete(hashes: Sequence[bytes]) -> bytes:
    """Return the hash over a power of two of equally large subtrees."""
    while len(hashes) > 1:
        hashes = [
            node_hash(hashes[index], hashes[index + 1]) for index in range(0, len(hashes), 2)
        ]
    return hashes[0]


class Tree:
    """A tree that grows by a leaf at a time and keeps one hash a level."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        """Go on from the hashes of `Range(0, size).subtrees()`."""
        self.size = size
        self._peaks = list(peaks)
        if len(self._peaks) != size.bit_count():
            message = (
                f"a tree of {size} leaves has {size.bit_count()} peaks, not {len(self._peaks)}"
            )
            raise ValueError(message)

    def append(self, leaf: bytes) -> list[tuple[Subtree, bytes]]:
        """Add a leaf's hash; returns the subtrees above it that are complete with it."""
        done = []
        index = self.size
        level = 0
        while index >> level & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            level += 1
            done.append((Subtree(level, index >> level), leaf))
        self._peaks.append(leaf)
        self.size += 1
        return done

    def root(self) -> bytes:
        """Return the hash of the whole tree."""
        return fold(self._peaks) if self._peaks else EMPTY_ROOT

    def copy(self) -> Tree:
        """Return one that grows apart from this one."""
        return Tree(self.size, self._peaks)


def inclusion_parts(index: int, size: int) -> list[Range]:
    """Return whose hashes prove that leaf `index` is in the tree of `size`, from the leaf upwards."""
    if not 0 <= index < size:
        message = f"no leaf {index} in a tree of {size}"
        raise ValueError(message)
    parts = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _half(end - start)
        if index < middle:
            parts.append(Range(middle, end))
            end = middle
        else:
            parts.append(Range(start, middle))
            start = middle
    return parts[::-1]


def consistency_parts(before: int, after: int) -> list[Range]:
    """Return whose hashes prove that the tree of `before` leaves is the beginning of that of `after`.

    None are needed when one is empty or both are equally large.
    """
    if not 0 <= before <= after:
        message = f"a tree of {before} is no beginning of one of {after}"
        raise ValueError(message)
    if before in (0, after):
        return []
    parts = []
    start, end = 0, after
    while end != before:
        middle = start + _half(end - start)
        if before <= middle:
            parts.append(Range(middle, end))
            end = middle
        else:
            parts.append(Range(start, middle))
            start = middle
    # What the smaller tree ends with; where that is the whole of it, its root is known already.
    if start:
        parts.append(Range(start, end))
    return parts[::-1]


def hashes_of(
    parts: Sequence[Range], read: Callable[[Sequence[Subtree]], Sequence[bytes]]
) -> list[bytes]:
    """Return the parts' hashes, of what `read` gives for their subtrees, all asked for at once."""
    wanted = [part.subtrees() for part in parts]
    given = list(read([subtree for subtrees in wanted for subtree in subtrees]))
    hashes = []
    for subtrees in wanted:
        hashes.append(fold(given[: len(subtrees)]))
        del given[: len(subtrees)]
    return hashes


def is_included(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Say whether the proof leads from a leaf's hash to the root of the tree of `size`."""
    if not 0 <= index < size:
        return False
    rest, last = index, size - 1
    folded = leaf
    for part in proof:
        if not last:
            return False
        if rest & 1 or rest == last:
            folded = node_hash(part, folded)
            while not rest & 1 and rest:
                rest, last = rest >> 1, last >> 1
        else:
            folded = node_hash(folded, part)
        rest, last = rest >> 1, last >> 1
    return not last and folded == root


def is_consistent(
    *,
    before: int,
    before_root: bytes,
    after: int,
    after_root: bytes,
    proof: Sequence[bytes],
) -> bool:
    """Say whether the proof shows that the first `before` leaves of both trees are the same."""
    if before == after:
        return not proof and before_root == after_root
    if before == 0:
        return not proof and before_root == EMPTY_ROOT
    if not 0 < before < after:
        return False
    parts = list(proof)
    if before & (before - 1) == 0:
        parts.insert(0, before_root)
    if not parts:
        return False
    rest, last = before - 1, after - 1
    while rest & 1:
        rest, last = rest >> 1, last >> 1
    old = new = parts[0]
    for part in parts[1:]:
        if not last:
            return False
        if rest & 1 or rest == last:
            old, new = node_hash(part, old), node_hash(part, new)
            while not rest & 1 and rest:
                rest, last = rest >> 1, last >> 1
        else:
            new = node_hash(new, part)
        rest, last = rest >> 1, last >> 1
    return not last and old == before_root and new == after_root


def _half(count: int) -> int:
    """Return the largest power of two below `count`, which is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)
