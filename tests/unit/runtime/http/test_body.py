"""Goal: inflating gives back what was compressed, or says why not, and never more than the budget.

Method: members made by gzip itself, cut, joined and damaged; properties over random content.
"""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.errors import (
    InputError,
    InputTooLargeError,
    MalformedInputError,
    UnsupportedInputError,
)
from sentinel.runtime.http.body import BodyLimitsConfig, body_is_gzip, inflate
from sentinel.runtime.settings import ByteSize

LIMITS = BodyLimitsConfig()


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=5), st.integers(0, 20))
def test_all_members_come_back(parts: list[bytes], padding: int) -> None:
    body = b"".join(gzip.compress(part) for part in parts) + bytes(padding)
    assert inflate(body, LIMITS) == b"".join(parts)


@given(st.binary(min_size=1, max_size=500), st.data())
def test_a_cut_body_is_malformed(content: bytes, data: st.DataObject) -> None:
    body = gzip.compress(content)
    cut = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(MalformedInputError):
        inflate(body[:cut], LIMITS)


@given(st.binary(max_size=300))
def test_anything_else_is_an_input_error(body: bytes) -> None:
    try:
        inflate(body, LIMITS)
    except InputError:
        return
    # By chance it is gzip; then Python's own reader agrees.
    assert gzip.decompress(body) == inflate(body, LIMITS)


def test_the_budget_runs_over_all_members() -> None:
    limits = BodyLimitsConfig(inflated_max=ByteSize(100_000))
    member = gzip.compress(bytes(range(256)) * 200)
    assert len(inflate(member, limits)) == 51_200
    with pytest.raises(InputTooLargeError) as caught:
        inflate(member * 2, limits)
    assert caught.value.limit_bytes == 100_000
    assert caught.value.size_bytes <= 100_000 + 256 * 1024


def test_the_ratio_counts_only_for_more_than_64_kib() -> None:
    assert len(inflate(gzip.compress(bytes(64 * 1024)), LIMITS)) == 64 * 1024
    with pytest.raises(InputTooLargeError):
        inflate(gzip.compress(bytes(2**20)), LIMITS)


def test_output_pending_after_the_last_input_is_not_lost() -> None:
    """One long match spans several steps of output after all input was consumed."""
    content = b"ab" * 2**20
    deflate = zlib.compressobj(9, wbits=31)
    body = deflate.compress(content) + deflate.flush()
    limits = BodyLimitsConfig(ratio_max=2000)
    assert inflate(body, limits) == content


def test_many_tiny_members_do_not_cost_a_square() -> None:
    with pytest.raises(MalformedInputError, match="members"):
        inflate(gzip.compress(b"") * 100_000, LIMITS)


@pytest.mark.parametrize(
    ("values", "is_gzip"),
    [
        ([], False),
        (["identity"], False),
        (["gzip"], True),
        ([" GZIP "], True),
        (["", "gzip"], True),
    ],
)
def test_identity_and_gzip_are_spoken(values: list[str], is_gzip: bool) -> None:  # noqa: FBT001  # a value under test
    assert body_is_gzip(values) is is_gzip


@pytest.mark.parametrize(
    "values", [["zstd"], ["deflate"], ["gzip, gzip"], ["gzip", "gzip"], ["gzip, br"], ["x" * 9999]]
)
def test_others_and_stacks_are_not(values: list[str]) -> None:
    with pytest.raises(UnsupportedInputError) as caught:
        body_is_gzip(values)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "name", ["compressed_max", "inflated_max", "ratio_max", "rate_min", "grace", "timeout"]
)
def test_limits_are_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        BodyLimitsConfig(**{name: 0})  # type: ignore[arg-type]
