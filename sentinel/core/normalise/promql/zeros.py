"""What an absent series of a counter means, where a query says that it means none: 0, and not that nothing is known.

A client that counts failures by their code shows no series of a code before it first met it, and none again after a restart.

    of the query                  absent is 0
    a share of calls              at a place with calls at that time
    an amount, such as traffic    at a place that had a value within a day, while anything else was told of at that time

Whatever else is absent stays so: of a server that gave nothing at all, nothing is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SHARE_KINDS, Kind, SeriesKey
from sentinel.core.normalise.promql.rows import QueryRows
from sentinel.core.normalise.promql.rules import QueryRule

KNOWN_FOR_NS = 86_400_000_000_000
"""How long after its last value a series is still taken for one that counts nothing."""

Times = NDArray[np.int64]


def with_zeros(
    rows: Sequence[QueryRows],
    rules: Sequence[QueryRule],
    *,
    calls: Mapping[str, QueryRows] | None = None,
    known: Mapping[str, Mapping[SeriesKey, int]] | None = None,
) -> tuple[QueryRows, ...]:
    """The rows of one server's queries with the zeros that their rules ask for.

    Args:
        rows: of each query, over the same steps.
        rules: of each.
        calls: of queries with calls of their own, by name: those calls as rows of traffic.
        known: by query, when series had their last value before these rows (Unix ns, where its step began).
    """
    told_ns = np.unique(np.concatenate([np.empty(0, np.int64), *(one.time_ns for one in rows)]))
    traffic = [one for one in rows if one.kind is Kind.TRAFFIC]
    found = []
    for one, rule in zip(rows, rules, strict=True):
        if not rule.absent_is_zero:
            found.append(one)
        elif rule.kind in SHARE_KINDS:
            own = None if calls is None else calls.get(rule.name)
            beside = traffic if own is None else [own]
            others = {
                key
                for other in rows
                if other is not one and other.kind is one.kind
                for key in other.keys
            }
            found.append(_with_zero_shares(one, rule, beside, others))
        else:
            found.append(_with_zero_amounts(one, (known or {}).get(rule.name, {}), told_ns))
    return tuple(found)


def last_told(rows: Sequence[QueryRows]) -> dict[SeriesKey, int]:
    """When each series had its last value."""
    found: dict[SeriesKey, int] = {}
    for one in rows:
        bounds = _bounds(one)
        for number, key in enumerate(one.keys):
            first, last = bounds[number], bounds[number + 1]
            if last > first:
                found[key] = max(found.get(key, 0), int(one.time_ns[last - 1]))
    return found


def _with_zero_shares(
    rows: QueryRows, rule: QueryRule, calls: Sequence[QueryRows], others: set[SeriesKey]
) -> QueryRows:
    """0 of the calls of each place and time that has some, and no share; of what another query gives, that one says it."""
    added: list[tuple[SeriesKey, Times, NDArray[np.float64]]] = []
    for source in calls:
        bounds = _bounds(source)
        for number, place in enumerate(source.keys):
            key = place._replace(signal=rule.signal)
            if key in others or not _may_give(rule, key):
                continue
            here = slice(bounds[number], bounds[number + 1])
            weight = source.weight[here]
            some = weight > 0
            added.append((key, source.time_ns[here][some], weight[some]))
    return _with(rows, added)


def _with_zero_amounts(
    rows: QueryRows, known: Mapping[SeriesKey, int], told_ns: Times
) -> QueryRows:
    own, times_of = last_told([rows]), _Times(rows)
    added: list[tuple[SeriesKey, Times, NDArray[np.float64]]] = []
    kind_weight = 1.0 if rows.kind is Kind.GAUGE else 0.0
    for key in sorted({*own, *known}):
        seen_ns = times_of.of(key)
        before = np.array([known[key]] if key in known else [], np.int64)
        since = np.concatenate([before, seen_ns])
        at = np.searchsorted(since, told_ns, side="right") - 1
        within = (at >= 0) & (told_ns - since[np.maximum(at, 0)] <= KNOWN_FOR_NS)
        times = told_ns[within]
        added.append((key, times, np.full(times.size, kind_weight)))
    return _with(rows, added)


def _bounds(rows: QueryRows) -> list[int]:
    """The rows of key i are `[i]` to `[i + 1]`."""
    found: list[int] = np.searchsorted(rows.key_index, np.arange(len(rows.keys) + 1)).tolist()
    return found


class _Times:
    """The times of each series of some rows."""

    def __init__(self, rows: QueryRows) -> None:
        self._rows = rows
        self._bounds = _bounds(rows)
        self._number_of = {key: number for number, key in enumerate(rows.keys)}

    def of(self, key: SeriesKey) -> Times:
        """Its times, ascending; none where it has no row."""
        number = self._number_of.get(key)
        if number is None:
            return np.empty(0, np.int64)
        return self._rows.time_ns[self._bounds[number] : self._bounds[number + 1]]


def _may_give(rule: QueryRule, key: SeriesKey) -> bool:
    """Whether a query's series may be called so: it has the names that the query fixes."""
    return all(
        not fixed or fixed == name
        for fixed, name in (
            (rule.service, key.service),
            (rule.stage, key.stage),
            (rule.route, key.route),
        )
    )


def _with(
    rows: QueryRows, added: Sequence[tuple[SeriesKey, Times, NDArray[np.float64]]]
) -> QueryRows:
    """The rows with zeros at the times that have no row."""
    keys = sorted({*rows.keys, *(key for key, times, _ in added if times.size)})
    position = {key: number for number, key in enumerate(keys)}
    times_of = _Times(rows)
    index = [np.array([position[key] for key in rows.keys], np.int32)[rows.key_index]]
    time_ns, value, weight = [rows.time_ns], [rows.value], [rows.weight]
    for key, times, weights in added:
        new = ~np.isin(times, times_of.of(key))
        if new.any():
            count = int(np.count_nonzero(new))
            index.append(np.full(count, position[key], np.int32))
            time_ns.append(times[new])
            value.append(np.zeros(count))
            weight.append(weights[new])
    if len(index) == 1:
        return rows
    whole = np.concatenate(index), np.concatenate(time_ns)
    order = np.lexsort((whole[1], whole[0]))
    return replace(
        rows,
        keys=tuple(keys),
        key_index=whole[0][order],
        time_ns=whole[1][order],
        value=np.concatenate(value)[order],
        weight=np.concatenate(weight)[order],
    )
