"""A span of the past in slices that a server answers at once and that fit into memory."""

from __future__ import annotations

from dataclasses import dataclass

Span = tuple[int, int]
"""`[start_ns, end_ns)`."""

POINTS_MAX = 11_000
"""What Prometheus answers at most of a series, by its own limit."""

ROWS_MAX = 400_000
"""Of all series of a slice: 11 MB as columns, some 10 MB as text."""

_DAYS_MAX = 7
_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How time is divided.

    Attributes:
        step_ns: between two values that are asked for; divides `bin_ns`.
        bin_ns: a window of the store, which no slice cuts.
        chunk_ns: windows that are stored together; a whole number of bins.
    """

    step_ns: int
    bin_ns: int
    chunk_ns: int

    def __post_init__(self) -> None:
        if self.step_ns <= 0 or self.bin_ns % self.step_ns or self.chunk_ns % self.bin_ns:
            msg = "the step must divide the window, and the window the chunk"
            raise ValueError(msg)

    @property
    def points_a_bin(self) -> int:
        """Values of a series in a window."""
        return self.bin_ns // self.step_ns

    def bins_max(self, series_count: int) -> int:
        """Windows of the longest slice for so many series; 1 at least."""
        by_points = POINTS_MAX // self.points_a_bin
        by_rows = ROWS_MAX // (self.points_a_bin * max(series_count, 1))
        return max(1, min(by_points, by_rows, _DAYS_MAX * _DAY_NS // self.bin_ns))

    def first_of(self, span: Span, *, bins_max: int) -> Span:
        """The first slice of a span: whole chunks where one is allowed, else a part of one that divides it evenly.

        >>> hours = Grid(step_ns=60, bin_ns=300, chunk_ns=14400)
        >>> hours.first_of((300, 100_000), bins_max=100), hours.first_of((300, 100_000), bins_max=5)
        ((300, 28800), (300, 1200))
        """
        start, end = span
        per_chunk = self.chunk_ns // self.bin_ns
        if bins_max >= per_chunk:
            unit, count = self.chunk_ns, bins_max // per_chunk
        else:
            unit, count = self.bin_ns * _divisor(per_chunk, bins_max), 1
        return start, min(end, (start // unit + count) * unit)

    def halves(self, span: Span) -> tuple[Span, Span] | None:
        """A slice in two, between windows; None when it is one window."""
        start, end = span
        bins = -(-(end - start) // self.bin_ns)
        if bins < 2:
            return None
        middle = start + bins // 2 * self.bin_ns
        return (start, middle), (middle, end)


def _divisor(number: int, most: int) -> int:
    return next(one for one in range(min(number, max(most, 1)), 0, -1) if number % one == 0)
