"""How far a backfill got, as a note in the store: which windows are done, and what was counted on the way.

It is stored with each chunk in one transaction, so what it says is so whenever the process ends. What it says holds for one
`digest`: of the source, what is asked of it, and how. Another source begins anew.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from sentinel.pipeline.backfill.summary import BackfillSummary

_INFLATED_BYTES_MAX = 32 << 20

Span = tuple[int, int]
"""`[start_ns, end_ns)`."""


@dataclass(slots=True)
class Progress:
    """What is done of a backfill.

    Attributes:
        digest: what it is a backfill of.
        done: spans of time that are stored, ascending, apart from one another.
        summary: of what was stored in all runs of it.
        series: ids of the series that got windows.
    """

    digest: str
    done: list[Span] = field(default_factory=list)
    summary: BackfillSummary = field(default_factory=BackfillSummary)
    series: set[int] = field(default_factory=set)

    def note(self, span: Span) -> None:
        """A span more is done."""
        self.done = joined([*self.done, span])

    def left(self, span: Span) -> list[Span]:
        """What of a span is not done, in order."""
        found: list[Span] = []
        at, end = span
        for first, last in self.done:
            if first >= end:
                break
            if last <= at:
                continue
            if first > at:
                found.append((at, first))
            at = max(at, last)
        if at < end:
            found.append((at, end))
        return found

    def to_bytes(self) -> bytes:
        """For `progress_of`."""
        summary = self.summary
        ids = np.diff(np.array(sorted(self.series), dtype=np.int64), prepend=0)
        document = {
            "digest": self.digest,
            "done": self.done,
            "windows": summary.window_count,
            "rows": summary.row_count,
            "start_ns": summary.start_ns,
            "end_ns": summary.end_ns,
            "skipped": summary.skipped,
            "series": base64.b64encode(ids.tobytes()).decode(),
        }
        return zlib.compress(json.dumps(document).encode(), 1)


def progress_of(payload: bytes, digest: str) -> Progress:
    """What was stored by `to_bytes`, or none done when it is of something else or cannot be read."""
    try:
        document = json.loads(zlib.decompressobj().decompress(payload, _INFLATED_BYTES_MAX))
        if document["digest"] != digest:
            return Progress(digest)
        ids = np.frombuffer(base64.b64decode(document["series"]), dtype=np.int64)
        return Progress(
            digest,
            done=joined((int(first), int(last)) for first, last in document["done"]),
            summary=BackfillSummary(
                window_count=int(document["windows"]),
                row_count=int(document["rows"]),
                start_ns=int(document["start_ns"]),
                end_ns=int(document["end_ns"]),
                skipped={str(reason): int(count) for reason, count in document["skipped"].items()},
            ),
            series=set(np.cumsum(ids).tolist()),
        )
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return Progress(digest)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, with those that touch made one.

    >>> joined([(5, 6), (0, 2), (2, 3)])
    [(0, 3), (5, 6)]
    """
    found: list[Span] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], last))
        else:
            found.append((first, last))
    return found
