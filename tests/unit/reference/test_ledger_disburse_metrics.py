"""Goal: what is due and not handed in grows late on the page, also while nobody looks. Method: a clock by hand, a reader in memory."""

from __future__ import annotations

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

from sentinel.reference.ledger.telemetry.disbursing import DisburseMetrics


def test_what_is_due_is_not_known_before_a_look_and_grows_after_the_last() -> None:
    reader, now_s = InMemoryMetricReader(), [100.0]
    metrics = DisburseMetrics(MeterProvider([reader]).get_meter("test"), clock=lambda: now_s[0])
    assert "ledger.disbursements.overdue" not in told(reader)
    metrics.looked(-0.2)
    assert told(reader)["ledger.disbursements.overdue"] == [({}, 0.0)]
    metrics.looked(3.0)
    now_s[0] = 140.0
    assert told(reader)["ledger.disbursements.overdue"] == [({}, 43.0)]
    metrics.looked(0.0)
    assert told(reader)["ledger.disbursements.overdue"] == [({}, 0.0)]


def test_questions_are_counted_by_whether_there_was_an_answer() -> None:
    reader = InMemoryMetricReader()
    metrics = DisburseMetrics(MeterProvider([reader]).get_meter("test"))
    for answered in (True, False, False):
        metrics.asked(answered=answered)
    name = "ledger.disbursement.outcome"
    assert told(reader)["ledger.disbursements.asked"] == [
        ({name: "answered"}, 1),
        ({name: "unanswered"}, 2),
    ]


def test_what_is_not_in_the_books_is_counted_by_why() -> None:
    reader = InMemoryMetricReader()
    metrics = DisburseMetrics(MeterProvider([reader]).get_meter("test"))
    metrics.unbooked("pending_resolved")
    assert told(reader)["ledger.disbursements.unbooked"] == [
        ({"ledger.reject.reason": "pending_resolved"}, 1)
    ]


def told(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, object], float]]]:
    data = reader.get_metrics_data()
    found: dict[str, list[tuple[dict[str, object], float]]] = {}
    for resource in data.resource_metrics if data else []:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found[metric.name] = [
                    (dict(one.attributes or {}), one.value)
                    for one in metric.data.data_points
                    if isinstance(one, NumberDataPoint)
                ]
    return found
