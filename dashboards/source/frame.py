"""What all boards share round their panels: variables, marks over time, links, ids and places."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.source.kit import DS, Link, Panel, with_links
from dashboards.source.runbooks import OF_PANELS, RUNBOOKS, SECTIONS

_NOTHING_CHOSEN = models.VariableOption(text="", value="")
_ALL = models.VariableOption(text="All", value="$__all")

SERIES_BOARD = "/d/sentinel-series?${__url_time_range}&var-ds=${ds}"
INCIDENT_BOARD = "/d/sentinel-incident?${__url_time_range}&var-ds=${ds}"
HEALTH_BOARD = "/d/sentinel-health?${__url_time_range}&var-ds=${ds}"
PAGES_BOARD = "/d/sentinel-pages?${__url_time_range}&var-ds=${ds}"


def incidents_of(service: str) -> str:
    """The board of incidents with those of one service to choose from."""
    return f"{INCIDENT_BOARD}&var-of={service}"


class PrometheusMark(models.AnnotationQuery):
    """Marks over time by a query of Prometheus; Grafana reads more fields of one than the library's model has."""

    def __init__(
        self, name: str, expr: str, *, title: str, text: str, color: str, value_is_time: bool
    ) -> None:
        super().__init__(
            name=name, datasource=DS, enable=True, hide=False, icon_color=color, expr=expr
        )
        self._more = {
            "step": "60s",
            "tagKeys": "service,severity,kind",
            "titleFormat": title,
            "textFormat": text,
            # A boolean: any text, "off" too, would mean that it is.
            "useValueForTime": value_is_time,
        }

    def to_json(self) -> dict[str, object]:
        """All fields."""
        return {**super().to_json(), **self._more}


class _Made(Builder[models.AnnotationQuery]):
    """What is made already, in the form the library's builders take."""

    def __init__(self, annotation: models.AnnotationQuery) -> None:
        self._annotation = annotation

    def build(self) -> models.AnnotationQuery:
        return self._annotation


class Board:
    """One board: panels are given ids and places in the order they come."""

    def __init__(self, uid: str, title: str, about: str, *, range_from: str = "now-6h") -> None:
        self._next_id = 1
        self.uid = uid
        self.dashboard = (
            boards.Dashboard(title)
            .uid(uid)
            .description(about)
            .tags(["sentinel"])
            .editable()
            .refresh("30s")
            .time(range_from, "now")
            .timezone("browser")
            .tooltip(models.DashboardCursorSync.CROSSHAIR)
            .with_variable(boards.DatasourceVariable("ds").label("Data source").type("prometheus"))
            .link(
                boards.DashboardLink("Sentinel's boards")
                .type(models.DashboardLinkType.DASHBOARDS)
                .tags(["sentinel"])
                .as_dropdown(True)  # noqa: FBT003  # the library's own form
                .keep_time(True)  # noqa: FBT003
                .include_vars(True)  # noqa: FBT003
            )
        )

    def row(self, title: str) -> Board:
        """A heading."""
        self.dashboard.with_row(boards.Row(title).id(self._take_id()))
        return self

    def panels(self, *panels: Panel) -> Board:
        """Panels side by side, and below one another once a line of 24 is full."""
        of = OF_PANELS.get(self.uid, {})
        for panel in panels:
            names = of.get(panel.build().title or "", ())
            if names:
                with_links(
                    panel, [Link(f"Runbook: {one}", f"{RUNBOOKS}/{one}.md") for one in names]
                )
            self.dashboard.with_panel(panel.id(self._take_id()))
        return self

    def choice(
        self, name: str, label: str, query: str, *, many: bool = False, newest_first: bool = False
    ) -> Board:
        """A variable whose choices are asked for; with `many` any number of them, and all at first."""
        variable = (
            boards.QueryVariable(name)
            .label(label)
            .datasource(DS)
            .query({"query": query, "refId": name})
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(
                models.VariableSort.ALPHABETICAL_DESC
                if newest_first
                else models.VariableSort.ALPHABETICAL_ASC
            )
        )
        if many:
            variable.multi(True).include_all(True).all_value(".*").current(_ALL)  # noqa: FBT003
        else:
            variable.multi(False).include_all(False).current(_NOTHING_CHOSEN)  # noqa: FBT003
        self.dashboard.with_variable(variable)
        return self

    def pick(self, name: str, label: str, about: str, values: Sequence[str]) -> Board:
        """A variable with fixed choices, the first of which holds."""
        self.dashboard.with_variable(
            boards.CustomVariable(name)
            .label(label)
            .description(about)
            .values(",".join(values))
            .current(models.VariableOption(text=values[0], value=values[0]))
            .options(
                [
                    models.VariableOption(text=one, value=one, selected=one == values[0])
                    for one in values
                ]
            )
        )
        return self

    def text(self, name: str, label: str, about: str, default: str) -> Board:
        """A variable that people write."""
        self.dashboard.with_variable(
            boards.TextBoxVariable(name)
            .label(label)
            .description(about)
            .default_value(default)
            .current(models.VariableOption(text=default, value=default))
        )
        return self

    def runbooks(self) -> Board:
        """Where the runbooks are served, for links."""
        return self.text(
            "runbooks",
            "Runbooks",
            "Where your copy of docs/runbooks is served, without a slash at the end.",
            "https://runbooks.example",
        )

    def instances(self) -> Board:
        """The sidecars whose own metrics are looked at."""
        return self.choice(
            "own", "Sidecar", "label_values(sentinel_build_info, instance)", many=True
        )

    def runbooks_of(self, *subjects: str) -> Board:
        """Links at the top to the runbooks of these subjects."""
        for subject in subjects:
            self.link(f"Runbooks: {subject}", f"{RUNBOOKS}/index.md#{SECTIONS[subject]}")
        return self

    def link(self, title: str, url: str) -> Board:
        """A link at the top."""
        self.dashboard.link(
            boards.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)
        )
        return self

    def mark(
        self,
        name: str,
        expr: str,
        *,
        title: str,
        text: str,
        color: str,
        value_is_time: bool = False,
    ) -> Board:
        """Marks over time on all panels."""
        self.dashboard.annotation(
            _Made(
                PrometheusMark(
                    name, expr, title=title, text=text, color=color, value_is_time=value_is_time
                )
            )
        )
        return self

    def events(self, service: str = "") -> Board:
        """Incidents, deploys and mutes; of the services that `service` matches, or of all."""
        of = f'{{service=~"{service}"}}' if service else ""
        self.mark(
            "Incidents",
            f"sentinel_incident_start_timestamp_seconds{of}",
            title="{{severity}}: {{kind}} of {{service}}",
            text="{{incident}}",
            color="red",
        )
        self.mark(
            "Deploys",
            f"1000 * sentinel_service_version_start_timestamp_seconds{of}",
            title="{{service}} {{version}}",
            text="A version that the service did not name before",
            color="blue",
            value_is_time=True,
        )
        return self.mark(
            "Mutes",
            'alertmanager_silences{state="active"} > 0',
            title="Silences are active",
            text="{{instance}}: somebody is not being told of something",
            color="purple",
        )

    def own_alerts(self) -> Board:
        """Alerts about Sentinel itself."""
        return self.alerts("Alerts about Sentinel", "Sentinel.*", text="{{instance}}")

    def alerts(self, name: str, alerts: str, *, text: str = "{{severity}}: {{service}}") -> Board:
        """When alerts of Prometheus whose names match fired."""
        return self.mark(
            name,
            f'ALERTS{{alertname=~"{alerts}", alertstate="firing"}}',
            title="{{alertname}}",
            text=text,
            color="orange",
        )

    def incidents(self, service: str = "") -> Board:
        """A link to the incidents of a service, which may be a variable, or of all."""
        return self.link("Incidents", incidents_of(service) if service else INCIDENT_BOARD)

    def build(self) -> models.Dashboard:
        """The model of Grafana's dashboard."""
        return self.dashboard.build()

    def _take_id(self) -> int:
        taken, self._next_id = self._next_id, self._next_id + 1
        return taken
