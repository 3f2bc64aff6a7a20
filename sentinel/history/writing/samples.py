"""Verdicts as the samples of named series: which labels each has, which values are shown, and as what number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey
from sentinel.core.model.verdict_slices import VerdictSlice
from sentinel.runtime.verdict_metrics import (
    SERIES_LABELS,
    SERIES_METRICS,
    has_sample,
    label_values,
    number_text,
)

METRICS = tuple(SERIES_METRICS)
"""Names, in the order of a slice's columns."""

Labels = tuple[tuple[str, str], ...]
"""Names and values, sorted by name, none of them empty."""

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_VALUE_LENGTH_MAX = 1024
_RESERVED = frozenset({*SERIES_LABELS, "horizon", "quantile"})


class SampleNames:
    """The labels of each series, made once; `extra` are added to all, as a scrape would add job and instance."""

    def __init__(self, keys: Mapping[int, SeriesKey], extra: Mapping[str, str]) -> None:
        self._keys = keys
        self._extra = dict(extra)
        self._known: dict[int, Labels] = {}

    def of(self, series_id: int) -> Labels:
        """The labels of a series without its metric's name."""
        found = self._known.get(series_id)
        if found is None:
            own = zip(SERIES_LABELS, label_values(self._keys[series_id]), strict=True)
            # A label without a value is no label, as in a scrape.
            pairs = {name: value for name, value in own if value} | self._extra
            found = self._known[series_id] = tuple(sorted(pairs.items()))
        return found


def checked_label(text: str) -> tuple[str, str]:
    """The name and value of a label written NAME=VALUE.

    Raises:
        ValueError: it is none, or one of those that tell series apart.
    """
    name, equals, value = text.partition("=")
    if not equals or _LABEL.fullmatch(name) is None or name.startswith("__"):
        msg = f"{text!r} is no label; write instance=127.0.0.1:9640"
        raise ValueError(msg)
    if name in _RESERVED:
        msg = f"{name} says which series it is"
        raise ValueError(msg)
    if not value or len(value) > _VALUE_LENGTH_MAX or not value.isprintable():
        msg = f"the value of {name} must be 1 to {_VALUE_LENGTH_MAX} printable characters"
        raise ValueError(msg)
    return name, value


def as_scraped(values: NDArray[np.float32]) -> list[float]:
    """The values as Prometheus has them from a page, where they have nine digits: the nearest doubles of those.

    >>> as_scraped(np.array([0.1], np.float32))
    [0.100000001]
    """
    return [float(number_text(value)) for value in values.tolist()]


def shown(part: VerdictSlice, column: int) -> NDArray[np.bool_]:
    """bool[T, S]; which values of a metric have a sample."""
    return has_sample(METRICS[column], part.columns[column])


@dataclass(slots=True)
class Written:
    """What was written, or would be.

    Attributes:
        samples: in all.
        windows: windows of series of which anything is known.
        start_ns, end_ns: time of the first sample and of the last; 0 when there is none.
        series: ids of the series that have any.
    """

    samples: int = 0
    windows: int = 0
    start_ns: int = 0
    end_ns: int = 0
    series: set[int] = field(default_factory=set)

    def note(self, part: VerdictSlice) -> None:
        """Count what a part holds."""
        masks = [shown(part, column) for column in range(len(METRICS))]
        any_shown = np.logical_or.reduce(masks)
        self.samples += sum(int(np.count_nonzero(mask)) for mask in masks)
        self.windows += int(np.count_nonzero(any_shown))
        self.series.update(part.series[any_shown.any(axis=0)].tolist())
        rows = np.flatnonzero(any_shown.any(axis=1))
        if rows.size:
            times = part.times_ns[rows]
            self.start_ns = min(self.start_ns or int(times[0]), int(times[0]))
            self.end_ns = max(self.end_ns, int(times[-1]))


def runs(part: VerdictSlice, column: int) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Of each series that has a sample of the metric: its position, and the windows that have one."""
    mask = shown(part, column)
    for at in np.flatnonzero(mask.any(axis=0)).tolist():
        yield at, np.flatnonzero(mask[:, at])
