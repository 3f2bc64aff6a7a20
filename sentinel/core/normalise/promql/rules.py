"""What the series of one query are called, by their labels.

It stands without the readers of answers, so that a configuration loads none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sentinel.core.model import SIGNAL_TRAFFIC, Kind, SeriesKey, kind_of_signal
from sentinel.core.normalise.labels import label_of, list_label_of
from sentinel.core.normalise.span_rules import STAGE_EDGE

SERVICE_LABELS = ("service_name", "service", "job")
STAGE_LABELS = ("stage",)
ROUTE_LABELS = ("route",)
WITHOUT_LABELS = ("instance", "exported_instance", "pod")
SERIES_COUNT_MAX = 1000

_REMEMBERED_MAX = 200_000
_STAGE_METRICS = "metrics"
_ROUTE_ALL = "all"
_NAME = "__name__"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRule:
    """One query and what its series are to us.

    Attributes:
        name: of the query, in messages.
        signal: traffic, errors, latency, slow_calls or a gauge's name.
        query: PromQL, whose value at an instant is that of the time up to it.
        calls: PromQL of calls a second behind each value, by the same labels; "" when there is none.
        service, stage, route: fixed names; "" to go by the labels.
        default_service: of series that nothing else names one for.
        service_labels, stage_labels, route_labels: labels that name them; the first that is there counts, of the route all, with a
            blank between those of calls. Other labels follow in the route as `name=value`.
        without_labels: labels that are left out of the route.
        scale: what values are multiplied by.
        series_count_max: series taken of one answer.
        absent_is_zero: whether a series that is not in an answer counts nothing, as a counter that does not exist before its
            first event; else nothing is known of it.
    """

    name: str
    signal: str
    query: str
    calls: str = ""
    service: str = ""
    stage: str = ""
    route: str = ""
    default_service: str = "unknown_service"
    service_labels: tuple[str, ...] = SERVICE_LABELS
    stage_labels: tuple[str, ...] = STAGE_LABELS
    route_labels: tuple[str, ...] = ROUTE_LABELS
    without_labels: tuple[str, ...] = WITHOUT_LABELS
    scale: float = 1.0
    series_count_max: int = SERIES_COUNT_MAX
    absent_is_zero: bool = False

    @property
    def kind(self) -> Kind:
        """How its series are judged."""
        return kind_of_signal(self.signal)

    def key_of(self, labels: Mapping[str, str]) -> SeriesKey:
        """What a series with these labels is called; text from outside is redacted and cut."""
        service = self.service or label_of(_first(labels, self.service_labels))
        stage = self.stage or label_of(_first(labels, self.stage_labels))
        usual = _STAGE_METRICS if self.kind is Kind.GAUGE else STAGE_EDGE
        return SeriesKey(
            service or self.default_service,
            stage or usual,
            self.route or self._route_of(labels),
            self.signal,
        )

    def _route_of(self, labels: Mapping[str, str]) -> str:
        given = [labels[name] for name in self.route_labels if labels.get(name)]
        used = {_NAME, *self.route_labels, *self.without_labels}
        # A label that was passed over because the service's name is fixed tells no routes apart either.
        used.update(self.service_labels if self.service else _used(labels, self.service_labels))
        used.update(self.stage_labels if self.stage else _used(labels, self.stage_labels))
        rest = [f"{name}={value}" for name, value in sorted(labels.items()) if name not in used]
        # As routes of spans and of scraped pages are called: `POST /v1/transfers`.
        between = "," if self.kind is Kind.GAUGE else " "
        parts = [between.join(given), *rest] if given else rest
        return list_label_of(",".join(parts)) or _ROUTE_ALL


def calls_rule(rule: QueryRule) -> QueryRule:
    """The calls behind a query's values, as a query of traffic of the same places."""
    return replace(
        rule, signal=SIGNAL_TRAFFIC, query=rule.calls, calls="", scale=1.0, absent_is_zero=False
    )


class Places:
    """What the series of one query are called, remembered: the same ones come again with every answer.

    Attributes:
        rule: of the query.
    """

    def __init__(self, rule: QueryRule) -> None:
        self.rule = rule
        self._key_of: dict[tuple[tuple[str, str], ...], SeriesKey] = {}

    def key_of(self, labels: Mapping[str, str]) -> SeriesKey:
        """As `QueryRule.key_of`."""
        whole = tuple(labels.items())
        key = self._key_of.get(whole)
        if key is None:
            if len(self._key_of) >= _REMEMBERED_MAX:
                self._key_of.clear()
            key = self._key_of[whole] = self.rule.key_of(labels)
        return key


def _first(labels: Mapping[str, str], names: Sequence[str]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")


def _used(labels: Mapping[str, str], names: Sequence[str]) -> list[str]:
    return [next((name for name in names if labels.get(name)), "")]
