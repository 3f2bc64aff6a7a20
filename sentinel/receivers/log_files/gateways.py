"""Sources of files that are a gateway's file-log: which of them `receivers.http_log` tells of as well."""

from __future__ import annotations

from collections.abc import Iterable

from sentinel.core.normalise.kong.twins import Twin
from sentinel.receivers.log_files.config import LogSourceConfig
from sentinel.runtime.component import Surroundings
from sentinel.runtime.intake.downstream import Downstream


class Gateways:
    """The gateways' sources, by name, beside http-log."""

    def __init__(
        self,
        sources: Iterable[LogSourceConfig],
        downstream: Downstream,
        surroundings: Surroundings,
    ) -> None:
        self._names = frozenset(source.name for source in sources)
        self._twins = downstream.twins
        self._surroundings = surroundings
        if self._names:
            self._twins.watch()

    def __bool__(self) -> bool:
        return bool(self._names)

    def __contains__(self, source: str) -> bool:
        return source in self._names

    def note(self, source: str, requests: Iterable[bytes]) -> None:
        """A file of the source told of these requests; to be said once of each."""
        twice = self._twins.by_file(source, requests, now_s=self._now_s())
        if twice:
            self._surroundings.metrics.count(
                "sentinel_log_requests_told_twice_total", twice, source=source
            )

    def is_left_out(self, source: str) -> bool:
        """Whether http-log tells all that the source does."""
        return source in self._names and self._twin_of(source) is Twin.SAME

    def sentence(self) -> str:
        """What is to be said of those that are told of twice, "" for nothing."""
        twin_of = {source: self._twin_of(source) for source in sorted(self._names)}
        for source, twin in twin_of.items():
            if twin is Twin.SAME:
                return (
                    f"Counted once, told of twice: {source} tells of the same requests as receivers.http_log, under another"
                    " service, and is left out: take one of the two out of the configuration"
                )
        for source, twin in twin_of.items():
            if twin is Twin.IN_PART:
                return (
                    f"Counted twice: requests of {source} are told of by receivers.http_log as well, under another service:"
                    " take one of the two out, or let each tell of routes of its own"
                )
        return ""

    def _twin_of(self, source: str) -> Twin:
        return self._twins.twin_of(source, now_s=self._now_s())

    def _now_s(self) -> float:
        return self._surroundings.clock.monotonic_s()
