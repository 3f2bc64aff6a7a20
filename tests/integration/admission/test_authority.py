"""Goal: the injector's own authority is made once for all replicas, trusted before it is served with, and mended when undone.

Method: an API server over TLS with state in memory; real certificates; time under the test's hand where it has to pass.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sentinel.admission.certificates.issue import holds
from sentinel.admission.certificates.keeper import AuthorityKeeper
from sentinel.admission.certificates.keeping import serving_files
from sentinel.admission.cluster import Cluster
from sentinel.admission.config import AuthorityConfig, ClusterConfig
from sentinel.errors import ConfigError, SentinelError
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.settings import Duration, FilePath
from tests.support.api_server import ApiServer, api_server
from tests.support.clock import ManualClock
from tests.support.injector import (
    calling,
    cluster_config,
    injector_config,
    make_pod,
    make_review,
    running,
)
from tests.support.surroundings import make_surroundings

pytestmark = pytest.mark.integration

SECRET = "/api/v1/namespaces/sentinel/secrets/sentinel-admission-tls"
DAY_S = 86_400.0


class Replica:
    """A keeper with files and metrics of its own."""

    def __init__(self, api: ApiServer, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.surroundings: Surroundings = make_surroundings(self.clock)
        config = dataclasses.replace(AuthorityConfig(), folder=FilePath(str(folder)), **more)
        self.keeper = AuthorityKeeper(config, Cluster(cluster_config(api), {}), self.surroundings)

    @property
    def served(self) -> bytes:
        """The certificate in service."""
        return serving_files(self.folder)[0].read_bytes()

    @property
    def authorities(self) -> bytes:
        """Who is to be trusted for it."""
        return (self.folder / "current/ca.crt").read_bytes()

    def issued(self) -> float:
        """How many certificates it made."""
        return self.surroundings.metrics.value("sentinel_admission_certificates_issued_total")

    def trusted(self) -> float:
        """What its metric says of the webhook configuration."""
        return self.surroundings.metrics.value(
            "sentinel_admission_ca_bundle_current", configuration="sentinel-admission"
        )


def secret_part(api: ApiServer, name: str) -> bytes:
    return base64.b64decode(api.objects[SECRET]["data"][name])


async def test_an_injector_with_its_own_authority_is_believed_by_whom_it_told(
    tmp_path: Path,
) -> None:
    with api_server(tmp_path) as api:
        path = api.add_webhook(service="sentinel-admission", namespace="sentinel")
        async with running(injector_config(tmp_path, api)) as injector:
            bundle = api.bundle(path)
            assert bundle is not None
            async with calling(injector, bundle) as caller:
                assert "patch" in await caller.review(make_review(make_pod()))
        assert api.bundle(path, 0) is None
        assert set(api.objects[SECRET]["data"]) == {"ca.crt", "ca.key", "tls.crt", "tls.key"}
        assert not any("ca.key" in one.name for one in tmp_path.rglob("*"))


async def test_replicas_share_one_authority_whoever_comes_first(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        path = api.add_webhook(service="sentinel-admission", namespace="sentinel")
        replicas = [Replica(api, tmp_path / f"r{number}") for number in range(3)]
        assert all(await asyncio.gather(*(one.keeper.look() for one in replicas)))
        assert {one.served for one in replicas} == {secret_part(api, "tls.crt")}
        assert sum(one.issued() for one in replicas) == 1
        assert api.bundle(path) == replicas[0].authorities
        assert all(one.trusted() == 1 for one in replicas)
        # Started again, a replica takes what there is.
        again = Replica(api, tmp_path / "again")
        await again.keeper.start()
        await again.keeper.stop()
        assert (again.issued(), again.served) == (0, replicas[0].served)


async def test_an_empty_secret_that_came_with_the_manifest_is_filled(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        api.store(SECRET, {"kind": "Secret", "metadata": {"name": "x"}, "data": {"other": "eA=="}})
        api.refused.add("/api/v1/namespaces/sentinel/secrets?")
        replica = Replica(api, tmp_path / "r")
        assert await replica.keeper.look()
        assert "other" in api.objects[SECRET]["data"]
        assert not any(one.startswith("POST") for one in api.asked)


async def test_a_bundle_that_was_taken_away_is_put_back(tmp_path: Path) -> None:
    """Applying the manifest again empties it, and from then on every review fails without a word."""
    with api_server(tmp_path) as api:
        path = api.add_webhook(service="sentinel-admission", namespace="sentinel")
        replica = Replica(api, tmp_path / "r")
        await replica.keeper.start()
        try:
            api.add_webhook(service="sentinel-admission", namespace="sentinel")
            assert api.bundle(path) is None
            await asyncio.sleep(0)
            await replica.clock.advance(31)
            for _ in range(200):
                if api.bundle(path):
                    break
                await asyncio.sleep(0.02)
            assert api.bundle(path) == replica.authorities
        finally:
            await replica.keeper.stop()


async def test_a_certificate_is_renewed_in_time_and_another_replica_follows(
    tmp_path: Path,
) -> None:
    with api_server(tmp_path) as api:
        path = api.add_webhook(service="sentinel-admission", namespace="sentinel")
        one, two = Replica(api, tmp_path / "1"), Replica(api, tmp_path / "2")
        assert await one.keeper.look()
        assert await two.keeper.look()
        first, bundle = one.served, api.bundle(path)
        for each in (one, two):
            each.clock.step_wall(61 * DAY_S)
        assert await one.keeper.look()
        assert one.served != first
        assert api.bundle(path) == bundle
        assert await two.keeper.look()
        assert two.served == one.served
        assert (one.issued(), two.issued()) == (2, 0)


async def test_a_new_authority_is_trusted_before_it_is_served_with(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        path = api.add_webhook(service="sentinel-admission", namespace="sentinel")
        replica = Replica(api, tmp_path / "r")
        assert await replica.keeper.look()
        served, old = replica.served, replica.authorities
        # The serving certificate is still good for long when the authority's time to be replaced comes: a new Secret.
        del api.objects[SECRET]
        api.refused.add("/apis/admissionregistration")
        assert not await replica.keeper.look()
        assert replica.served == served
        assert replica.keeper.health().status is HealthStatus.DEGRADED
        assert replica.trusted() == 0
        api.refused.clear()
        assert await replica.keeper.look()
        assert replica.served != served
        bundle = api.bundle(path)
        assert bundle == replica.authorities
        assert not holds(old, bundle or b"")


async def test_an_authority_at_its_end_is_followed_by_one_that_is_trusted_beside_it(
    tmp_path: Path,
) -> None:
    with api_server(tmp_path) as api:
        path = api.add_webhook(service="sentinel-admission", namespace="sentinel")
        replica = Replica(api, tmp_path / "r")
        assert await replica.keeper.look()
        old = replica.authorities
        replica.clock.step_wall(3600 * DAY_S)
        assert await replica.keeper.look()
        bundle = api.bundle(path)
        assert bundle is not None
        assert bundle != old
        assert holds(bundle, old)


async def test_without_a_right_or_an_answer_what_is_served_stays(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        replica = Replica(api, tmp_path / "r")
        assert await replica.keeper.look()
        served = replica.served
        api.refused.add("/api/v1/namespaces")
        assert not await replica.keeper.look()
        health = replica.keeper.health()
        assert health.status is HealthStatus.DEGRADED
        assert "cannot be kept" in health.sentence
        assert "User cannot get" in health.sentence
        api.refused.clear()
        api.broken = [("/api/v1/namespaces", 500)]
        assert not await replica.keeper.look()
        assert await replica.keeper.look()
        assert replica.served == served


async def test_what_was_spoilt_is_made_anew(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        replica = Replica(api, tmp_path / "r")
        assert await replica.keeper.look()
        for name, value in (("tls.key", "eA=="), ("ca.crt", "not base64"), ("ca.key", "")):
            api.objects[SECRET]["data"][name] = value
            assert await replica.keeper.look(), replica.keeper.health()
            assert replica.served == secret_part(api, "tls.crt")
        assert replica.issued() == 4


async def test_a_configuration_without_our_webhook_is_told_and_served_all_the_same(
    tmp_path: Path,
) -> None:
    with api_server(tmp_path) as api:
        api.add_webhook(service="another", namespace="sentinel")
        replica = Replica(api, tmp_path / "r")
        await replica.keeper.start()
        await replica.keeper.stop()
        assert replica.served
        assert not await replica.keeper.look()
        assert "no webhook of the configuration leads" in replica.keeper.health().sentence


async def test_a_start_without_any_certificate_fails_with_the_reason(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.refused.add("/api/v1/namespaces")
        replica = Replica(api, tmp_path / "r")
        starting = asyncio.create_task(replica.keeper.start())
        while not starting.done():
            await replica.clock.advance(1)
            await asyncio.sleep(0.01)
        with pytest.raises(SentinelError, match="User cannot get"):
            starting.result()


async def test_outside_a_cluster_the_namespace_has_to_be_given() -> None:
    surroundings = make_surroundings()
    nowhere = ClusterConfig(namespace_file=FilePath("/nonexistent"), timeout=Duration(1.0))
    keeper = AuthorityKeeper(AuthorityConfig(), Cluster(nowhere, {}), surroundings)
    with pytest.raises(ConfigError, match="which namespace"):
        await keeper.start()
