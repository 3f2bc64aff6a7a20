"""Spans of what Sentinel itself does: which there are, and how a component says that one begins and ends.

Components know this module and no library: without `self_telemetry` the tracer is `NO_TRACER` and costs a method call.
What is traced happens some times a second at most (a window, a fit, a delivery, a scrape) and never once per request or
sample: a sidecar whose spans come back to it must not make more of them by that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from enum import StrEnum
from typing import Protocol


class OwnSpan(StrEnum):
    """Every span there is, by its name."""

    EVALUATE = "evaluate"
    FIT = "fit"
    DELIVER = "deliver"
    SCRAPE = "scrape"


class SpanNotes(Protocol):
    """What may be said of a span while it lasts."""

    def note(self, **attributes: str | int | float | bool) -> None:
        """Say more of it: names that are configured, closed enumerations and numbers; never text from outside."""
        ...

    def failed(self, reason: str) -> None:
        """What it stands for did not work; `reason` is one of a closed enumeration."""
        ...


class Tracer(Protocol):
    """Makes spans; never blocks and never raises."""

    def span(
        self, what: OwnSpan, /, **attributes: str | int | float | bool
    ) -> AbstractContextManager[SpanNotes]:
        """A span as long as the block; one that ends by an exception is told as failed, and the exception goes on."""
        ...


class NoSpanNotes:
    """Says nothing."""

    def note(self, **attributes: str | int | float | bool) -> None:
        """Nothing."""

    def failed(self, reason: str) -> None:
        """Nothing."""


class NoTracer:
    """Makes none."""

    def span(
        self,
        what: OwnSpan,  # noqa: ARG002  # the port's
        /,
        **attributes: str | int | float | bool,  # noqa: ARG002
    ) -> AbstractContextManager[SpanNotes]:
        """None."""
        return _nothing()


@contextmanager
def _nothing() -> Iterator[SpanNotes]:
    yield _NO_NOTES


_NO_NOTES = NoSpanNotes()
NO_TRACER = NoTracer()
