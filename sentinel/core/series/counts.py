"""What the reduction of samples gave up or noticed, for the shell to count."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sentinel.core.model import RejectReason

SIGNAL_CALLS = "traces"
SIGNAL_METRICS = "metrics"
SIGNAL_LOGS = "logs"
CLOCK_JUMPED = "clock_jumped"
CLOCK_SET_BACK = "clock_set_back"
FAULTY = "faulty"


@dataclass(slots=True, kw_only=True)
class SeriesCounts:
    """Counted since the counts were last taken.

    Attributes:
        late: samples whose window had closed, by signal.
        dropped: samples given up, by signal and reason.
        told_twice: calls that were not counted because another source tells of them, by signal.
        overflow: samples that went to the overflow series.
        expired: series forgotten because they were idle.
        resets: resets of cumulative streams.
        duplicates: points that had been seen before.
        duplicate_batches: whole batches that had been seen before.
        dropped_windows: windows given up, by reason: time jumped over them; the clock that they were stamped by was
            put back; a fault of ours ended their reduction.
        shed_windows: windows in which a signal was turned away, by signal.
        set_back_ns: how far the clock was put back.
    """

    late: Counter[str] = field(default_factory=Counter)
    dropped: Counter[tuple[str, RejectReason]] = field(default_factory=Counter)
    told_twice: Counter[str] = field(default_factory=Counter)
    overflow: int = 0
    expired: int = 0
    resets: int = 0
    duplicates: int = 0
    duplicate_batches: int = 0
    dropped_windows: Counter[str] = field(default_factory=Counter)
    shed_windows: Counter[str] = field(default_factory=Counter)
    set_back_ns: int = 0
