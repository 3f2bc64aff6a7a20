"""The shipped boards, read for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.servers import PrometheusServer

FOLDER = Path(__file__).parents[2] / "dashboards"
# Grafana fills them in by itself.
BUILT_IN = {
    "__rate_interval",
    "__range",
    "__interval",
    "__data",
    "__url_time_range",
    "__all",
    "__field",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard file."""

    path: Path
    document: dict[str, Any]

    def panels(self) -> list[dict[str, Any]]:
        """Panels that show something; rows are headings."""
        return [panel for panel in self.document["panels"] if panel["type"] != "row"]

    def queries(self) -> Iterator[tuple[str, str]]:
        """Title of the panel and expression of every target."""
        for panel in self.panels():
            for target in panel["targets"]:
                yield panel["title"], target["expr"]

    def marks(self) -> Iterator[tuple[str, str]]:
        """Name and expression of every mark over time."""
        for note in self.document["annotations"]["list"]:
            yield note["name"], note["expr"]

    def variables(self) -> list[dict[str, Any]]:
        """All of them, in their order."""
        found: list[dict[str, Any]] = self.document["templating"]["list"]
        return found

    def expressions(self) -> Iterator[str]:
        """Everything the board sends to Prometheus: targets, variables, annotations."""
        yield from (expression for _, expression in self.queries())
        yield from (expression for _, expression in self.marks())
        for variable in self.variables():
            if variable["type"] == "query":
                yield variable["query"]["query"]

    def links(self) -> Iterator[str]:
        """Every address that a click leads to."""
        yield from (link["url"] for link in self.document["links"] if link["type"] == "link")
        for panel in self.panels():
            yield from (link["url"] for link in panel.get("links", []))
            yield from (link["url"] for link in panel["fieldConfig"]["defaults"].get("links", []))


def substitute(expression: str, values: Mapping[str, str]) -> str:
    """The expression as Grafana sends it; KeyError for a variable without a value."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], expression)


def chosen(
    board: Board, server: PrometheusServer, fixed: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A choice of each variable, found the way Grafana finds it, each with those before it filled in.

    `fixed` says which choice is taken; it must be one that is offered. Of the others the first is, or all where that is how a
    board opens.
    """
    values: dict[str, str] = {"__rate_interval": "15s", "__range": "5m", "__interval": "1s"}
    for variable in board.variables():
        name = variable["name"]
        if variable["type"] != "query":
            if variable["type"] in {"custom", "textbox"}:
                values[name] = variable["current"]["value"]
            continue
        asked = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
        assert asked is not None, variable
        choices = server.get(
            f"/api/v1/label/{asked[2]}/values", **{"match[]": substitute(asked[1], values)}
        )
        assert choices, f"{board.path.stem}: nothing to choose for {name}"
        if variable.get("includeAll"):
            values[name] = variable["allValue"]
            continue
        choice = (fixed or {}).get(name, choices[0])
        assert choice in choices, f"{board.path.stem}: {name} does not offer {choice}"
        # Grafana escapes what it puts between quotes.
        values[name] = choice.replace("\\", "\\\\").replace('"', '\\"')
    return values


BOARDS = [
    Board(path=path, document=json.loads(path.read_text(encoding="utf-8")))
    for path in sorted(FOLDER.glob("*.json"))
]
