"""Goal: a certificate that expired, is of tomorrow or of another name keeps its own target away, is told as that, and needs no restart when it is renewed.

Method: every collector that can be told to speak TLS, in one program with one that speaks none, under a manual clock; the real servers
of NATS and PostgreSQL, and pages, get one certificate after the other, each of which is trusted but for its fault.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.settings import Duration, FilePath
from sentinel.scrapers.kong import KongTargetConfig
from sentinel.scrapers.nats.config import NatsAdvisoriesConfig, NatsConfig
from sentinel.scrapers.postgres.config import PostgresTargetConfig, TlsMode
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from tests.support.collectors import INTERVAL_S, Collectors, Page, collectors, pages, until
from tests.support.nats_servers import NatsProcess, debian_binary, nats_server
from tests.support.postgres_server import PostgresServer, postgres_server
from tests.support.tls import Identity, identities

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

PLAIN = ("scrapers.prometheus", "plain")
BEHIND_TLS = (
    ("scrapers.kong", "main"),
    ("scrapers.prometheus", "page"),
    ("scrapers.nats", "main"),
    ("scrapers.postgres", "main"),
)
ADVISORIES = ("scrapers.nats", "main-advisories")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Identity]:
    return identities(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def nats(
    tmp_path_factory: pytest.TempPathFactory, known: dict[str, Identity]
) -> Iterator[NatsProcess]:
    folder = tmp_path_factory.mktemp("nats")
    shown = Identity(folder / "shown.crt", folder / "shown.key", known["good"].authorities)
    copy(known["good"], shown)
    config = f'tls {{ cert_file: "{shown.cert}", key_file: "{shown.key}" }}\n'
    with nats_server(folder, binary=debian_binary(), config=config, monitor_tls=True) as made:
        yield made


@pytest.fixture(scope="module")
def postgres(known: dict[str, Identity]) -> Iterator[PostgresServer]:
    with postgres_server(15) as made:
        made.make_role()
        show_postgres(made, known["good"])
        made.stop()
        made.start(ssl="on")
        yield made


def copy(identity: Identity, to: Identity) -> None:
    shutil.copyfile(identity.cert, to.cert)
    shutil.copyfile(identity.key, to.key)


def show_postgres(server: PostgresServer, identity: Identity) -> None:
    for source, name in ((identity.cert, "server.crt"), (identity.key, "server.key")):
        target = server.data / name
        target.write_bytes(source.read_bytes())
        target.chmod(0o600)
        owner = server.data.stat()
        os.chown(target, owner.st_uid, owner.st_gid)


@dataclass(slots=True, kw_only=True)
class Scene:
    """What runs, and what each server shows."""

    running: Collectors
    page: Page
    nats: NatsProcess
    postgres: PostgresServer

    async def show(self, identity: Identity) -> None:
        """From now on; connections that there are end, for what they began with would be kept."""
        await self.page.close()
        self.page.tls = identity.server_context()
        await self.page.listen()
        folder = self.nats.folder
        copy(identity, Identity(folder / "shown.crt", folder / "shown.key", identity.authorities))
        await asyncio.to_thread(self.nats.stop, signal.SIGKILL)
        await asyncio.to_thread(self.nats.start)
        await asyncio.to_thread(self.postgres.stop)
        show_postgres(self.postgres, identity)
        await asyncio.to_thread(self.postgres.start)

    async def until_each(self, result: str, why: str = "") -> None:
        """Let intervals pass until each target behind TLS has ended so and says why; the plain one misses none."""
        targets = (*BEHIND_TLS, ADVISORIES)
        before = {one: self.running.ended(one, result) for one in targets}
        for _ in range(100):
            await self.running.interval(PLAIN)
            ended = all(self.running.ended(one, result) > before[one] for one in targets)
            if ended and all(why in sentence for sentence in self.sentences()):
                return
            await asyncio.sleep(0.05)
        message = f"not all of {before} ended as {result}, {why}: {self.sentences()}"
        raise AssertionError(message)

    def sentences(self) -> list[str]:
        """The health of each collector."""
        return [scraping.health().sentence for scraping in self.running.scrapings.values()]


@asynccontextmanager
async def scene_of(
    known: dict[str, Identity], nats: NatsProcess, postgres: PostgresServer
) -> AsyncIterator[Scene]:
    ca_file = FilePath(str(known["good"].authorities))
    client = ClientConfig(connect_timeout=Duration(2.0), timeout=Duration(2.0), ca_file=ca_file)
    plain, page = Page(), Page(tls=known["good"].server_context())
    async with pages(plain, page):
        config = ScrapersConfig(
            kong=(KongTargetConfig(url=page.url, interval=Duration(INTERVAL_S), client=client),),
            prometheus=(
                PrometheusTargetConfig(name="plain", url=plain.url, interval=Duration(INTERVAL_S)),
                PrometheusTargetConfig(
                    name="page", url=page.url, interval=Duration(INTERVAL_S), client=client
                ),
            ),
            nats=(
                NatsConfig(
                    urls=(nats.monitor_url,),
                    interval=Duration(INTERVAL_S),
                    client=client,
                    advisories=NatsAdvisoriesConfig(
                        urls=(f"tls://127.0.0.1:{nats.port}",),
                        ca_file=ca_file,
                        connect_timeout=Duration(2.0),
                    ),
                ),
            ),
            postgres=(
                PostgresTargetConfig(
                    port=postgres.port,
                    password_file=FilePath(str(postgres.password_file(postgres.folder))),
                    interval=Duration(INTERVAL_S),
                    tls=TlsMode.VERIFY_FULL,
                    ca_file=ca_file,
                ),
            ),
        )
        async with collectors(config) as running:
            yield Scene(running=running, page=page, nats=nats, postgres=postgres)


@pytest.mark.parametrize(
    "why",
    [
        "certificate expired",
        pytest.param("certificate not valid yet", marks=pytest.mark.full),
        pytest.param("certificate is for another name", marks=pytest.mark.full),
    ],
)
async def test_a_certificate_that_is_not_to_be_believed_is_told_as_that_and_costs_no_other_a_poll(
    known: dict[str, Identity], nats: NatsProcess, postgres: PostgresServer, why: str
) -> None:
    async with scene_of(known, nats, postgres) as scene:
        running = scene.running
        targets = (PLAIN, *BEHIND_TLS, ADVISORIES)
        await until(
            lambda: all(running.taken(one) for one in targets), what=lambda: "the first polls"
        )
        await scene.show(known[why])
        await scene.until_each("certificate", why)
        for name in ("nats", "postgres", "kong"):
            found = await running.scrapings[name].reach()
            assert all(why in one.sentence for one in found), found
        await scene.show(known["good"])
        await scene.until_each("ok")
