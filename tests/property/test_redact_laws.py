"""Goal: whatever surrounds a secret, however it is split and however often it is redacted, none of it is left.

Method: generated texts round generated secrets. Laws: nothing readable is left; redacting twice changes nothing more; the
parts of a text joined give what the whole gives; parsed and printed JSON agree; ordinary numbers stay.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sentinel.core.redact import Redactor, redact, redact_fields, redact_parts
from sentinel.core.redact.checks import card_lengths, is_card_number, passes_luhn
from tests.support.canaries import CARD_DISGUISES, DISGUISES, GONE, SHAPED

PREFIXES = (
    "4",
    "51",
    "55",
    "2221",
    "2720",
    "34",
    "37",
    "6011",
    "644",
    "65",
    "3528",
    "36",
    "62",
    "6759",
)


@st.composite
def cards(draw: st.DrawFn) -> str:
    """Numbers of every issuer and length, with their check digit."""
    prefix = draw(st.sampled_from(PREFIXES))
    lengths = sorted(card_lengths((prefix + "0000")[:4]))
    length = draw(st.sampled_from(lengths))
    body = prefix + draw(
        st.text("0123456789", min_size=length - len(prefix) - 1, max_size=length - len(prefix) - 1)
    )
    return next(body + digit for digit in "0123456789" if passes_luhn(body + digit))


AROUND = st.text(
    st.characters(codec="utf-8", exclude_categories=("Nd", "Cs")) | st.sampled_from('{}[]"\'=:;,&<>\\/%@ \n'),
    max_size=40,
).filter(lambda text: not text.endswith(".") and redact(text) == text)  # fmt: skip


@given(card=cards(), before=AROUND, after=AROUND, form=st.sampled_from(sorted(CARD_DISGUISES)))
def test_a_card_is_gone_whatever_stands_round_it(
    card: str, before: str, after: str, form: str
) -> None:
    line = f"{before} {CARD_DISGUISES[form](card)} {after}"
    hidden = redact(line)
    assert card not in re.sub(r"[^0-9\n]", "", hidden)


@given(
    kind=st.sampled_from(sorted(SHAPED)),
    before=AROUND,
    after=AROUND,
    form=st.sampled_from(sorted(DISGUISES)),
)
def test_a_shape_is_gone_whatever_stands_round_it(
    kind: str, before: str, after: str, form: str
) -> None:
    assume("\\" not in before[-3:] and "%" not in before[-3:])
    secret = SHAPED[kind]
    hidden = redact(f"{before} {DISGUISES[form](secret)} {after}")
    assert GONE.get(kind, secret) not in hidden


@given(text=st.text(max_size=300) | st.sampled_from(sorted(SHAPED.values())))
def test_redacting_again_changes_nothing(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(card=cards(), cuts=st.lists(st.integers(0, 30), max_size=4))
def test_parts_joined_are_the_whole(card: str, cuts: list[int]) -> None:
    line = f"pay {card} now"
    at = sorted({min(cut, len(line)) for cut in cuts} | {0, len(line)})
    parts = [line[start:end] for start, end in pairwise(at)]
    assert redact_parts(parts) == "pay [PAN] now"


@given(card=cards(), at=st.integers(0, 19))
def test_neither_side_of_a_cut_shows_six_digits_of_a_card(card: str, at: int) -> None:
    line = f"pay {card} now"
    cut = 4 + min(at, len(card))
    redactor = Redactor()
    first = redactor.text(line[:cut], cut_end=True)
    second = redactor.text(line[cut:], cut_start=True)
    for shown in (first, second):
        assert re.search(r"[0-9]{6}", shown) is None


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(max_size=30) | cards(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
        max_leaves=20,
    )
)  # fmt: skip
def test_values_lose_what_their_printed_text_would_lose(value: object) -> None:
    """What `redact_fields` lets through, `redact` finds nothing in, save what only its text form looks like."""
    hidden = redact_fields(value)
    assert redact_fields(hidden) == hidden
    for text in _texts(hidden):
        assert redact(text) == text


@given(
    stamp=st.integers(1_500_000_000, 1_999_999_999),
    scale=st.sampled_from([0, 3, 6, 9]),
    low=st.integers(0, 10**9 - 1),
)
def test_times_of_these_decades_stay(stamp: int, scale: int, low: int) -> None:
    number = stamp * 10**scale + low % 10**scale
    assert not is_card_number(str(number))
    assert redact(f"at {number} ok") == f"at {number} ok"


@given(trace=st.binary(min_size=16, max_size=16), span=st.binary(min_size=8, max_size=8))
def test_ids_stay(trace: bytes, span: bytes) -> None:
    line = json.dumps({"trace_id": trace.hex(), "spanId": span.hex(), "link": trace.hex() + "a"})
    line = f"{line} trace_id={trace.hex()} span_id={span.hex()}"
    assert redact(line) == line


@pytest.mark.full
@given(text=st.text(max_size=3000))
def test_any_text_ends_in_text(text: str) -> None:
    assert isinstance(redact(text), str)


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return []
