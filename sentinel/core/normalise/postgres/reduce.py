"""Rows to readings, by the shapes."""

from __future__ import annotations

import math
from collections.abc import Iterator

from sentinel.core.normalise.labels import label_of
from sentinel.core.normalise.postgres.gains import Gain, Gains
from sentinel.core.normalise.postgres.readings import Level, Row, Rows, number, text
from sentinel.core.normalise.postgres.shapes import Shape

_MS_PER_S = 1000.0


def levels_of(subject: str, shape: Shape, rows: Rows, gains: Gains, *, now_ns: int) -> list[Level]:
    """What the rows come to; a row whose name another had before it is left out."""
    found: dict[tuple[str, str], float] = {}
    for row in _with_zeros(shape, rows):
        route = route_of(shape, row)
        for signal, value in _of_row(subject, shape, row, gains, route=route, now_ns=now_ns):
            if math.isfinite(value):
                found.setdefault((route, signal), value)
    return [Level(route, signal, value) for (route, signal), value in found.items()]


def route_of(shape: Shape, row: Row) -> str:
    """The route of a row: what comes from the server is redacted and cut, as every label is."""
    if "{" not in shape.route:
        return shape.route
    named = {column: text(row, column) for column in row if f"{{{column}}}" in shape.route}
    return label_of(shape.route.format(**named))


def _with_zeros(shape: Shape, rows: Rows) -> list[Row]:
    made = list(rows)
    for column, names in shape.zeros.items():
        seen = {text(row, column) for row in rows}
        made += [
            {column: name, **dict.fromkeys(shape.levels, 0)} for name in names if name not in seen
        ]
    return made


def _of_row(
    subject: str, shape: Shape, row: Row, gains: Gains, *, route: str, now_ns: int
) -> Iterator[tuple[str, float]]:
    for signal in shape.levels:
        if (value := number(row, signal)) is not None:
            yield signal, value
    since = number(row, shape.since) or 0.0 if shape.since else 0.0
    gained: dict[str, Gain] = {}

    def gain(column: str) -> Gain | None:
        if column not in gained:
            value = number(row, column)
            if value is None:
                return None
            found = gains.of((subject, route, column), value, now_ns=now_ns, since=since)
            if found is None:
                return None
            gained[column] = found
        return gained[column]

    for signal, column in shape.rates.items():
        if (one := gain(column)) is not None:
            yield signal, one.per_s
    for signal, column in shape.ratios.items():
        if (one := gain(column)) is not None:
            yield signal, one.per_s / _MS_PER_S
    for share in shape.shares:
        part, whole = gain(share.part), [gain(column) for column in share.whole]
        total = sum(one.value for one in whole if one is not None)
        if part is not None and total > 0:
            yield share.signal, part.value / total
    for mean in shape.means:
        spent, count = gain(mean.total), gain(mean.calls)
        if spent is not None and count is not None and count.value > 0:
            yield mean.signal, spent.value / count.value / _MS_PER_S
