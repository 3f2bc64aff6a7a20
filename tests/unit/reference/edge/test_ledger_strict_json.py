"""Goal: a body that gives a name twice is refused with its place, and every other one is read as it was. Method: texts, and any value."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain import InvalidTransferError
from sentinel.reference.ledger.edge import strict_json
from sentinel.reference.ledger.edge.strict_json import decode_strictly

# Texts that look like the ends of names, and like escapes of them.
texts = st.text(st.sampled_from('a":\\ ,{}[]\n\té')) | st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"amount_minor":1,"amount_minor":900}', "amount_minor"),
        (b'{"a":1,"b":2,"a":1}', "a"),
        (b'{"a" :1, "a"\n:2}', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"amount":{"minor":1,"minor":2}}', "amount.minor"),
        (b'{"items":[{"a":1},{"a":1,"a":2}]}', "items[1].a"),
        (b'[[{"a":{"b":0}},{"c":1,"c":2}]]', "[0][1].c"),
        # As many ends of names as without the second: by texts that look like them, and by one that does not.
        (b'{"a":":","b" :1,"a":2}', "a"),
        (b'{"a":"\\":","a":1}', "a"),
    ],
)
def test_a_name_that_is_given_twice_is_told_with_its_place(raw: bytes, field: str) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(raw)
    assert (caught.value.code, caught.value.field) == ("invalid_field", field)
    assert caught.value.message == f"{field} is given twice."


@given(
    value=values, indent=st.sampled_from([None, 1]), separator=st.sampled_from([":", ": ", " : "])
)
def test_every_other_text_is_read_as_ever(
    value: object, indent: int | None, separator: str
) -> None:
    text = json.dumps(value, indent=indent, separators=(",", separator)).encode()
    assert decode_strictly(text) == orjson.loads(text) == value


@given(
    value=st.dictionaries(texts, values, min_size=1, max_size=4),
    again=values,
    separator=st.sampled_from([":", " :"]),
    data=st.data(),
)
def test_no_text_hides_a_name_that_is_given_twice(
    value: dict[str, object], again: object, separator: str, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(value)))
    pairs = data.draw(st.permutations([*value.items(), (name, again)]))
    told = ",".join(f"{json.dumps(key)}{separator}{json.dumps(one)}" for key, one in pairs)
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(f"{{{told}}}".encode())
    assert caught.value.field == name


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a":1}}', b"NaN", b"\xff"])
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(raw)
    assert (caught.value.code, caught.value.field) == ("invalid_json", "")


def test_what_is_nested_deeper_than_is_looked_at_is_refused() -> None:
    """The slow decoder would run out of stack; the fast one takes a thousand."""
    raw = b"[" * 1000 + b'":"' + b"]" * 1000
    with pytest.raises(InvalidTransferError, match="not JSON"):
        decode_strictly(raw)


def test_usual_bodies_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those whose texts have colons, as accounts of the world outside have."""

    def slow(raw: bytes) -> None:
        pytest.fail(f"looked at twice: {raw!r}")

    monkeypatch.setattr(strict_json, "_check", slow)
    item = {"debit_account": "external:bank", "amount": {"minor": 5, "currency": "EUR"}}
    for text in (json.dumps({"items": [item]}), json.dumps(item, indent=2)):
        decode_strictly(text.encode())
