"""Goal: the tree is RFC 6962's, however it is come by, and its proofs prove what they say and nothing else.

Method: the RFC's definitions written down as they stand there, recursively, over lists of leaves; the
tree that grows, the parts of proofs and both checks are held against them for every size up to 70, and
at random beyond. The hashes of the empty tree and of the empty leaf are those that RFC 9162 tells.
"""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.audit.merkle import (
    EMPTY_ROOT,
    Range,
    Subtree,
    Tree,
    complete,
    consistency_parts,
    hashes_of,
    inclusion_parts,
    is_consistent,
    is_included,
    leaf_hash,
)

SIZES = range(71)
LEAVES = [f"leaf {index}".encode() for index in range(300)]


def slow_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    half = slow_half(len(leaves))
    pair = slow_root(leaves[:half]) + slow_root(leaves[half:])
    return hashlib.sha256(b"\x01" + pair).digest()


def slow_half(count: int) -> int:
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def slow_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    half = slow_half(len(leaves))
    if index < half:
        return [*slow_path(index, leaves[:half]), slow_root(leaves[half:])]
    return [*slow_path(index - half, leaves[half:]), slow_root(leaves[:half])]


def slow_proof(before: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    if before == len(leaves):
        return [] if whole else [slow_root(leaves)]
    half = slow_half(len(leaves))
    if before <= half:
        left = slow_proof(before, leaves[:half], whole=whole)
        return [*left, slow_root(leaves[half:])]
    return [*slow_proof(before - half, leaves[half:], whole=False), slow_root(leaves[:half])]


def read(subtrees: list[Subtree]) -> list[bytes]:
    return [
        complete([leaf_hash(leaf) for leaf in LEAVES[one.start : one.end]]) for one in subtrees
    ]


def proof_of(parts: list[Range]) -> list[bytes]:
    return hashes_of(parts, lambda subtrees: read(list(subtrees)))


def grown(size: int) -> Tree:
    tree = Tree()
    for leaf in LEAVES[:size]:
        tree.append(leaf_hash(leaf))
    return tree


def test_the_hashes_that_the_rfc_tells() -> None:
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert EMPTY_ROOT.hex() == empty
    empty_leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert leaf_hash(b"").hex() == empty_leaf


def test_a_tree_that_grows_has_the_root_of_the_definition() -> None:
    tree = Tree()
    for size in SIZES:
        assert tree.root() == slow_root(LEAVES[:size])
        assert tree.size == size
        done = tree.append(leaf_hash(LEAVES[size]))
        assert [hashed for _, hashed in done] == read([one for one, _ in done])
        assert all(one.end == size + 1 and one.level > 0 for one, _ in done)
        assert len(done) == ((size + 1) & -(size + 1)).bit_length() - 1


@given(size=st.integers(0, 300))
def test_a_tree_goes_on_from_its_peaks(size: int) -> None:
    tree = Tree(size, read(Range(0, size).subtrees()))
    assert tree.root() == slow_root(LEAVES[:size])
    copy = tree.copy()
    copy.append(leaf_hash(b"more"))
    assert copy.root() == slow_root([*LEAVES[:size], b"more"])
    assert tree.root() == slow_root(LEAVES[:size])


def test_peaks_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="2 peaks, not 1"):
        Tree(3, [EMPTY_ROOT])


def test_every_inclusion_proof_is_the_definitions_and_holds() -> None:
    for size in SIZES:
        root = slow_root(LEAVES[:size])
        for index in range(size):
            proof = proof_of(inclusion_parts(index, size))
            assert proof == slow_path(index, LEAVES[:size])
            leaf = leaf_hash(LEAVES[index])
            assert is_included(leaf=leaf, index=index, size=size, proof=proof, root=root)


def test_every_consistency_proof_is_the_definitions_and_holds() -> None:
    roots = [slow_root(LEAVES[:size]) for size in SIZES]
    for after in SIZES:
        for before in range(after + 1):
            proof = proof_of(consistency_parts(before, after))
            if 0 < before < after:
                assert proof == slow_proof(before, LEAVES[:after])
            assert is_consistent(
                before=before,
                before_root=roots[before],
                after=after,
                after_root=roots[after],
                proof=proof,
            )


@given(data=st.data(), size=st.integers(1, 300))
def test_a_proof_proves_nothing_else(data: st.DataObject, size: int) -> None:
    """Another leaf, place, size or root, a part more, fewer, swapped or changed: it does not hold."""
    index = data.draw(st.integers(0, size - 1))
    root = slow_root(LEAVES[:size])
    leaf = leaf_hash(LEAVES[index])
    proof = slow_path(index, LEAVES[:size])
    wrong = data.draw(st.sampled_from(["leaf", "index", "root", "more", "fewer", "changed"]))
    if wrong == "leaf":
        leaf = leaf_hash(b"another")
    elif wrong == "index":
        index = data.draw(st.integers(-1, size).filter(lambda one: one != index))
    elif wrong == "root":
        root = slow_root(LEAVES[: size - 1])
    elif wrong == "more":
        proof = [*proof, root]
    elif wrong == "fewer":
        if not proof:
            return
        del proof[data.draw(st.integers(0, len(proof) - 1))]
    else:
        if not proof:
            return
        proof[data.draw(st.integers(0, len(proof) - 1))] = EMPTY_ROOT
    assert not is_included(leaf=leaf, index=index, size=size, proof=proof, root=root)


@given(data=st.data(), after=st.integers(2, 300))
def test_no_proof_makes_another_history_consistent(data: st.DataObject, after: int) -> None:
    before = data.draw(st.integers(1, after - 1))
    changed = data.draw(st.integers(0, before - 1))
    other = [*LEAVES[:changed], b"another", *LEAVES[changed + 1 : after]]
    for leaves in (LEAVES[:after], other):
        assert not is_consistent(
            before=before,
            before_root=slow_root(LEAVES[:before]),
            after=after,
            after_root=slow_root(other),
            proof=slow_proof(before, leaves),
        )


@given(data=st.data(), after=st.integers(2, 300))
def test_a_consistency_proof_with_other_parts_does_not_hold(
    data: st.DataObject, after: int
) -> None:
    before = data.draw(st.integers(1, after - 1))
    proof = slow_proof(before, LEAVES[:after])
    place = data.draw(st.integers(0, len(proof) - 1))
    for parts in (
        [*proof, EMPTY_ROOT],
        [*proof[:place], *proof[place + 1 :]],
        [*proof[:place], EMPTY_ROOT, *proof[place + 1 :]],
        [],
    ):
        assert not is_consistent(
            before=before,
            before_root=slow_root(LEAVES[:before]),
            after=after,
            after_root=slow_root(LEAVES[:after]),
            proof=parts,
        )


def test_what_is_not_in_the_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="no leaf 3"):
        inclusion_parts(3, 3)
    with pytest.raises(ValueError, match="no beginning"):
        consistency_parts(4, 3)
    smaller = {"before": 3, "before_root": slow_root(LEAVES[:3])}
    root = slow_root(LEAVES[:2])
    assert not is_consistent(after=2, after_root=root, proof=[root], **smaller)  # type: ignore[arg-type]
