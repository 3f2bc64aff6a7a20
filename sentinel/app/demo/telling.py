"""How the demo speaks: short lines with the time since its start, and pages set apart."""

from __future__ import annotations

import shutil
import textwrap
import time
from collections.abc import Callable, Mapping
from typing import Any

from sentinel.app.demo.inbox import ReceivedAlert
from sentinel.core.incidents.text import cut_middle

_WIDTH_MAX = 96
_PLACE_CHARACTERS_MIN, _PLACE_CHARACTERS_MAX = 12, 40


class Teller:
    """Writes the story, one line or one page at a time."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._width = min(_WIDTH_MAX, shutil.get_terminal_size((_WIDTH_MAX, 24)).columns)
        self._started_s = time.monotonic()

    def title(self, install_s: float | None) -> None:
        """The first lines."""
        installed = "" if install_s is None else f" (the installation took {install_s:.0f} s)"
        self._write(f"Sentinel demo: a payments pipeline runs, breaks, and pages{installed}.")
        self._write("")

    def step(self, sentence: str) -> None:
        """Something begins."""
        self._say(f"{sentence} ...", lead=" ")

    def done(self, sentence: str) -> None:
        """It ended well."""
        self._say(f"{sentence}.", lead="   ok  ")

    def failed(self, sentence: str) -> None:
        """It did not."""
        self._say(f"{sentence}.", lead="   !!  ")

    def note(self, sentence: str) -> None:
        """Something worth knowing."""
        self._say(f"{sentence}.", lead="       ")

    def band(self, row: Mapping[str, Any]) -> None:
        """One series with what is expected of it."""
        value = "-" if row["value"] is None else f"{row['value']:.1f}"
        lower, upper = max(0.0, row["lower"] or 0.0), row["upper"]
        # Without the service: a stage's routes tell the rows apart, and both fit into 80 columns.
        first = f"{self._clock()}  "
        figures = f" {value:>5}/s, usual {row['expected']:.1f} ({lower:.1f}-{upper:.1f})"
        room = max(self._width - len(first) - len(figures), _PLACE_CHARACTERS_MIN)
        place = cut_middle(f"{row['stage']} {row['route']}", room)
        self._write(f"{first}{place:<{min(room, _PLACE_CHARACTERS_MAX)}}{figures}")

    def page(self, alert: ReceivedAlert) -> None:
        """A page as it went out."""
        head = "PAGE" if alert.status == "firing" else "RESOLVED"
        self._write("")
        self._write(f"  ┌─ {head} ─ {alert.labels.get('alertname', '')} ".ljust(self._width, "─"))
        # The other annotations are the same facts one by one, for templates.
        shown = ("summary", "description", "next") if alert.status == "firing" else ("summary",)
        for name in shown:
            text = alert.annotations.get(name, "")
            for line in text.splitlines():
                lead = "Next: " if name == "next" else ""
                for part in textwrap.wrap(lead + line, self._width - 6, subsequent_indent="  "):
                    self._write(f"  │ {part}")
        self._write("  └".ljust(self._width, "─"))
        self._write("")

    def afterwards(self, program: str) -> None:
        """What to type now, for this demo's sidecar is gone and with it what its pages said to type."""
        self._write("")
        self._write("To try what the pages say under Next, keep the sidecar running:")
        self._write(f"  {program} demo --keep")

    def addresses(self, addresses: Mapping[str, str]) -> None:
        """Where things answer, for a demo that stays up."""
        self._write("")
        for name, address in addresses.items():
            self._write(f"  {name + ':':<22}{address}")
        self._write("  Ctrl-C stops everything.")
        self._write("")

    def _say(self, text: str, *, lead: str) -> None:
        first = self._clock() + lead
        for part in textwrap.wrap(
            text, self._width, initial_indent=first, subsequent_indent=" " * len(first)
        ):
            self._write(part)

    def _clock(self) -> str:
        return f"[{time.monotonic() - self._started_s:6.1f} s]"
