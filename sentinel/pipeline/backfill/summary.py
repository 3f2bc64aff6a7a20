"""What a backfill stored, or would."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class BackfillSummary:
    """What was stored, or would be.

    Attributes:
        series_count: series that got windows.
        window_count: windows of five minutes with something in them, over all series.
        row_count: rows that went into them.
        start_ns, end_ns: the span of time they cover; 0 when there is nothing.
        skipped: rows left out, by reason.
    """

    series_count: int = 0
    window_count: int = 0
    row_count: int = 0
    start_ns: int = 0
    end_ns: int = 0
    skipped: dict[str, int] = field(default_factory=dict)

    def skip(self, reason: str, count: int) -> None:
        """Count rows that were left out."""
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count
