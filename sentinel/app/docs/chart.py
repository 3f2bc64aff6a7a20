"""A chart as SVG text: panels over one time axis, in whole pixels, so that a last bit changes no picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

_LEFT_PX, _RIGHT_PX = 56, 16
_GREY = "#666666"
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_NS = 86_400 * 10**9

Column = NDArray[np.float32]


@dataclass(slots=True, kw_only=True)
class Chart:
    """The picture: `count` windows side by side over `width` pixels; a line at each `label_every`."""

    title: str
    width: int
    count: int
    label_every: int
    parts: list[str] = field(default_factory=list)

    def x(self, window: float) -> int:
        """Where a window stands, in pixels."""
        return round(_LEFT_PX + (self.width - _LEFT_PX - _RIGHT_PX) * window / self.count)

    def legend(self, words: Sequence[tuple[str, str]]) -> None:
        """Say what the colours mean, above everything."""
        at = _LEFT_PX
        for colour, word in words:
            self.parts.append(f'<rect x="{at}" y="12" width="14" height="8" fill="{colour}"/>')
            self.parts.append(f'<text x="{at + 19}" y="20">{escape(word)}</text>')
            at += 34 + 7 * len(word)

    def days(self, start_ns: int, step_ns: int, *, top_px: int, bottom_px: int) -> None:
        """A line and a name for each day, and marks at noon."""
        for window in range(0, self.count + 1, self.label_every):
            x = self.x(window)
            self.parts.append(f'<path d="M{x} {top_px}V{bottom_px}" stroke="#bbbbbb"/>')
            if window == self.count:
                break
            # The first of January 1970 was a Thursday.
            day = (start_ns + window * step_ns) // _DAY_NS
            name = f"{_WEEKDAYS[(day + 3) % 7]} {str(np.datetime64(day, 'D'))[5:]}"
            self.parts.append(f'<text x="{x + 5}" y="{bottom_px + 16}">{name}</text>')
            noon = self.x(window + self.label_every / 2)
            self.parts.append(f'<path d="M{noon} {bottom_px}v5" stroke="#bbbbbb"/>')
            self.parts.append(
                f'<text x="{noon}" y="{bottom_px + 16}" text-anchor="middle" fill="{_GREY}">noon</text>'
            )

    def text(self, *, height: int) -> str:
        """The whole file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {height}" font-family="sans-serif"'
            ' font-size="12" role="img" aria-labelledby="title">'
        )
        ground = f'<rect width="{self.width}" height="{height}" fill="#ffffff"/>'
        title = f'<title id="title">{escape(self.title)}</title>'
        return "\n".join([head, title, ground, *self.parts, "</svg>", ""])


class Panel:
    """One scale of values, drawn over the chart's time axis."""

    def __init__(
        self, chart: Chart, *, top_px: int, height_px: int, low: float, high: float, unit: str
    ) -> None:
        """Draw its frame and scale; values from `low` to `high` stand from its bottom to its top."""
        self._chart = chart
        self._top_px, self._height_px = top_px, height_px
        self._low, self._high = low, high
        right = chart.width - _RIGHT_PX
        for value in _round_steps(low, high):
            y = int(self._y(value))
            chart.parts.append(f'<path d="M{_LEFT_PX} {y}H{right}" stroke="#eeeeee"/>')
            chart.parts.append(
                f'<text x="{_LEFT_PX - 6}" y="{y + 4}" text-anchor="end" fill="{_GREY}">{value:g}</text>'
            )
        middle = top_px + height_px // 2
        chart.parts.append(
            f'<text x="14" y="{middle}" text-anchor="middle" fill="{_GREY}"'
            f' transform="rotate(-90 14 {middle})">{escape(unit)}</text>'
        )

    def area(self, lower: Column, upper: Column, *, colour: str) -> None:
        """The band between two lines."""
        there = self._points(upper)
        back = self._points(lower)[::-1]
        self._chart.parts.append(f'<polygon points="{" ".join(there + back)}" fill="{colour}"/>')

    def line(self, value: Column, *, colour: str, dashes: str = "") -> None:
        """A line through values that are all known."""
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self._chart.parts.append(
            f'<polyline points="{" ".join(self._points(value))}" fill="none" stroke="{colour}"{dashed}/>'
        )

    def points(self, value: Column, *, colour: str) -> None:
        """Dots where a value is known."""
        ys = self._y(value)
        marks = [
            f"M{self._chart.x(at + 0.5)} {round(float(ys[at]))}h0"
            for at in np.flatnonzero(~np.isnan(value)).tolist()
        ]
        self._chart.parts.append(
            f'<path d="{"".join(marks)}" stroke="{colour}" stroke-width="4" stroke-linecap="round"/>'
        )

    def span(self, first: int, last: int, *, colour: str) -> None:
        """A strip along the top, from one window to another."""
        left, right = self._chart.x(first), self._chart.x(last)
        self._chart.parts.append(
            f'<rect x="{left}" y="{self._top_px}" width="{right - left}" height="7" fill="{colour}"/>'
        )

    def level(self, value: float, *, colour: str, word: str) -> None:
        """A dashed line across, with a word."""
        y, right = int(self._y(value)), self._chart.width - _RIGHT_PX
        self._chart.parts.append(
            f'<path d="M{_LEFT_PX} {y}H{right}" stroke="{colour}" stroke-dasharray="3 3"/>'
            f'<text x="{right - 4}" y="{y - 4}" text-anchor="end" fill="{colour}">{escape(word)}</text>'
        )

    def _y(self, value: float | Column) -> Column:
        share = (np.asarray(value) - self._low) / (self._high - self._low)
        y: Column = np.round(self._top_px + self._height_px * (1 - share))
        return y

    def _points(self, value: Column) -> list[str]:
        ys = self._y(value).astype(int).tolist()
        return [f"{self._chart.x(at + 0.5)},{y}" for at, y in enumerate(ys)]


def _round_steps(low: float, high: float) -> list[float]:
    """Some three values of a scale that are easily read."""
    rough = (high - low) / 3
    unit = 10.0 ** np.floor(np.log10(rough))
    step = next(unit * one for one in (1, 2, 5, 10) if unit * one >= rough * 0.7)
    return [
        float(step * number) for number in range(int(np.ceil(low / step)), int(high / step) + 1)
    ]
