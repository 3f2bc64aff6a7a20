"""Where each alert's firing golden is from: a recording, or series that were stated. `python -m tests.support.rules.sources` writes the table.

The table stands in docs/components/alert_rules.md between two marks; a test holds it against the tree. Why an alert is not recorded
stands in tests/assets/alert_rules/stated.yaml, by its name or, for a whole file, by the file's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from tests.support.rules.cases import CASES, ROOT, cases_of, subjects

PAGE: Final = ROOT / "docs/components/alert_rules.md"
_STATED: Final = CASES / "stated.yaml"
_MARKS: Final = ("<!-- sources: begin -->\n", "<!-- sources: end -->\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Of one alert: its file, the recordings that it fires in, or why there is none."""

    file: str
    alert: str
    recordings: tuple[str, ...]
    reason: str


def stated() -> Mapping[str, str]:
    """The reasons, by alert or by file."""
    found: Mapping[str, str] = yaml.safe_load(_STATED.read_text())
    return found


def sources() -> list[Source]:
    """A row for each alert, in the order of the files."""
    found = []
    for subject in subjects():
        fired: dict[str, set[str]] = {}
        for case in cases_of(subject):
            for check in case.get("alert_rule_test", ()):
                if "recorded" in case and check["exp_alerts"]:
                    fired.setdefault(check["alertname"], set()).add(case["recorded"])
        alerts = dict.fromkeys(rule["alert"] for _, _, rule in subject.rules() if "alert" in rule)
        for alert in alerts:
            recordings = tuple(sorted(fired.get(alert, ())))
            reason = "" if recordings else stated().get(alert) or stated().get(subject.name, "")
            found.append(
                Source(file=subject.name, alert=alert, recordings=recordings, reason=reason)
            )
    return found


def table() -> str:
    """The table, and how many there are of each."""
    rows = sources()
    recorded = sum(1 for row in rows if row.recordings)
    lines = [
        f"{recorded} of {len(rows)} alerts fire in a recording, {len(rows) - recorded} in stated series alone.",
        "",
        "| Alert | Fires in | If in stated series alone: why |",
        "|---|---|---|",
    ]
    for row in rows:
        told = ", ".join(f"`{one}`" for one in row.recordings) or "stated series"
        lines.append(f"| {row.alert} | {told} | {row.reason} |")
    return "\n".join(lines) + "\n"


def written(page: str) -> str:
    """The page with the table of today; ValueError when it has no place for it."""
    begin, end = (re.escape(mark) for mark in _MARKS)
    new, count = re.subn(f"(?s){begin}.*?{end}", lambda _: _MARKS[0] + table() + _MARKS[1], page)
    if count != 1:
        msg = f"{PAGE.name} needs {_MARKS[0].strip()} and {_MARKS[1].strip()} once"
        raise ValueError(msg)
    return new


def main() -> int:
    """Write the page."""
    PAGE.write_text(written(PAGE.read_text()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
