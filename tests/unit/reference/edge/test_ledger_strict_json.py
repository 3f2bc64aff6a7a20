"""Goal: a body that gives a name twice is refused with its place, and every other one is read as it was. Method: texts, and any value."""

from __future__ import annotations

import json
import tracemalloc
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

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


@dataclass
class Object:
    """An object as it is written: its names may come more than once."""

    pairs: list[tuple[str, object]]

    def twice(self) -> set[str]:
        """Which names come more than once."""
        names = [name for name, _ in self.pairs]
        return {name for name in names if names.count(name) > 1}


names = st.sampled_from(["a", "b", "c", ".", "[0]", "", '":'])
writings = st.recursive(
    st.integers(0, 1) | texts,
    lambda inside: (
        st.lists(inside, max_size=4) | st.lists(st.tuples(names, inside), max_size=4).map(Object)
    ),
    max_leaves=20,
)


def written(value: object) -> str:
    if isinstance(value, Object):
        inside = (f"{json.dumps(name)}:{written(one)}" for name, one in value.pairs)
        return "{" + ",".join(inside) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(one) for one in value) + "]"
    return json.dumps(value)


def places(value: object) -> set[str]:
    """Return what the names may be called that are given twice by the first object, of those that lie least deep, with such names."""
    waiting: deque[tuple[str | None, object]] = deque([(None, value)])
    while waiting:
        place, each = waiting.popleft()
        if isinstance(each, Object):
            before = "" if place is None else f"{place}."
            if each.twice():
                return {before + name for name in each.twice()}
            waiting.extend((before + name, one) for name, one in each.pairs)
        elif isinstance(each, list):
            waiting.extend((f"{place or ''}[{at}]", one) for at, one in enumerate(each))
    return set()


@given(value=writings)
def test_the_place_is_the_first_of_those_that_lie_least_deep(value: object) -> None:
    raw, expected = written(value).encode(), places(value)
    if not expected:
        assert decode_strictly(raw) == orjson.loads(raw)
        return
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(raw)
    assert caught.value.field in expected


NAME = "n" * 20_000
TWICE = '{"a":1,"a":2}'
COLON = r'"\":"'


def crowd(each: str, count: int, last: str) -> str:
    """Return an object with a long name, of a list with so many alike and another one."""
    return json.dumps({NAME: 0})[:-2] + f"[{','.join([each] * count)},{last}]}}"


CROWD = {
    "lists": crowd("[]", 10_000, COLON),
    "objects": crowd("{}", 10_000, COLON),
    "numbers": crowd("1", 20_000, COLON),
    "names": crowd('{"b":[]}', 3_000, COLON),
    "twice after lists": crowd("[]", 10_000, f"[{TWICE}]"),
    "twice after objects": crowd("{}", 10_000, f"[{TWICE}]"),
    "twice after numbers": crowd("1", 20_000, f"[{TWICE}]"),
    "twice far in": f'{{"{NAME[:100]}":' * 300 + TWICE + "}" * 300,
    "twice each": crowd(TWICE, 3_000, TWICE),
}


@pytest.mark.parametrize("raw", CROWD.values(), ids=CROWD)
def test_a_body_that_means_harm_takes_room_by_its_length(raw: str) -> None:
    """Each value a path of its own, made beforehand, took thousands of times the body."""
    body = raw.encode()
    told = ""
    tracemalloc.start()
    try:
        decode_strictly(body)
    except InvalidTransferError as error:
        told = error.field
    finally:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak_bytes < 100 * len(body)
    assert bool(told) == (TWICE in raw)
    assert len(told) <= 256
    assert told.endswith(".a") == bool(told)


@pytest.mark.parametrize("count", [1_000, 4_000])
def test_what_is_looked_at_is_looked_at_once(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    looked_at: list[int] = []
    inside = strict_json._inside

    def counted(each: object) -> Iterable[object]:
        looked_at.append(id(each))
        return inside(each)

    monkeypatch.setattr(strict_json, "_inside", counted)
    text = '"\\":"'
    decode_strictly(f"[{'[],' * count}{text}]".encode())
    assert not looked_at, "nothing is given twice, so there is no place to look for"
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(f"[{'[],' * count}{TWICE}]".encode())
    assert caught.value.field == f"[{count}].a"
    # All lists, the one around them, and this once more for the place within it.
    assert len(looked_at) == count + 2


def test_a_place_that_no_answer_has_room_for_is_told_by_its_end() -> None:
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(f'{{"{NAME}":{TWICE},"{NAME}2":1}}'.encode())
    assert caught.value.field == "…" + NAME[:253] + ".a"
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(f'{{"{NAME}":1,"{NAME}":2}}'.encode())
    assert caught.value.field == "…" + NAME[:255]
    just_short_enough = NAME[:256]
    with pytest.raises(InvalidTransferError) as caught:
        decode_strictly(f'{{"{just_short_enough}":1,"{just_short_enough}":2}}'.encode())
    assert caught.value.field == just_short_enough


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
