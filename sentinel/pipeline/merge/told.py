"""What people are told of collectors: metrics, the log, health and tickets say who is there and who is silent."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.core.evidence import ServiceVersions
from sentinel.core.model import Page
from sentinel.core.series.collected import Attendance, CollectedWindow
from sentinel.core.series.collected.telling import blind_page, roll_call
from sentinel.runtime.component import Surroundings


class CollectorsTold:
    """Who told of the newest window, beside who did of the one before."""

    def __init__(self, surroundings: Surroundings, versions: ServiceVersions) -> None:
        self._surroundings = surroundings
        self._versions = versions
        self._attendance: Attendance | None = None

    @property
    def is_any_silent(self) -> bool:
        """Whether a collector that is waited for did not tell of the newest window."""
        return self._attendance is not None and bool(self._attendance.silent)

    def sentence(self) -> str:
        """How many there are, or who of them is silent, for health."""
        if self._attendance is None or not self._attendance.expected_count:
            return "No collector has told anything yet"
        return roll_call(self._attendance)

    def amended(self, page: Page) -> Page:
        """A page about collectors, with who is silent; any other as it is."""
        return page if self._attendance is None else blind_page(page, self._attendance)

    def note(self, attendance: Attendance) -> None:
        """Tell of a window that was closed, and of each collector once when something changed."""
        metrics, logger = self._surroundings.metrics, self._surroundings.logger
        before = self._attendance
        self._attendance = attendance
        metrics.set("sentinel_collectors", attendance.expected_count)
        metrics.set("sentinel_collectors_silent", len(attendance.silent))
        if attendance.silent:
            metrics.count("sentinel_windows_partial_total")
        was = set() if before is None else set(before.silent)
        doubled = set() if before is None else before.doubled
        for name in sorted(attendance.doubled - doubled):
            logger.warning(
                "Several collectors have one name and windows of theirs are lost: each needs its own `collect.name`",
                extra={"collector": name},
            )
        for name in sorted(set(attendance.silent) - was - attendance.doubled):
            logger.warning("A collector is silent", extra={"collector": name})
        for name in attendance.let_go:
            logger.warning(
                "A collector that was silent for long is let go", extra={"collector": name}
            )

    def note_versions(self, parts: Iterable[CollectedWindow]) -> None:
        """Note which versions services name, in the order of time, whoever heard them."""
        before = self._versions.dropped_count
        told = sorted(
            (at_ns, names) for part in parts for names, at_ns in part.content.versions.items()
        )
        for at_ns, names in told:
            self._versions.heard([names], now_ns=at_ns)
        if dropped := self._versions.dropped_count - before:
            self._surroundings.metrics.count("sentinel_service_versions_dropped_total", dropped)
