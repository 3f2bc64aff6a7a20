"""Goal: what a component received, and why it gave something up, is counted as what it was.

Method: batches in each form that samples come in, and every reason there is.
"""

from __future__ import annotations

import numpy as np

from sentinel.core.model import LogColumns, LogKind, RejectReason, SampleBatch
from sentinel.runtime.flow import Flow, FlowReason, counts_by_signal
from tests.support.batches import at, number
from tests.support.scraped import TEXT, parser_of
from tests.support.surroundings import make_surroundings

PAGE = b"# TYPE jobs counter\njobs_total 5\n# TYPE depth gauge\ndepth 1\n"


def test_samples_are_counted_in_whichever_form_they_come() -> None:
    """Pages and lines of files come as columns; the reduction counted neither as received, and nobody noticed."""
    page = parser_of().parse(PAGE, content_type=TEXT, time_ns=at(1)).batch
    lines = LogColumns(
        kinds=(LogKind("api", 9),),
        kind_index=np.zeros(3, np.int32),
        time_ns=np.full(3, at(1)),
        bucket=np.zeros(3, np.int16),
    )
    batch = SampleBatch(numbers=(number(1, 1.0),), scraped=page.scraped, log_columns=lines)
    found = counts_by_signal(batch)
    assert found == {"traces": 0, "metrics": 3, "logs": 3}
    assert sum(found.values()) == batch.sample_count


def test_every_reason_to_reject_a_sample_has_its_own_to_drop_it() -> None:
    """All were counted as malformed: what came before the first window as well, and what a bound left out."""
    surroundings = make_surroundings()
    flow = Flow("receivers.any", surroundings.metrics)
    flow.rejected(dict.fromkeys(RejectReason, 1))
    dropped = {
        reason: surroundings.metrics.value(
            "sentinel_component_dropped_total", component="receivers.any", reason=reason.value
        )
        for reason in FlowReason
    }
    assert {reason: count for reason, count in dropped.items() if count} == {
        FlowReason.BEFORE_START: 1,
        FlowReason.DUPLICATE: 1,
        FlowReason.LIMIT: 1,
        FlowReason.STALE: 1,
        FlowReason.TOO_LARGE: 1,
        FlowReason.UNSUPPORTED: 1,
        FlowReason.MALFORMED: len(RejectReason) - 6,
    }
