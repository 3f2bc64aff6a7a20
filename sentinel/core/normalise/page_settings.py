"""What is settled of metrics pages before one is read. It stands outside `prometheus`, so that a configuration loads no reader."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sentinel.core.normalise.span_rules import STAGE_EDGE

STATUS_LABELS = (
    "status_code",
    "code",
    "status",
    "http_status_code",
    "http_response_status_code",
    "grpc_code",
)
SERVER_FAILED = (
    r"5\d\d|5xx|5XX|Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"
)
CLIENT_FAILED = rf"4\d\d|4xx|4XX|{SERVER_FAILED}"


class PageFormat(StrEnum):
    """The formats of metrics pages."""

    PROTOBUF = "protobuf"
    OPENMETRICS = "openmetrics"
    TEXT = "text"


DEFAULT_FORMATS = (PageFormat.OPENMETRICS, PageFormat.TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLimits:
    """How much of a page is taken.

    Attributes:
        sample_count_max: samples of one page. What is known is taken first; of what is new, as much as there is room for.
        label_count_max: labels of one sample.
        label_name_chars_max, label_value_chars_max: their lengths.
    """

    sample_count_max: int = 20_000
    label_count_max: int = 64
    label_name_chars_max: int = 200
    label_value_chars_max: int = 2048

    def __post_init__(self) -> None:
        if (
            min(
                self.sample_count_max,
                self.label_count_max,
                self.label_name_chars_max,
                self.label_value_chars_max,
            )
            < 1
        ):
            msg = "limits of a page must be above 0"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRule:
    """Histograms, or summaries or counters, that measure calls.

    Attributes:
        metric: name of the metric, of a histogram without `_bucket`; `*` and `?` match.
        stage: where those calls are.
        route: labels that make the route, in this order; one that is not there is left out.
        status: labels that tell how a call ended; the first that is there counts.
        failed: regular expression over the whole of its value that says that the call failed.
        scale: seconds a unit of the boundaries; 0 to go by the metric's name.
    """

    metric: str
    stage: str = STAGE_EDGE
    route: tuple[str, ...] = ()
    status: tuple[str, ...] = STATUS_LABELS
    failed: str = SERVER_FAILED
    scale: float = 0.0

    def __post_init__(self) -> None:
        try:
            re.compile(self.failed)
        except re.error as error:
            msg = f"failed is no regular expression: {error}"
            raise ValueError(msg) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacingRules:
    """What of an exporter's page is taken, and where it is.

    Attributes:
        service: of series that no label names one for.
        allow, deny: patterns of metrics' names; what is denied is not taken, whatever allows it.
        service_labels, stage_labels, route_labels: labels that name them; the first that is there counts, of the route all.
        without_labels: labels that are left out of the route; series that differ in them alone become one.
        calls: rules that come before those that are known.
    """

    service: str
    allow: tuple[str, ...] = ("*",)
    deny: tuple[str, ...] = ("*_created", "*_info")
    service_labels: tuple[str, ...] = ("service_name", "service", "job")
    stage_labels: tuple[str, ...] = ("stage",)
    route_labels: tuple[str, ...] = ("route",)
    without_labels: tuple[str, ...] = ("instance", "exported_instance", "pod")
    calls: tuple[CallRule, ...] = ()
