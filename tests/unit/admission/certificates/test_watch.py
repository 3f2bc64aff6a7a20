"""Goal: a certificate that nobody renews is told of before it ends. Method: real certificates, a clock under the test's hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.admission.certificates.issue import Lifetimes, issue
from sentinel.admission.certificates.watch import CertificateWatch
from sentinel.runtime.component import HealthStatus
from tests.support.clock import ManualClock
from tests.support.surroundings import make_surroundings

DAY_S = 86_400.0


async def test_the_end_is_told_when_it_is_near_and_when_it_came(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    surroundings = make_surroundings(clock)
    lifetimes = Lifetimes(certificate_s=30 * DAY_S, authority_s=300 * DAY_S)

    def renew() -> float:
        material = issue(("a.b.svc",), lifetimes=lifetimes, now_s=clock.now_ns() / 1e9)
        (tmp_path / "tls.crt").write_bytes(material.certificate)
        return material.certificate_ends_s

    ends_s = renew()
    watch = CertificateWatch(tmp_path / "tls.crt", lambda: 7 * DAY_S, surroundings)
    await watch.look()
    assert watch.health().status is HealthStatus.OK
    name = "sentinel_admission_certificate_expiry_timestamp_seconds"
    assert surroundings.metrics.value(name, certificate="serving") == ends_s
    clock.step_wall(24 * DAY_S)
    for _ in range(3):
        await watch.look()
    assert watch.health().status is HealthStatus.DEGRADED
    assert caplog.text.count("was not renewed") == 1
    clock.step_wall(7 * DAY_S)
    await watch.look()
    assert watch.health().status is HealthStatus.FAILING
    renew()
    await watch.look()
    assert watch.health().status is HealthStatus.OK
    (tmp_path / "tls.crt").write_text("not PEM")
    await watch.look()
    assert "cannot be read" in watch.health().sentence


async def test_it_looks_by_itself(tmp_path: Path) -> None:
    clock = ManualClock()
    watch = CertificateWatch(tmp_path / "tls.crt", lambda: DAY_S, make_surroundings(clock))
    await watch.start()
    assert watch.health().status is HealthStatus.DEGRADED
    await watch.stop()
    assert watch.health().sentence == "Stopped"


async def test_what_counts_is_the_time_of_who_reads_the_certificate(tmp_path: Path) -> None:
    """With its clock set wrong a replica said that a certificate had ended which every API server took."""
    clock, theirs = ManualClock(), ManualClock()
    lifetimes = Lifetimes(certificate_s=30 * DAY_S, authority_s=300 * DAY_S)
    material = issue(("a.b.svc",), lifetimes=lifetimes, now_s=clock.now_ns() / 1e9)
    (tmp_path / "tls.crt").write_bytes(material.certificate)
    watch = CertificateWatch(
        tmp_path / "tls.crt",
        lambda: 7 * DAY_S,
        make_surroundings(clock),
        told_s=lambda: theirs.now_ns() / 1e9,
    )
    clock.step_wall(400 * DAY_S)
    await watch.look()
    assert watch.health().status is HealthStatus.OK
    theirs.step_wall(31 * DAY_S)
    await watch.look()
    assert watch.health().status is HealthStatus.FAILING
