"""What a file of past data holds, by its name and its first line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sentinel.history.lines import numbered_lines

Form = Literal["series", "long", "openmetrics"]


def form_of(path: Path) -> Form:
    """`openmetrics`, or CSV: `long` with a service in its second column, else one `series`.

    Raises:
        MalformedInputError: its first line is not text, or it is not gzip although its name says so.
        InputTooLargeError: its first line is too long.
        OSError: it cannot be read.
    """
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if suffix in (".om", ".prom"):
        return "openmetrics"
    _, first = next(numbered_lines(path), (1, ""))
    if first.startswith("#"):
        return "openmetrics"
    names = [name.strip().strip('"').lower() for name in first.split(",")]
    return "long" if names[1:2] == ["service"] else "series"
