"""Deploys, seen without anybody telling of them: a service is heard with a version that it did not have.

The first version that is known of a service is no deploy: it may have run for months, and after a start of Sentinel all
are the first. A version that comes back after it was away for a while is one again, because that is what a rollback is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sentinel.core.model import ServiceVersion

_AWAY_NS = 600 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionsSettings:
    """How much is remembered.

    Attributes:
        services_max: services; the one that was silent longest gives way.
        versions_max: versions of each; the one that was silent longest gives way.
        away_ns: a version that was not heard for longer, while another one was, is new when it comes back.
    """

    services_max: int = 500
    versions_max: int = 8
    away_ns: int = _AWAY_NS


class ServiceVersions:
    """Since when services run the versions that they name; bounded."""

    def __init__(self, settings: VersionsSettings | None = None) -> None:
        self._settings = settings or VersionsSettings()
        self._known: dict[str, dict[str, _Run]] = {}
        self.dropped_count = 0
        """Services and versions that gave way to others."""

    def heard(self, names: Iterable[tuple[str, str]], *, now_ns: int) -> None:
        """Take services and versions that were heard together.

        >>> versions = ServiceVersions()
        >>> versions.heard([("shop", "1.0")], now_ns=1)
        >>> versions.since()
        ()
        >>> versions.heard([("shop", "1.1")], now_ns=2)
        >>> [(one.version, one.since_ns) for one in versions.since()]
        [('1.1', 2)]
        """
        for service, version in names:
            # Put back at the end: the first key is the service that was silent longest.
            runs = self._known.pop(service, None) or {}
            self._known[service] = runs
            self._note(runs, version, now_ns)
            if len(self._known) > self._settings.services_max:
                del self._known[next(iter(self._known))]
                self.dropped_count += 1

    def since(self) -> tuple[ServiceVersion, ...]:
        """Every version that a service came to run while it was listened to, by service and time."""
        return tuple(
            ServiceVersion(service=service, version=version, since_ns=run.since_ns)
            for service, runs in sorted(self._known.items())
            for version, run in sorted(runs.items(), key=lambda one: (one[1].since_ns, one[0]))
            if run.follows
        )

    def _note(self, runs: dict[str, _Run], version: str, now_ns: int) -> None:
        run = runs.pop(version, None)
        others_ns = max((other.last_ns for other in runs.values()), default=0)
        if run is None:
            run = _Run(since_ns=now_ns, follows=bool(runs))
        elif now_ns - run.last_ns > self._settings.away_ns and others_ns > run.last_ns:
            run = _Run(since_ns=now_ns, follows=True)
        run.last_ns = max(run.last_ns, now_ns)
        runs[version] = run
        if len(runs) > self._settings.versions_max:
            del runs[next(iter(runs))]
            self.dropped_count += 1


@dataclass(slots=True)
class _Run:
    since_ns: int
    follows: bool
    last_ns: int = 0
