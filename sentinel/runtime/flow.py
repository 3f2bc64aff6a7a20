"""The four things every component counts: received, sent, errors by stage and reason, dropped by reason."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from sentinel.core.model import RejectReason, SampleBatch
from sentinel.errors import (
    InputTooLargeError,
    OverloadedError,
    RefusedError,
    SentinelError,
    StoreError,
    StoreFullError,
    UnreachableError,
    UnsupportedInputError,
    UntrustedError,
)
from sentinel.runtime.metrics import Metrics


class FlowStage(StrEnum):
    """Where in a component something failed."""

    CONNECT = "connect"
    READ = "read"
    DECODE = "decode"
    TAKE = "take"
    STORE = "store"
    SEND = "send"


class FlowReason(StrEnum):
    """Why something failed or was given up; fit to be a metric label."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CERTIFICATE = "certificate"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNSUPPORTED = "unsupported"
    OVERLOADED = "overloaded"
    LIMIT = "limit"
    QUEUE_FULL = "queue_full"
    STALE = "stale"
    BEFORE_START = "before_start"
    DUPLICATE = "duplicate"
    SHED = "shed"
    DENIED = "denied"
    FAULT = "fault"
    DISK_FULL = "disk_full"
    WITHHELD = "withheld"
    PARTIAL = "partial"
    DAMAGED = "damaged"
    STOPPED = "stopped"


class Flow:
    """The four counters of one component."""

    def __init__(self, component: str, metrics: Metrics) -> None:
        self._component = component
        self._metrics = metrics

    def received(self, count: int, *, signal: str) -> None:
        """Items were given to it; `signal` says of what: traces, metrics, logs, windows, pages, fits, requests, changes, templates, readings."""
        if count:
            self._metrics.count(
                "sentinel_component_received_total",
                count,
                component=self._component,
                signal=signal,
            )

    def sent(self, count: int, *, signal: str) -> None:
        """Items were handed on, or delivered."""
        if count:
            self._metrics.count(
                "sentinel_component_sent_total", count, component=self._component, signal=signal
            )

    def error(self, stage: FlowStage, reason: FlowReason, count: int = 1) -> None:
        """Something failed; what was lost by it is said by `dropped`."""
        if count:
            self._metrics.count(
                "sentinel_component_errors_total",
                count,
                component=self._component,
                stage=stage.value,
                reason=reason.value,
            )

    def dropped(self, reason: FlowReason, count: int = 1) -> None:
        """Items were given up."""
        if count:
            self._metrics.count(
                "sentinel_component_dropped_total",
                count,
                component=self._component,
                reason=reason.value,
            )

    def rejected(self, counts: Mapping[RejectReason, int]) -> None:
        """Samples were given up for what they are, or for a bound; each under the reason that it stands for."""
        for reason, count in counts.items():
            self.dropped(_REJECTED_AS.get(reason, FlowReason.MALFORMED), count)


def counts_by_signal(batch: SampleBatch) -> dict[str, int]:
    """How many samples of a batch came as which signal, in whichever form; together its `sample_count`.

    >>> counts_by_signal(SampleBatch())
    {'traces': 0, 'metrics': 0, 'logs': 0}
    """
    columns = batch.log_columns
    scraped = sum(len(page.value) for page in batch.scraped)
    scraped += sum(len(measured.value) for measured in batch.measured)
    return {
        "traces": batch.call_count,
        "metrics": len(batch.numbers) + len(batch.distributions) + scraped,
        "logs": len(batch.logs) + (0 if columns is None else len(columns.time_ns)),
    }


def reason_of(error: BaseException) -> FlowReason:
    """The reason an error stands for.

    >>> reason_of(TimeoutError()).value, reason_of(ZeroDivisionError()).value
    ('timeout', 'fault')
    """
    for kind, reason in _REASONS:
        if isinstance(error, kind):
            return reason
    return FlowReason.FAULT


_REJECTED_AS = {
    RejectReason.BEFORE_START: FlowReason.BEFORE_START,
    RejectReason.DUPLICATE: FlowReason.DUPLICATE,
    RejectReason.LIMIT: FlowReason.LIMIT,
    RejectReason.TOO_LATE: FlowReason.STALE,
    RejectReason.TOO_LONG: FlowReason.TOO_LARGE,
    RejectReason.UNSUPPORTED: FlowReason.UNSUPPORTED,
}
"""All others are samples that say nothing that could be kept."""

_REASONS: tuple[tuple[type[BaseException], FlowReason], ...] = (
    (TimeoutError, FlowReason.TIMEOUT),
    (OverloadedError, FlowReason.OVERLOADED),
    (UntrustedError, FlowReason.CERTIFICATE),
    (UnreachableError, FlowReason.UNREACHABLE),
    (RefusedError, FlowReason.REFUSED),
    (InputTooLargeError, FlowReason.TOO_LARGE),
    (UnsupportedInputError, FlowReason.UNSUPPORTED),
    (StoreFullError, FlowReason.DISK_FULL),
    (StoreError, FlowReason.FAULT),
    # What is left of the tree: a thing of theirs that cannot be read, such as an input error.
    (SentinelError, FlowReason.MALFORMED),
)
