"""Goal: what a server of the query API answers is read as it is meant, fast or slowly, and what is no answer is refused.

Method: bodies as Prometheus writes them, the same written in other ways, and the same with one thing wrong; the two ways of reading
must agree on any matrix.
"""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.normalise.promql.answer import Answer, decode_answer, error_of
from sentinel.errors import InputError, MalformedInputError


def body(kind: str, result: object, **more: object) -> bytes:
    document = {"status": "success", "data": {"resultType": kind, "result": result}, **more}
    return json.dumps(document, separators=(",", ":")).encode()


def plain(answer: Answer) -> list[tuple[object, list[int], list[str]]]:
    return [
        (one.labels, one.time_ns.tolist(), [repr(value) for value in one.value.tolist()])
        for one in answer.series
    ]


def test_a_matrix_has_labels_and_columns() -> None:
    answer = decode_answer(
        body(
            "matrix",
            [
                {"metric": {"route": "/a"}, "values": [[1.5, "2"], [60, "NaN"], [61, "+Inf"]]},
                {"metric": {"route": "/b"}, "values": []},
                {"metric": {"route": "/c"}, "histograms": [[1, {"count": "2"}]]},
            ],
            warnings=["a part did not answer"],
        )
    )
    assert plain(answer) == [
        ({"route": "/a"}, [1_500_000_000, 60_000_000_000, 61_000_000_000], ["2.0", "nan", "inf"]),
        ({"route": "/b"}, [], []),
    ]
    assert (answer.warnings, answer.histogram_count, answer.value_count) == (
        ("a part did not answer",),
        1,
        3,
    )


def test_a_vector_and_a_scalar_are_series_of_one_value() -> None:
    vector = decode_answer(body("vector", [{"metric": {"a": "b"}, "value": [10, "-1e-3"]}]))
    assert plain(vector) == [({"a": "b"}, [10_000_000_000], ["-0.001"])]
    assert plain(decode_answer(body("scalar", [10, "7"]))) == [({}, [10_000_000_000], ["7.0"])]


def test_a_label_that_looks_like_values_is_a_label() -> None:
    labels = {"values": "[[1,2]]", "x": '"values":[[1,"2"]]', "y": '\\"values":[[3,"4"]]'}
    answer = decode_answer(body("matrix", [{"metric": labels, "values": [[1, "2"]]}]))
    assert plain(answer) == [(labels, [1_000_000_000], ["2.0"])]


_NUMBERS = st.one_of(
    st.floats(width=64).map(repr),
    st.integers(-(10**18), 10**18).map(str),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1e-7", "0"]),
)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
            st.lists(_NUMBERS, max_size=6),
        ),
        max_size=4,
    )
)
def test_both_ways_of_reading_agree(series: list[tuple[dict[str, str], list[str]]]) -> None:
    result = [
        {"metric": labels, "values": [[60 * at + 0.25, value] for at, value in enumerate(values)]}
        for labels, values in series
    ]
    document = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    fast = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
    slow = json.dumps(document, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        expected = plain(decode_answer(slow))
    except MalformedInputError:
        with pytest.raises(MalformedInputError):
            decode_answer(fast)
        return
    assert plain(decode_answer(fast)) == expected
    for (_, values), (_, _, read) in zip(series, expected, strict=True):
        for text, value in zip(values, read, strict=True):
            np.testing.assert_equal(float(value), float(text))


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"status":"error","errorType":"bad_data","error":"no"}',
        b'{"status":"success"}',
        b'{"status":"success","data":{"resultType":"matrix","result":{}}}',
        body("string", [1, "a"]),
        body("matrix", [7]),
        body("matrix", [{"metric": {}, "values": [[1, 2]]}]),
        body("matrix", [{"metric": {}, "values": [[1, "2"], [1, "3"]]}]),
        body("matrix", [{"metric": {}, "values": [[2, "2"], [1, "3"]]}]),
        body("matrix", [{"metric": {}, "values": [[1, "2", "3"]]}]),
        body("matrix", [{"metric": {}, "values": [[1, "2"], [3]]}]),
        body("matrix", [{"metric": {}, "values": [[1, "--2"]]}]),
        body("matrix", [{"metric": {}, "values": [[1e20, "2"]]}]),
        body("matrix", [{"metric": {}, "values": [[-1, "2"]]}]),
        body("matrix", [{"metric": {}, "values": [["x", "2"]]}]),
        body("matrix", [{"metric": {}, "values": [3]}]),
        body("matrix", [{"metric": {"a": 1}, "values": [[1, "2"]]}]),
        body("matrix", [{"metric": None, "values": [[1, "2"]]}]),
        body("matrix", [{"metric": {}, "values": [[1, "2"]]}])[:-9],
    ],
)
def test_what_is_no_answer_is_refused(wrong: bytes) -> None:
    with pytest.raises(MalformedInputError):
        decode_answer(wrong)


def test_the_error_of_an_answer_is_found() -> None:
    assert error_of(b'{"status":"error","errorType":"timeout","error":"too slow"}') == (
        "timeout",
        "too slow",
    )
    assert error_of(b"<html>") == ("", "")
    assert error_of(b"[]") == ("", "")


def test_a_damaged_answer_is_read_or_refused_and_nothing_else() -> None:
    labels: dict[str, str] = {"route": '/a "values":[[1,"2"]]', "b": "é"}
    result: list[object] = [
        {"metric": labels | {"n": str(at)}, "values": [[60 * one, "1.5"] for one in range(9)]}
        for at in range(4)
    ]
    good = body("matrix", result, warnings=["x"])
    rng = random.Random(3)
    refused = 0
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            match rng.randrange(3):
                case 0:
                    data[at] = rng.choice(b'[]{}",:0e.-aN\\\x00\xff')
                case 1:
                    del data[at : at + rng.randrange(1, 30)]
                case _:
                    data[at:at] = data[: rng.randrange(1, 30)]
        try:
            answer = decode_answer(bytes(data))
        except InputError:
            refused += 1
            continue
        for one in answer.series:
            assert one.time_ns.shape == one.value.shape
            assert (np.diff(one.time_ns) > 0).all()
    assert 1000 < refused < 3000
