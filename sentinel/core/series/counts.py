"""What the reduction of samples gave up or noticed, for the shell to count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sentinel.core.model import RejectReason

SIGNAL_CALLS = "traces"
SIGNAL_METRICS = "metrics"
SIGNAL_LOGS = "logs"


@dataclass(slots=True, kw_only=True)
class SeriesCounts:
    """Counted since the counts were last taken.

    Attributes:
        late: samples whose window had closed, by signal.
        dropped: samples given up, by signal and reason.
        overflow: samples that went to the overflow series.
        expired: series forgotten because they were idle.
        resets: resets of cumulative streams.
        duplicates: points that had been seen before.
        duplicate_batches: whole batches that had been seen before.
        skipped_windows: windows passed over because time jumped.
    """

    late: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, RejectReason]] = field(default_factory=Counter)
    overflow: int = 0
    expired: int = 0
    resets: int = 0
    duplicates: int = 0
    duplicate_batches: int = 0
    skipped_windows: int = 0
