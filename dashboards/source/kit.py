"""How panels look, once for all boards: a question each, with a unit and a sentence on what to make of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table
from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import timeseries as lines
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DS = models.DataSourceRef(type_val="prometheus", uid="${ds}")
"""The data source is the reader's choice, at the top of each board; none is ever named."""

Panel = lines.Panel | stat.Panel | table.Panel | statetimeline.Panel

ONE_IS_STRANGE = ((None, "green"), (1.0, "red"))
"""Colours of a score: from 1 on a value is outside its band."""
ANY_IS_BAD = ((None, "green"), (1e-9, "red"))
HEALTH = {
    "0": models.ValueMappingResult(text="ok", color="green", index=0),
    "1": models.ValueMappingResult(text="degraded", color="orange", index=1),
    "2": models.ValueMappingResult(text="failing", color="red", index=2),
}
UP = {
    "0": models.ValueMappingResult(text="down", color="red", index=0),
    "1": models.ValueMappingResult(text="up", color="green", index=1),
}
GIVEN_UP = {
    "0": models.ValueMappingResult(text="kept", color="green", index=0),
    "1": models.ValueMappingResult(text="given up", color="red", index=1),
}

BELIEVED = {
    "0": models.ValueMappingResult(text="not made sure of", color="red", index=0),
    "1": models.ValueMappingResult(text="trusted", color="green", index=1),
}

Steps = Sequence[tuple[float | None, str]]


@dataclass(frozen=True, slots=True)
class Ask:
    """One query of a panel.

    Attributes:
        expr: PromQL.
        legend: how its series are called.
        exemplar: whether the traces that Prometheus keeps with it are marked.
        unit: where it is measured in something else than its panel; it has an axis of its own then, on the right.
    """

    expr: str
    legend: str = ""
    exemplar: bool = False
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a click leads; `url` may hold variables and fields."""

    title: str
    url: str


def timeline(
    title: str,
    why: str,
    unit: str,
    *asks: Ask,
    width: int = 12,
    height: int = 8,
    low: float | None = 0.0,
    high: float | None = None,
    limit: float | None = None,
    stacked: bool = False,
    links: Sequence[Link] = (),
) -> lines.Panel:
    """Lines over time; `limit` is drawn dashed, and what is beyond is bad."""
    panel = (
        lines.Panel()
        .title(title)
        .description(why)
        .datasource(DS)
        .unit(unit)
        .span(width)
        .height(height)
        .line_width(1.5)
        .fill_opacity(35 if stacked else 0)
        .show_points(common_models.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
            .show_legend(True)  # noqa: FBT003  # the library's own form
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_models.TooltipDisplayMode.MULTI)
            .sort(common_models.SortOrder.DESCENDING)
        )
    )
    if low is not None:
        panel.axis_soft_min(low)
    if high is not None:
        panel.max(high)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if limit is not None:
        panel.thresholds(_thresholds(((None, "green"), (limit, "red"))))
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    if links:
        panel.data_links(_links(links))
    for number, ask in enumerate(asks):
        panel.with_target(_query(ask, number).range())
        if ask.unit:
            panel.override_by_query(
                _ref(number),
                [
                    models.DynamicConfigValue(id_val="unit", value=ask.unit),
                    models.DynamicConfigValue(id_val="custom.axisPlacement", value="right"),
                ],
            )
    return panel


def number(
    title: str,
    why: str,
    unit: str,
    ask: Ask,
    *,
    width: int = 4,
    height: int = 4,
    steps: Steps = ((None, "text"),),
    decimals: int | None = None,
    links: Sequence[Link] = (),
) -> stat.Panel:
    """One number, as it is at the end of the range."""
    panel = (
        stat.Panel()
        .title(title)
        .description(why)
        .datasource(DS)
        .unit(unit)
        .span(width)
        .height(height)
        .thresholds(_thresholds(steps))
        .color_mode(common_models.BigValueColorMode.VALUE)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(ask, 0).instant())
    )
    if decimals is not None:
        panel.decimals(decimals)
    if links:
        panel.data_links(_links(links))
    return panel


def rows(
    title: str,
    why: str,
    unit: str,
    ask: Ask,
    *,
    columns: Sequence[str],
    value: str,
    width: int = 24,
    height: int = 9,
    links: Sequence[Link] = (),
    steps: Steps = ((None, "text"),),
    falling: bool = True,
) -> table.Panel:
    """A table of one query's series: these labels in this order, then the number under the name `value`, sorted by it."""
    shown = [*columns, "Value"]
    panel = (
        table.Panel()
        .title(title)
        .description(why)
        .datasource(DS)
        .unit(unit)
        .span(width)
        .height(height)
        .thresholds(_thresholds(steps))
        .align(common_models.FieldTextAlignment.AUTO)
        .inspect(False)  # noqa: FBT003  # the library's own form
        .with_target(_query(ask, 0).instant().format(PromQueryFormat.TABLE))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="filterFieldsByName", options={"include": {"names": shown}}
            )
        )
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "indexByName": {name: place for place, name in enumerate(shown)},
                    "renameByName": {"Value": value},
                    "excludeByName": {},
                },
            )
        )
        .sort_by([common.TableSortByFieldState().display_name(value).desc(falling)])
    )
    if links:
        panel.data_links(_links(links))
    return panel


def states(
    title: str,
    why: str,
    ask: Ask,
    meanings: Mapping[str, models.ValueMappingResult],
    *,
    width: int = 12,
    height: int = 8,
    unit: str = "none",
) -> statetimeline.Panel:
    """A bar for each series that changes colour when its state does."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(why)
        .datasource(DS)
        .unit(unit)
        .span(width)
        .height(height)
        .mappings([models.ValueMap(options=dict(meanings))])
        .merge_values(True)  # noqa: FBT003  # the library's own form
        .show_value(common_models.VisibilityMode.NEVER)
        .row_height(0.8)
        .fill_opacity(70)
        .line_width(0)
        .with_target(_query(ask, 0).range())
    )


def with_override(panel: lines.Panel, name: str, **custom: object) -> lines.Panel:
    """The panel with what holds for the series of this name alone; `__` in a name stands for a dot."""
    return panel.override_by_name(
        name,
        [
            models.DynamicConfigValue(id_val=key.replace("__", "."), value=value)
            for key, value in custom.items()
        ],
    )


def with_pattern(panel: lines.Panel, pattern: str, **custom: object) -> lines.Panel:
    """As `with_override`, for every series whose name this pattern finds."""
    return panel.override_by_regexp(
        f"/{pattern}/",
        [
            models.DynamicConfigValue(id_val=key.replace("__", "."), value=value)
            for key, value in custom.items()
        ],
    )


def with_links(panel: Panel, links: Sequence[Link]) -> None:
    """Give a panel links in its corner."""
    panel.links(_links(links))


def _query(ask: Ask, number: int) -> prometheus.Dataquery:
    query = (
        prometheus.Dataquery()
        .datasource(DS)
        .expr(ask.expr)
        .ref_id(_ref(number))
        .format(PromQueryFormat.TIME_SERIES)
    )
    if ask.legend:
        query.legend_format(ask.legend)
    if ask.exemplar:
        query.exemplar(True)  # noqa: FBT003  # the library's own form
    return query


def _ref(number: int) -> str:
    return chr(ord("A") + number)


def _thresholds(steps: Steps) -> boards.ThresholdsConfig:
    return (
        boards.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _links(links: Sequence[Link]) -> list[Builder[models.DashboardLink]]:
    return [
        boards.DashboardLink(one.title).type(models.DashboardLinkType.LINK).url(one.url)
        for one in links
    ]
