"""A run's results as tables for people, in plain text and as Markdown for the documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.pages.scoring import SIDES

_TITLES = {
    "sentinel": "the sidecar",
    "rules": "the rules that come with it",
    "ours": "both",
    "static": "static thresholds",
}
_HEAD = (
    "| Fault | Weight | Held | Sidecar paged, median and p95 | Told, tickets too | Its rules | Thresholds |"
    " Pages an incident: sidecar, rules, thresholds | Unrelated pages meanwhile |"
)


def table(found: Mapping[str, Any]) -> str:
    """A row a fault."""
    lines = [_HEAD, "|" + "---|" * (_HEAD.count("|") - 1)]
    for name, fault in found["faults"].items():
        lines.append(
            f"| `{name}` | {fault['weight']} | {fault['count']} | {_times(fault['sentinel'])} |"
            f" {_times(fault['sentinel']['told'])} | {_times(fault['rules'])} | {_times(fault['static'])} |"
            f" {fault['sentinel']['pages_an_incident']:g}, {fault['rules']['pages_an_incident']:g},"
            f" {fault['static']['pages_an_incident']:g} |"
            f" {', '.join(str(fault[side]['unrelated_pages']) for side in ('sentinel', 'rules', 'static'))} |"
        )
    return "\n".join(lines)


def totals(found: Mapping[str, Any]) -> str:
    """All faults together, what was paged for nothing, and which goals are reached."""
    quiet_minutes = found["quiet_s"] / 60
    lines = [
        f"{_TITLES[side]:<28} hard {_times(found['hard'][side])}; all {_times(found['all'][side])},"
        f" with tickets {_times(found['all_with_tickets'][side])};"
        f" pages an incident {found['pages_an_incident'][side]},"
        f" and {found['unrelated_pages'][side]} about other things while faults were held;"
        f" in {quiet_minutes:.0f} quiet minutes {found['false_pages'][side]} pages"
        f" ({found['false_pages_while_well'][side]} while requests worked),"
        f" {found['false_tickets'][side]} tickets"
        for side in SIDES
    ]
    if found["unwell_s"]:
        lines.append(
            f"in {found['unwell_s'] / 60:.0f} of the quiet minutes requests failed or were slow though nothing was broken: a busy machine"
        )
    if found["failed"]:
        lines.append(f"could not be held: {', '.join(found['failed'])}")
    for goal, reached in found["goals"].items():
        told = {True: "reached", False: "NOT REACHED", None: "cannot be said"}[reached]
        lines.append(f"{told:<14} {goal}")
    return "\n".join(lines)


def write_json(found: Mapping[str, Any], path: Path, *, machine: str) -> None:
    """Keep it for the documents."""
    path.write_text(json.dumps({"machine": machine, **found}, indent=1) + "\n", encoding="utf-8")


def _times(found: Mapping[str, Any]) -> str:
    if not found["count"]:
        return "none"
    share = f"{found['found']} of {found['count']}"
    if not found["found"]:
        return share
    median, p95 = _seconds(found["median_s"]), _seconds(found["p95_s"])
    return f"{share}: {median}, {p95}"


def _seconds(found: float | None) -> str:
    return "not in time" if found is None else f"{found:g} s"
