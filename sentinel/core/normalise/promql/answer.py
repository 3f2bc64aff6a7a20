"""The body of an answer of the query API: vector, matrix or scalar, as labels and arrays.

A matrix has up to 11,000 values a series, each `[seconds,"text"]`. As Python objects these would take six times the body; so the
numbers of each series are cut out of the text and read as one array, and only what is left is read as JSON. A body that is
written in another way than servers write it is read whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import orjson
from numpy.typing import NDArray

from sentinel.core.normalise.strict_json import parse_strictly
from sentinel.errors import MalformedInputError

_BEGIN = b'"values":['
_END = b"]]"
_NOT_IN_NUMBERS = b'0123456789+-.eEInfaN[],"'
_PUNCTUATION = b'[]"'
_LABELS_COUNT_MAX = 128
_TEXTS_MAX = 20
_MS = 1_000_000
_SECONDS_MAX = 7_258_118_400.0
"""The year 2200: nanoseconds are counted in 64 bits."""

Times = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSeries:
    """One series.

    Attributes:
        labels: as the server gives them; text from outside.
        time_ns: int64[n], ascending, to the millisecond.
        value: float64[n]; may be NaN or infinite.
    """

    labels: Mapping[str, str]
    time_ns: Times
    value: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a query gave.

    Attributes:
        series: in the server's order.
        warnings, infos: what the server says besides, such as that a part of it did not answer.
        histogram_count: series or values that are native histograms, which no query for a number gives; left out.
    """

    series: tuple[AnswerSeries, ...] = ()
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()
    histogram_count: int = 0

    @property
    def value_count(self) -> int:
        """How many values there are."""
        return sum(one.value.size for one in self.series)


def decode_answer(body: bytes) -> Answer:
    """Read an answer.

    Raises:
        MalformedInputError: it is none, or says that there was an error.
        InputTooLargeError: it would take far more memory than its size.
    """
    skeleton, columns = _without_numbers(body)
    document = parse_strictly(skeleton)
    if not isinstance(document, dict) or document.get("status") != "success":
        msg = "the answer is not one of the query API"
        raise MalformedInputError(msg)
    data = document.get("data")
    if not isinstance(data, dict):
        msg = "the answer has no data"
        raise MalformedInputError(msg)
    kind, result = data.get("resultType"), data.get("result")
    if not isinstance(result, list):
        msg = "the answer has no list of results"
        raise MalformedInputError(msg)
    if kind == "scalar":
        result = [{"metric": {}, "value": result}]
    elif kind not in ("vector", "matrix"):
        msg = f"a result of type {str(kind)[:20]!a} is no number of series"
        raise MalformedInputError(msg)
    series: list[AnswerSeries] = []
    histogram_count = 0
    for one in result:
        if not isinstance(one, dict):
            msg = "a result is no object"
            raise MalformedInputError(msg)
        histogram_count += _is_histogram(one)
        if "values" in one or "value" in one:
            time_ns, value = _points_of(one, columns)
            series.append(
                AnswerSeries(labels=_labels_of(one.get("metric")), time_ns=time_ns, value=value)
            )
    return Answer(
        series=tuple(series),
        warnings=(*_texts(document.get("warnings")), *_lacks(document)),
        infos=_texts(document.get("infos")),
        histogram_count=histogram_count,
    )


def error_of(body: bytes) -> tuple[str, str]:
    """Type and text of the error that an answer tells of, ("", "") when it tells of none; text from outside."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return "", ""
    if not isinstance(document, dict):
        return "", ""
    return str(document.get("errorType", ""))[:40], str(document.get("error", ""))[:500]


def _without_numbers(body: bytes) -> tuple[bytes, list[tuple[Times, Values]]]:
    """The text with each list of values replaced by its number in what is returned besides.

    Inside a JSON text every quote has a backslash before it, and a key's closing quote is followed by a colon as no value's is: what
    begins with `"values":[` is therefore never a part of a label.
    """
    pieces: list[bytes] = []
    texts: list[bytes] = []
    at = 0
    while (begin := body.find(_BEGIN, at)) >= 0:
        first = begin + len(_BEGIN)
        if body.startswith(b"]", first):
            end = first
        elif (end := body.find(_END, first) + 1) == 0:
            return body, []
        texts.append(body[first:end])
        # An array cannot be mistaken for a list of pairs: it holds one whole number.
        pieces += [body[at:first], b"%d" % (len(texts) - 1)]
        at = end
    pieces.append(body[at:])
    whole = b",".join(filter(None, texts))
    if whole.translate(None, _NOT_IN_NUMBERS):
        return body, []  # written in another way; it is read as it is
    return b"".join(pieces), _columns_of(texts, whole)


def _columns_of(texts: list[bytes], whole: bytes) -> list[tuple[Times, Values]]:
    """Times and values of each text, read all at once: most series are short."""
    counts = [text.count(b",") + 1 if text else 0 for text in texts]
    total = sum(counts)
    if not total:
        return [(np.empty(0, np.int64), np.empty(0, np.float64)) for _ in texts]
    try:
        numbers = np.fromstring(whole.translate(None, _PUNCTUATION), dtype=np.float64, sep=",")
    except (ValueError, DeprecationWarning) as error:
        raise _bad_value() from error
    if (
        numbers.size != total
        or whole.count(b'"') != total
        or any(count % 2 for count in counts)
        or any(not text.startswith(b"[") for text in texts if text)
    ):
        raise _bad_value()
    bounds = np.cumsum(np.array([0, *counts]) // 2)
    time_ns = _times(numbers[0::2], bounds)
    value = numbers[1::2].copy()
    at = bounds.tolist()
    return [(time_ns[first:last], value[first:last]) for first, last in pairwise(at)]


def _points_of(
    one: dict[object, object], columns: list[tuple[Times, Values]]
) -> tuple[Times, Values]:
    given = one["values"] if "values" in one else [one["value"]]
    if not isinstance(given, list):
        raise _bad_value()
    if columns and len(given) == 1 and isinstance(given[0], int):
        if given[0] >= len(columns):
            raise _bad_value()
        return columns[given[0]]
    seconds, values = [], []
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[1], str):
            raise _bad_value()
        try:
            seconds.append(float(pair[0]))
            values.append(float(pair[1]))
        except (TypeError, ValueError) as error:
            raise _bad_value() from error
    return _times(np.array(seconds, np.float64)), np.array(values, np.float64)


def _times(seconds: Values, bounds: NDArray[np.int64] | None = None) -> Times:
    """Nanoseconds, which ascend between two bounds."""
    if seconds.size and not (float(seconds.min()) >= 0 and float(seconds.max()) < _SECONDS_MAX):
        msg = "the answer has a time that cannot be"
        raise MalformedInputError(msg)
    time_ns = np.round(seconds * 1000).astype(np.int64) * _MS
    ascends = np.diff(time_ns) > 0
    if bounds is not None:
        inner = bounds[(bounds > 0) & (bounds < time_ns.size)]
        ascends[inner - 1] = True
    if not ascends.all():
        msg = "the answer has times that do not ascend"
        raise MalformedInputError(msg)
    return time_ns


def _bad_value() -> MalformedInputError:
    return MalformedInputError("the answer has a value that is no pair of seconds and text")


def _labels_of(given: object) -> dict[str, str]:
    if not isinstance(given, dict) or len(given) > _LABELS_COUNT_MAX:
        msg = "a result has no labels, or too many"
        raise MalformedInputError(msg)
    if not all(isinstance(value, str) for value in given.values()):
        msg = "a result has a label that is no text"
        raise MalformedInputError(msg)
    return given


def _is_histogram(one: dict[object, object]) -> bool:
    return "histogram" in one or "histograms" in one


def _lacks(document: dict[str, object]) -> tuple[str, ...]:
    """How VictoriaMetrics says that a part of it did not answer, as a warning, which others say it by."""
    return (
        ("isPartial: a part of the data is missing",) if document.get("isPartial") is True else ()
    )


def _texts(given: object) -> tuple[str, ...]:
    if not isinstance(given, list):
        return ()
    return tuple(str(one)[:500] for one in given[:_TEXTS_MAX])
