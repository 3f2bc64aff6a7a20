"""Goal: what was packed comes back, and reading it holds the bytes once.

Method: arrays of every kind of shape packed whole and in pieces, then read; whoever reads gets views of the
bytes that cannot be written to, because a fit of many series is too large to be held twice.
"""

from __future__ import annotations

import numpy as np
import pytest

from sentinel.core.stats.packing import pack_arrays, packed_pieces, unpack_arrays

ARRAYS: dict[str, np.ndarray] = {
    "series": np.arange(5, dtype=np.int64),
    "across": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "none": np.zeros((0, 3)),
    "marks": np.array([True, False, True]),
}


def test_what_was_packed_comes_back() -> None:
    arrays, facts = unpack_arrays(pack_arrays(ARRAYS, {"format": 1}))
    assert facts == {"format": 1}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        assert np.array_equal(arrays[name], array)


def test_arrays_look_into_the_bytes_and_cannot_be_written_to() -> None:
    data = bytearray(pack_arrays(ARRAYS, {}))
    arrays, _ = unpack_arrays(data)
    assert np.shares_memory(arrays["across"], np.frombuffer(data, np.uint8))
    assert not any(array.flags.writeable for array in arrays.values())


def test_pieces_look_into_the_arrays_and_join_to_the_same_bytes() -> None:
    pieces = packed_pieces(ARRAYS, {"format": 1})
    assert any(
        np.shares_memory(np.frombuffer(piece, np.uint8), ARRAYS["series"]) for piece in pieces
    )
    assert b"".join(pieces) == pack_arrays(ARRAYS, {"format": 1})


@pytest.mark.parametrize("at", [0, 9, 20, -1])
def test_a_changed_byte_is_noticed(at: int) -> None:
    data = bytearray(pack_arrays(ARRAYS, {"format": 1}))
    data[at] ^= 1
    with pytest.raises(ValueError, match="packed arrays"):
        unpack_arrays(data)


def test_what_is_packed_inside_is_packed_in_its_pieces_as_in_its_bytes() -> None:
    """As bytes of its own it was held twice while it was packed."""
    whole = np.frombuffer(pack_arrays(ARRAYS, {"format": 1}), np.int8)
    pieces = packed_pieces(ARRAYS, {"format": 1})
    outer = pack_arrays(
        {"before": ARRAYS["series"], "inside": pieces, "marks": ARRAYS["marks"]}, {}
    )
    assert outer == pack_arrays(
        {"before": ARRAYS["series"], "inside": whole, "marks": ARRAYS["marks"]}, {}
    )
    inside, facts = unpack_arrays(unpack_arrays(outer)[0]["inside"].data.cast("B"))
    assert facts == {"format": 1}
    assert np.array_equal(inside["across"], ARRAYS["across"])
