"""The shipped boards, read for tests."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parents[2] / "dashboards"


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

    def expressions(self) -> Iterator[str]:
        """Everything the board sends to Prometheus: targets, variables, annotations."""
        yield from (expression for _, expression in self.queries())
        yield from (note["expr"] for note in self.document["annotations"]["list"])
        for variable in self.document["templating"]["list"]:
            if variable["type"] == "query":
                yield variable["query"]["query"]


def substitute(expression: str, values: Mapping[str, str]) -> str:
    """The expression as Grafana sends it; KeyError for a variable without a value."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: values[found[1]], expression)


BOARDS = [
    Board(path=path, document=json.loads(path.read_text()))
    for path in sorted(_FOLDER.glob("*.json"))
]
