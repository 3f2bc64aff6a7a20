"""Goal: a full disk, a wrong clock, a kill in the middle of a write or a change under load takes no certificate out of service.

Method: an API server with a clock of its own, a file system that says it is full, a process that is killed while it writes,
callers that ask without a pause while the files change.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sentinel.admission.certificates.issue import Lifetimes, issue
from sentinel.admission.certificates.keeper import AuthorityKeeper
from sentinel.admission.certificates.keeping import FolderPlace, put_in_service, serving_files
from sentinel.admission.cluster import Cluster
from sentinel.admission.config import AuthorityConfig
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import HealthStatus
from sentinel.runtime.settings import Duration, FilePath
from sentinel.runtime.tls import TlsConfig
from tests.support.api_server import ApiServer, api_server
from tests.support.clock import ManualClock
from tests.support.injector import (
    HOST,
    calling,
    cluster_config,
    injector_config,
    make_pod,
    make_review,
    response_of,
    running,
)
from tests.support.surroundings import make_surroundings

pytestmark = pytest.mark.integration

DAY_S = 86_400.0
LIFETIMES = Lifetimes(certificate_s=10 * DAY_S, authority_s=100 * DAY_S)


class Replica:
    """A keeper that hears the time from the API server."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.surroundings = make_surroundings(self.clock)
        cluster = Cluster(cluster_config(api), {}, clock=self.clock)
        config = AuthorityConfig(folder=FilePath(str(folder)))
        self.keeper = AuthorityKeeper(config, cluster, self.surroundings)

    @property
    def served(self) -> bytes:
        """The certificate in service."""
        return serving_files(self.folder)[0].read_bytes()

    def value(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.surroundings.metrics.value(name, **labels)


@pytest.mark.parametrize("off_s", [400 * DAY_S, -400 * DAY_S], ids=["ahead", "behind"])
async def test_a_clock_that_was_set_wrong_makes_no_certificate(
    tmp_path: Path, off_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    """By its own clock the replica put a certificate that has ended, or has not begun, in the place of a good one, for all replicas."""
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        right = ManualClock()
        api.now_s = lambda: right.now_ns() / 1e9
        replica = Replica(api, tmp_path / "r")
        assert await replica.keeper.look()
        served = replica.served
        assert replica.keeper.health().status is HealthStatus.OK
        replica.clock.step_wall(off_s)
        for _ in range(2):
            assert await replica.keeper.look()
        assert replica.served == served
        assert replica.value("sentinel_admission_certificates_issued_total") == 1
        assert replica.value("sentinel_admission_clock_offset_seconds") == off_s
        health = replica.keeper.health()
        assert health.status is HealthStatus.DEGRADED
        assert ("ahead of" if off_s > 0 else "behind") in health.sentence
        assert len([one for one in caplog.records if "the clock here" in one.message]) == 1
        # One that starts with that clock makes what API servers take, too.
        wrong = Replica(api, tmp_path / "w")
        wrong.clock.step_wall(off_s)
        assert await wrong.keeper.look()
        assert wrong.served == served
        replica.clock.step_wall(-off_s)
        assert await replica.keeper.look()
        assert replica.keeper.health().status is HealthStatus.OK
        # And what is due by the API server's time is made.
        right.step_wall(61 * DAY_S)
        assert await replica.keeper.look()
        assert replica.served != served


async def test_on_a_full_disk_what_is_served_stays_and_nothing_piles_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error went past the look, whose task crashed, and each try left a folder behind."""
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        replica = Replica(api, tmp_path / "r")
        api.now_s = lambda: replica.clock.now_ns() / 1e9
        assert await replica.keeper.look()
        served = replica.served
        replica.clock.step_wall(61 * DAY_S)
        sync = os.fsync

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(os, "fsync", full)
        for _ in range(3):
            assert not await replica.keeper.look()
        assert replica.served == served
        assert len(list((tmp_path / "r").iterdir())) == 2
        health = replica.keeper.health()
        assert health.status is HealthStatus.DEGRADED
        assert "no space left" in health.sentence.lower()
        assert replica.value("sentinel_admission_authority_looks_total", result="not_served") == 3
        monkeypatch.setattr(os, "fsync", sync)
        assert await replica.keeper.look()
        assert replica.served != served
        assert replica.keeper.health().status is HealthStatus.OK


_WRITES = """
import asyncio, sys
from pathlib import Path
from sentinel.admission.certificates.issue import Lifetimes, issue
from sentinel.admission.certificates.keeping import FolderPlace, Kept, put_in_service
pairs = [issue(("a.b.svc",), lifetimes=Lifetimes(certificate_s=8e5, authority_s=8e6), now_s=1.79e9) for _ in range(2)]
folder = Path(sys.argv[1])
place = FolderPlace(folder / "authority")
for number in range(10**9):
    asyncio.run(place.write(pairs[number % 2], Kept(material=None)))
    put_in_service(folder, pairs[number % 2])
    if number == 1:
        print("writing", flush=True)
"""


async def test_a_kill_while_files_are_written_leaves_a_whole_pair(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    for number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITES, str(folder)], stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == b"writing\n"
            await asyncio.sleep(0.005 * number)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
            if process.stdout is not None:
                process.stdout.close()
        kept = await FolderPlace(folder / "authority").read()
        assert kept.material is not None
        cert, key = serving_files(folder)
        # OpenSSL refuses a certificate with another's key.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key)
    # What the killed ones left goes with the next write.
    put_in_service(folder, issue(("a.b.svc",), lifetimes=LIFETIMES, now_s=1.79e9))
    assert len([one for one in folder.iterdir() if one.name != "authority"]) == 2


async def test_no_review_is_lost_while_the_certificate_changes(tmp_path: Path) -> None:
    """Callers trust both authorities, as API servers do after a change; half keep their connection, half make one for each review."""
    now_s = SystemClock().now_ns() / 1e9
    pairs = [issue((HOST,), lifetimes=LIFETIMES, now_s=now_s) for _ in range(2)]
    await asyncio.to_thread(put_in_service, tmp_path, pairs[0])
    cert, key = serving_files(tmp_path)
    tls = TlsConfig(
        cert_file=FilePath(str(cert)), key_file=FilePath(str(key)), reload_interval=Duration(0.1)
    )
    trusted = ssl.create_default_context(cadata="".join(one.authorities.decode() for one in pairs))
    body = json.dumps(make_review(make_pod())).encode()
    is_over = asyncio.Event()

    async def ask(url: str, *, keeps: bool) -> int:
        count = 0
        connector = aiohttp.TCPConnector(force_close=not keeps)
        async with aiohttp.ClientSession(connector=connector) as session:
            while not is_over.is_set():
                async with session.post(
                    url, data=body, ssl=trusted, server_hostname=HOST
                ) as reply:
                    assert reply.status == 200
                    assert "patch" in response_of(await reply.read(), uid="1a2b")
                count += 1
        return count

    async with running(injector_config(tmp_path, None, authority=None, tls=tls)) as injector:
        value = injector.surroundings.metrics.value

        def taken() -> float:
            return value(
                "sentinel_tls_reloads_total", listener="admission.webhook", result="taken"
            )

        asking = [
            asyncio.create_task(ask(injector.webhook.url, keeps=number % 2 == 0))
            for number in range(4)
        ]
        try:
            for number in range(1, 6):
                await asyncio.to_thread(put_in_service, tmp_path, pairs[number % 2])
                for _ in range(200):
                    if taken() == number:
                        break
                    await asyncio.sleep(0.02)
                assert taken() == number
        finally:
            is_over.set()
            counts = await asyncio.gather(*asking)
        assert all(counts)
        assert value("sentinel_admission_reviews_total", outcome="injected") == sum(counts)


async def test_the_webhook_answers_while_the_api_server_is_away(tmp_path: Path) -> None:
    """The looks fail, once each time they are due, and are counted; reviews need nobody."""
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(api_server(tmp_path))
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        api.pods = [{**make_pod(), "status": {"phase": "Running"}}]
        async with running(injector_config(tmp_path, api)) as injector:
            metrics: Any = injector.surroundings.metrics
            for _ in range(250):
                if metrics.value("sentinel_admission_reconciles_total", result="done"):
                    break
                await asyncio.sleep(0.02)
            stack.close()
            reconciler = next(
                one for one in injector.lifecycle._components if one.name == "admission.reconcile"
            )
            for _ in range(2):
                assert not await reconciler.look()  # type: ignore[attr-defined]
            assert metrics.value("sentinel_admission_reconciles_total", result="unreachable") == 2
            assert metrics.value("sentinel_admission_pods", state="missed") == 1
            assert reconciler.health().status is HealthStatus.DEGRADED
            async with calling(injector, tmp_path) as caller:
                assert "patch" in await caller.review(make_review(make_pod()))
