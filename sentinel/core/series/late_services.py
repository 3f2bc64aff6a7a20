"""Of which services a batch's data came too late, and of which it did not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sentinel.core.model import SampleBatch, Scope
from sentinel.core.series.scraped.gauges import streams_in


def late_services(
    batch: SampleBatch, is_late: Callable[[int], bool]
) -> tuple[dict[str, set[Scope]], set[str]]:
    """Services with data that was late, with the places whose calls were, and services with data that was not."""
    late: dict[str, set[Scope]] = {}
    timely: set[str] = set()

    def note(service: str, time_ns: int) -> bool:
        if is_late(time_ns):
            late.setdefault(service, set())
            return True
        timely.add(service)
        return False

    if batch.calls is not None:
        # Those of a batch lie together; the newest of a place say whether it is late.
        newest = np.full(len(batch.calls.scopes), np.iinfo(np.int64).min)
        np.maximum.at(newest, batch.calls.scope_index, batch.calls.end_ns)
        placed = np.bincount(batch.calls.scope_index, minlength=len(newest)) > 0
        for at in np.flatnonzero(placed).tolist():
            scope = batch.calls.scopes[at]
            if note(scope.service, int(newest[at])):
                late[scope.service].add(scope)
    for number in batch.numbers:
        note(number.scope.service, number.time_ns)
    for distribution in batch.distributions:
        note(distribution.scope.service, distribution.time_ns)
    for columns in batch.scraped:
        table = columns.table
        for service in {table.placed[stream].scope.service for stream in streams_in(columns)}:
            note(service, columns.time_ns)
    for measured in batch.measured:
        for service in {key.service for key in measured.keys}:
            note(service, measured.start_ns)
    for record in batch.logs:
        note(record.service, record.time_ns)
    if (logged := batch.log_columns) is not None:
        for at, kind in enumerate(logged.kinds):
            times_ns = logged.time_ns[logged.kind_index == at]
            if times_ns.size:
                note(kind.service, int(times_ns.max()))
    return late, timely
