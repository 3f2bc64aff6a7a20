"""Goal: a deploy is a version that a service did not have; a start of Sentinel, and pods that come and go, are none.

Method: services and versions are heard at chosen times.
"""

from __future__ import annotations

from sentinel.core.evidence import ServiceVersions, VersionsSettings

MINUTE_NS = 60 * 10**9


def since(versions: ServiceVersions) -> list[tuple[str, str, int]]:
    return [(one.service, one.version, one.since_ns // MINUTE_NS) for one in versions.since()]


def heard(versions: ServiceVersions, *names: tuple[str, str], minute: int) -> None:
    versions.heard(names, now_ns=minute * MINUTE_NS)


def test_the_first_version_of_a_service_is_no_deploy_and_the_next_is() -> None:
    versions = ServiceVersions()
    heard(versions, ("edge", "1"), ("poster", "7"), minute=1)
    assert since(versions) == []
    heard(versions, ("edge", "2"), minute=5)
    # While it rolls out both are heard; that is one deploy.
    heard(versions, ("edge", "1"), minute=6)
    heard(versions, ("edge", "2"), minute=7)
    assert since(versions) == [("edge", "2", 5)]


def test_a_version_that_comes_back_after_it_was_away_is_a_rollback() -> None:
    versions = ServiceVersions()
    heard(versions, ("edge", "1"), minute=0)
    for minute in range(1, 21):
        heard(versions, ("edge", "2"), minute=minute)
    heard(versions, ("edge", "1"), minute=21)
    assert since(versions) == [("edge", "2", 1), ("edge", "1", 21)]


def test_a_service_that_was_silent_and_comes_back_as_it_was_has_not_been_deployed() -> None:
    versions = ServiceVersions()
    heard(versions, ("edge", "1"), minute=0)
    heard(versions, ("edge", "1"), minute=600)
    assert since(versions) == []


def test_what_is_remembered_is_bounded_and_what_gives_way_is_counted() -> None:
    versions = ServiceVersions(VersionsSettings(services_max=2, versions_max=2))
    for number in range(4):
        heard(versions, ("edge", f"{number}"), minute=number)
    assert since(versions) == [("edge", "2", 2), ("edge", "3", 3)]
    assert versions.dropped_count == 2
    for number in range(3):
        heard(versions, (f"other-{number}", "1"), minute=10)
    assert versions.dropped_count == 4
    assert since(versions) == []
