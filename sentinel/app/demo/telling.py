"""How the demo speaks: short lines with the time since its start, and pages set apart."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Mapping
from typing import Any

from sentinel.app.demo.inbox import ReceivedAlert

_WIDTH = 96


class Teller:
    """Writes the story, one line or one page at a time."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._started_s = time.monotonic()

    def title(self, install_s: float | None) -> None:
        """The first lines."""
        installed = "" if install_s is None else f" (the installation took {install_s:.0f} s)"
        self._write(f"Sentinel demo: a payments pipeline runs, breaks, and pages{installed}.")
        self._write("")

    def step(self, sentence: str) -> None:
        """Something begins."""
        self._write(f"{self._clock()} {sentence} ...")

    def done(self, sentence: str) -> None:
        """It ended well."""
        self._write(f"{self._clock()}   ok  {sentence}.")

    def failed(self, sentence: str) -> None:
        """It did not."""
        self._write(f"{self._clock()}   !!  {sentence}.")

    def note(self, sentence: str) -> None:
        """Something worth knowing."""
        self._write(f"{self._clock()}       {sentence}.")

    def band(self, row: Mapping[str, Any]) -> None:
        """One series with what is expected of it."""
        place = f"{row['service']} {row['stage']} {row['route']}"
        value = "-" if row["value"] is None else f"{row['value']:.1f}"
        self._write(
            f"{self._clock()}       {place:<58.58} {value:>6}/s, expected"
            f" {row['expected']:.1f} ({max(0.0, row['lower'] or 0.0):.1f} to {row['upper']:.1f})"
        )

    def page(self, alert: ReceivedAlert) -> None:
        """A page as it went out."""
        head = "PAGE" if alert.status == "firing" else "RESOLVED"
        self._write("")
        self._write(f"  ┌─ {head} ─ {alert.labels.get('alertname', '')} ".ljust(_WIDTH, "─"))
        # The other annotations are the same facts one by one, for templates.
        shown = ("summary", "description", "next") if alert.status == "firing" else ("summary",)
        for name in shown:
            text = alert.annotations.get(name, "")
            for line in text.splitlines():
                lead = "Next: " if name == "next" else ""
                for part in textwrap.wrap(lead + line, _WIDTH - 6, subsequent_indent="  "):
                    self._write(f"  │ {part}")
        self._write("  └".ljust(_WIDTH, "─"))
        self._write("")

    def addresses(self, addresses: Mapping[str, str]) -> None:
        """Where things answer, for a demo that stays up."""
        self._write("")
        for name, address in addresses.items():
            self._write(f"  {name + ':':<22}{address}")
        self._write("  Ctrl-C stops everything.")
        self._write("")

    def _clock(self) -> str:
        return f"[{time.monotonic() - self._started_s:6.1f} s]"
