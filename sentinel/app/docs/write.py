"""Writes the documents that are made from the code, or with `--check` says which are stale.

They are committed, because people read them in the repository; a test runs `--check`, so that they stay true.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sentinel.app.docs.band import band_lines, band_picture
from sentinel.app.docs.page import page_lines
from sentinel.app.docs.reference import (
    admission_lines,
    cli_lines,
    configuration_lines,
    metrics_lines,
)

_NOTE = "<!-- Written by `python -m sentinel.app.docs` from the code; edit the code instead. -->"
_DOCS = Path(__file__).parents[3] / "docs"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the documents, or with `--check` say which are stale; exit code 1 when one is."""
    parser = argparse.ArgumentParser(prog="python -m sentinel.app.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name stale documents")
    parser.add_argument("--folder", type=Path, default=_DOCS, help="where they are")
    args = parser.parse_args(argv)
    stale = []
    for name, text in pages().items():
        path = args.folder / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path)
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for path in stale:
        sys.stdout.write(f"{path} {'is stale: run make docs' if args.check else 'written'}\n")
    return 1 if args.check and stale else 0


def pages() -> dict[str, str]:
    """The text of every generated document, by file name."""
    return {
        "configuration.md": _document("Configuration", configuration_lines()),
        "admission.md": _document("Configuration of the injector", admission_lines()),
        "metrics.md": _document("Self-metrics", metrics_lines()),
        "cli.md": _document("Commands", cli_lines()),
        "page.md": _document("A page, whole", page_lines()),
        "band.md": _document("How the band is made", band_lines()),
        "band.svg": band_picture(),
    }


def _document(title: str, lines: Iterator[str]) -> str:
    return "\n".join([f"# {title}", "", _NOTE, "", *lines]).rstrip("\n") + "\n"
