"""An answer of a query as rows: a place and a signal, when, how much, and how many calls are behind it.

What is absent in an answer is absent here: a gap is no zero. NaN, such as failed calls divided by none, says that the source was
heard and there was nothing to tell. A value at an instant is of the step that ends there, so the time of a row is where that began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SHARE_KINDS, SIGNAL_TRAFFIC, Kind, Scope, SeriesKey
from sentinel.core.normalise.promql.answer import Answer, AnswerSeries
from sentinel.core.normalise.promql.rules import Places, QueryRule
from sentinel.core.redact import redact

_FLOAT32_MAX = 3.4028234663852886e38
_SHARE_SLACK = 1e-6
"""A share a little above 1 is one that was divided, not a count that was taken for a share."""
_NS = 1_000_000_000
_MS = 1_000_000


class Skip(StrEnum):
    """Why values of an answer were left out; fit to be a metric label."""

    NOT_FINITE = "infinite"
    OUT_OF_BOUNDS = "not possible for its signal"
    SAME_PLACE = "of a second series of the same place"
    SERIES_LIMIT = "of series over series_max"
    HISTOGRAM = "native histograms"
    OUTSIDE = "at a time that was not asked for"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRows:
    """n rows of one query, series by series in order of their keys, each ascending in time.

    Attributes:
        kind: how the series are judged.
        keys: the series.
        key_index: int32[n], position in `keys`, ascending.
        time_ns: int64[n], where the step began that the value is of.
        value: float64[n], NaN where the source was heard and had nothing to tell.
        weight: float64[n], calls behind the value; NaN where that is not known.
        skipped: values left out, by reason.
        notes: what a person should know of them, one sentence each.
    """

    kind: Kind
    keys: tuple[SeriesKey, ...]
    key_index: NDArray[np.int32]
    time_ns: NDArray[np.int64]
    value: NDArray[np.float64]
    weight: NDArray[np.float64]
    skipped: Mapping[Skip, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def rows_of(
    places: Places,
    values: Answer,
    calls: Answer | None = None,
    *,
    step_ns: int,
    start_ns: int | None = None,
    end_ns: int | None = None,
) -> QueryRows:
    """The rows of an answer.

    Args:
        places: of the query's series.
        values: its answer.
        calls: the answer to the query of its calls a second, over the same time.
        step_ns: between two values of a series.
        start_ns: rows before were not asked for and are left out, as are those from `end_ns` on; None for no limit.
        end_ns: see `start_ns`.
    """
    rule = places.rule
    skipped: dict[Skip, int] = {}
    notes: list[str] = []
    _count(skipped, Skip.HISTOGRAM, values.histogram_count)
    taken = _by_key(places, values, skipped=skipped, notes=notes)
    keys = sorted(taken)
    if len(keys) > rule.series_count_max:
        over = keys[rule.series_count_max :]
        _count(skipped, Skip.SERIES_LIMIT, sum(taken[key].value.size for key in over))
        notes.append(
            f"query {rule.name} gives more than {rule.series_count_max} series, and no more are taken: series_max"
        )
        keys = keys[: rule.series_count_max]
    ordered = [taken[key] for key in keys]
    number, time_ns, value = _columns(ordered)
    weight = _weight(places, keys, number, time_ns, value * rule.scale, calls, step_ns=step_ns)
    value = value * rule.scale
    time_ns = time_ns - step_ns
    keep = np.ones(value.size, dtype=np.bool_)
    if start_ns is not None and end_ns is not None:
        keep = (time_ns >= start_ns) & (time_ns < end_ns)
        _count(skipped, Skip.OUTSIDE, int(np.count_nonzero(~keep)))
    infinite = keep & np.isinf(value)
    _count(skipped, Skip.NOT_FINITE, int(np.count_nonzero(infinite)))
    wrong = keep & ~infinite & _is_wrong(rule.kind, value)
    _count(skipped, Skip.OUT_OF_BOUNDS, int(np.count_nonzero(wrong)))
    keep &= ~(infinite | wrong)
    if rule.kind in SHARE_KINDS:
        value = np.minimum(value, 1.0)
    return QueryRows(
        kind=rule.kind,
        keys=tuple(keys),
        key_index=number[keep],
        time_ns=time_ns[keep],
        value=value[keep],
        weight=weight[keep],
        skipped=skipped,
        notes=tuple(notes),
    )


def with_traffic_calls(rows: Sequence[QueryRows]) -> tuple[QueryRows, ...]:
    """The same, where what is not known of the calls of a place is taken from the traffic of that place at that time."""
    number_of: dict[Scope, int] = {}
    known: list[tuple[NDArray[np.int64], QueryRows]] = []
    for one in rows:
        if one.kind is Kind.TRAFFIC and one.keys:
            numbers = [number_of.setdefault(key.scope, len(number_of)) for key in one.keys]
            known.append((np.array(numbers, np.int64)[one.key_index], one))
    if not known:
        return tuple(rows)
    calls = _Calls(
        np.concatenate([number for number, _ in known]),
        np.concatenate([one.time_ns for _, one in known]),
        np.concatenate([one.weight for _, one in known]),
    )
    filled = []
    for one in rows:
        unknown = np.isnan(one.weight)
        if one.kind in (Kind.TRAFFIC, Kind.GAUGE) or not unknown.any():
            filled.append(one)
            continue
        numbers = [number_of.get(key.scope, -1) for key in one.keys]
        found = calls.at(np.array(numbers, np.int64)[one.key_index], one.time_ns)
        filled.append(replace(one, weight=np.where(unknown, found, one.weight)))
    return tuple(filled)


class _Calls:
    """Numbers by series and time, to be looked up."""

    def __init__(
        self, number: NDArray[np.int64], time_ns: NDArray[np.int64], value: NDArray[np.float64]
    ) -> None:
        self._first_ns = int(time_ns.min()) if time_ns.size else 0
        self._width = (int(time_ns.max()) - self._first_ns) // _MS + 1 if time_ns.size else 1
        code = self._code(number, time_ns)
        order = np.argsort(code, kind="stable")
        self._sorted, self._value = code[order], value[order]

    def at(self, number: NDArray[np.int64], time_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Values of these series at these times; NaN where there is none, and for the number -1."""
        if not self._sorted.size:
            return np.full(number.size, np.nan)
        inside = (number >= 0) & (time_ns >= self._first_ns)
        inside &= (time_ns - self._first_ns) // _MS < self._width
        code = np.where(inside, self._code(number, time_ns), -1)
        at = np.minimum(np.searchsorted(self._sorted, code), self._sorted.size - 1)
        return np.where(self._sorted[at] == code, self._value[at], np.nan)

    def _code(self, number: NDArray[np.int64], time_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        # Times of answers are whole milliseconds, and so many fit beside a series' number.
        return number * self._width + (time_ns - self._first_ns) // _MS


def _columns(
    series: Sequence[AnswerSeries],
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]:
    sizes = [one.value.size for one in series]
    return (
        np.repeat(np.arange(len(series), dtype=np.int32), sizes),
        np.concatenate([np.empty(0, np.int64), *(one.time_ns for one in series)]),
        np.concatenate([np.empty(0, np.float64), *(one.value for one in series)]),
    )


def _by_key(
    places: Places,
    answer: Answer,
    *,
    skipped: dict[Skip, int] | None,
    notes: list[str] | None,
) -> dict[SeriesKey, AnswerSeries]:
    """The series by what they are called; of several that are called the same, the first by its labels."""
    taken: dict[SeriesKey, AnswerSeries] = {}
    for one in answer.series:
        key = places.key_of(one.labels)
        other = taken.setdefault(key, one)
        if other is one:
            continue
        first, second = sorted((other, one), key=lambda each: sorted(each.labels.items()))
        taken[key] = first
        if skipped is not None and notes is not None:
            if not skipped.get(Skip.SAME_PLACE):
                notes.append(_told_twice(places.rule, key, first.labels, second.labels))
            _count(skipped, Skip.SAME_PLACE, second.value.size)
    return taken


def _told_twice(
    rule: QueryRule, key: SeriesKey, first: Mapping[str, str], second: Mapping[str, str]
) -> str:
    differ = sorted(
        name for name in {*first, *second} if first.get(name, "") != second.get(name, "")
    )
    return redact(
        f"query {rule.name} gives several series for {key}, which differ in {', '.join(differ)}: aggregate them (sum by),"
        " or let that label name the route (route_labels, without_labels)"
    )


def _weight(
    places: Places,
    keys: Sequence[SeriesKey],
    number: NDArray[np.int32],
    time_ns: NDArray[np.int64],
    value: NDArray[np.float64],
    calls: Answer | None,
    *,
    step_ns: int,
) -> NDArray[np.float64]:
    """Calls behind each value: those a second times the step."""
    if calls is not None:
        found = _by_key(places, calls, skipped=None, notes=None)
        number_of = {key: at for at, key in enumerate(keys)}
        known = [(number_of[key], one) for key, one in found.items() if key in number_of]
        numbers, times_ns, values = _columns([one for _, one in known])
        own = np.array([at for at, _ in known], np.int64)[numbers]
        rate = _Calls(own, times_ns, values).at(number.astype(np.int64), time_ns)
    elif places.rule.signal == SIGNAL_TRAFFIC:
        rate = value
    else:
        return np.full(value.size, np.nan)
    with np.errstate(invalid="ignore"):
        weight = rate * (step_ns / _NS)
        return np.where(np.isfinite(weight) & (weight >= 0), weight, np.nan)


def _is_wrong(kind: Kind, value: NDArray[np.float64]) -> NDArray[np.bool_]:
    wrong = np.abs(value) > _FLOAT32_MAX
    if kind is not Kind.GAUGE:
        wrong |= value < 0
    if kind in SHARE_KINDS:
        wrong |= value > 1 + _SHARE_SLACK
    return wrong


def _count(skipped: dict[Skip, int], reason: Skip, count: int) -> None:
    if count:
        skipped[reason] = skipped.get(reason, 0) + count
