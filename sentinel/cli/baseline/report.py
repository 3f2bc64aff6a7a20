"""What `sentinel baseline` tells of a store: a name and a value a line for people, one document for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sentinel.cli.wrapping import tell

_NAME_WIDTH = 14


def instant_told(time_ns: int) -> str:
    """An instant in UTC, to the second.

    >>> instant_told(0)
    '1970-01-01T00:00:00+00:00'
    """
    return datetime.fromtimestamp(time_ns / 1e9, tz=UTC).isoformat(timespec="seconds")


def minute_told(time_ns: int) -> str:
    """The same to the minute, as short as it can be.

    >>> minute_told(0)
    '1970-01-01 00:00Z'
    """
    return f"{datetime.fromtimestamp(time_ns / 1e9, tz=UTC):%Y-%m-%d %H:%MZ}"


def print_report(output: str, report: dict[str, Any]) -> None:
    """Print it as JSON, or a line for each value."""
    if output == "json":
        print(json.dumps(report))
        return
    for name, value in report.items():
        if name == "dry_run":
            continue  # said in a sentence at the end
        _print_field(name.replace("_", " "), value)


def _print_field(name: str, value: object) -> None:
    if isinstance(value, dict):
        for key, count in value.items():
            _print_line(name, f"{count} {key}")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for one in value:
            _print_line(name, "  ".join(f"{key} {field}" for key, field in one.items()))
    else:
        _print_line(name, "-" if value is None else str(value))


def _print_line(name: str, text: str) -> None:
    tell(f"{name:<{_NAME_WIDTH}} {text}", set_in=" " * (_NAME_WIDTH + 1))
