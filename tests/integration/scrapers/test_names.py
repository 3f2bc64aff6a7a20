"""Goal: a name that nobody answers for, that vanishes or that moves costs its own target alone, and a moved one is found by the next poll.

Method: the scrapers of one program on the program's own loop, under a manual clock; the system's look-up of names is the test's, and hangs,
fails or tells what the test says. As it hangs in fact, in a thread that cannot be ended.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.errors import UnreachableError
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.http.fetch import Fetcher
from sentinel.runtime.loop import Loop, run_to_end
from sentinel.runtime.settings import Duration
from sentinel.scrapers.kong import KongTargetConfig
from sentinel.scrapers.nats.config import NatsAdvisoriesConfig, NatsConfig
from sentinel.scrapers.postgres.config import PostgresTargetConfig, TlsMode
from sentinel.scrapers.prometheus import PrometheusTargetConfig
from tests.support.collectors import INTERVAL_S, Page, collectors, pages, until

pytestmark = pytest.mark.integration

CLIENT = ClientConfig(connect_timeout=Duration(0.3), timeout=Duration(0.3))
SILENT_COUNT = 12


@dataclass(slots=True)
class Names:
    """What names are known; those that begin with `silent` are answered for by nobody until the end."""

    addresses: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def look_up(self, host: str, port: int, *more: Any, **named: Any) -> list[Any]:
        """As `socket.getaddrinfo`."""
        self.asked.append(host)
        if host.startswith("silent"):
            self.is_over.wait(60)
        self.told.append(host)
        if host not in self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = (self.addresses[host], port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.look_up)
    yield made
    made.is_over.set()


def page_at(
    name: str, port: int, target: str, client: ClientConfig | None = None
) -> PrometheusTargetConfig:
    url = f"http://{name}:{port}/metrics"
    return PrometheusTargetConfig(
        name=target, url=url, interval=Duration(INTERVAL_S), client=client or ClientConfig()
    )


def test_names_that_nobody_answers_for_cost_no_other_a_poll(names: Names) -> None:
    """Each took one of the six threads that pages are parsed in as well, and kept it: nothing was scraped any more."""
    names.addresses["good.test"] = "127.0.0.1"
    silent = [("scrapers.prometheus", f"s{number}") for number in range(SILENT_COUNT)]
    silent += [("scrapers.nats", "main"), ("scrapers.postgres", "main")]
    well = (("scrapers.kong", "main"), ("scrapers.prometheus", "good"))

    async def scene() -> None:
        good = Page()
        async with pages(good):
            config = ScrapersConfig(
                kong=(
                    KongTargetConfig(
                        url=f"http://good.test:{good.port}/metrics", interval=Duration(INTERVAL_S)
                    ),
                ),
                prometheus=(
                    page_at("good.test", good.port, "good"),
                    *(
                        page_at(f"silent{number}.test", 1, f"s{number}", CLIENT)
                        for number in range(SILENT_COUNT)
                    ),
                ),
                nats=(
                    NatsConfig(
                        urls=("http://silent-nats.test:1",),
                        client=CLIENT,
                        advisories=NatsAdvisoriesConfig(
                            urls=("nats://silent-nats.test:2",), connect_timeout=Duration(0.3)
                        ),
                    ),
                ),
                postgres=(
                    PostgresTargetConfig(
                        host="silent-postgres.test",
                        tls=TlsMode.DISABLE,
                        connect_timeout=Duration(0.3),
                    ),
                ),
            )
            async with collectors(config) as running:
                await until(
                    lambda: all(running.taken(one) for one in well), what=lambda: "the first polls"
                )
                for _ in range(3):
                    # Each connection is new, so each has its name looked up.
                    for writer in list(good.writers):
                        writer.transport.abort()
                    await running.interval(*well)
                await until(
                    lambda: all(running.failed(one) for one in silent),
                    what=lambda: "the others to fail",
                )
                # Threads for all other work are free.
                assert await asyncio.wait_for(asyncio.to_thread(len, "free"), 10) == 4
                assert "cannot be read: main: no " in running.scrapings["nats"].health().sentence

    run_to_end(scene())
    # However often each was asked for, one thread asks for it.
    assert len([host for host in names.asked if host.startswith("silent")]) <= SILENT_COUNT + 3
    assert set(names.told) == {"good.test"}, "the end waited for nobody"


def test_a_name_that_vanishes_and_one_that_moves(names: Names) -> None:
    names.addresses |= {"moves.test": "127.0.0.1", "good.test": "127.0.0.1"}
    moves, well = ("scrapers.prometheus", "moves"), ("scrapers.kong", "main")

    async def scene() -> None:
        good, old = Page(), Page()
        async with pages(good, old):
            new = Page(port=old.port, host="127.0.0.2")
            config = ScrapersConfig(
                kong=(
                    KongTargetConfig(
                        url=f"http://good.test:{good.port}/metrics", interval=Duration(INTERVAL_S)
                    ),
                ),
                prometheus=(page_at("moves.test", old.port, "moves"),),
            )
            async with collectors(config) as running:
                await until(
                    lambda: running.taken(moves) == running.taken(well) == 1,
                    what=lambda: "the first polls",
                )
                await running.interval(moves, well)
                await old.close()
                del names.addresses["moves.test"]
                await running.goes_wrong(moves, well)
                assert running.ended(moves, "unreachable") == running.failed(moves)
                sentence = running.scrapings["prometheus"].health().sentence
                assert "the name is not known at moves.test" in sentence
                async with pages(new):
                    names.addresses["moves.test"] = "127.0.0.2"
                    # Found by the very next poll, though it moved while connections were kept.
                    await running.interval(moves, well)
                    await old.listen()
                    names.addresses["moves.test"] = "127.0.0.1"
                    await new.close()
                    await running.interval(moves, well)

    run_to_end(scene())


def test_more_names_than_may_be_looked_up_are_an_error_that_goes_away(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentinel.runtime.loop._LOOKUPS_MAX", 2)
    names.addresses["good.test"] = "127.0.0.1"

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Loop)
        waiting = [
            asyncio.create_task(loop.getaddrinfo(f"silent{number % 2}", 1)) for number in range(4)
        ]
        await asyncio.sleep(0)
        fetcher = Fetcher(CLIENT, "http://good.test:1/")
        with pytest.raises(UnreachableError):
            await fetcher.get("http://good.test:1/")
        names.is_over.set()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(one, socket.gaierror) for one in ended)
        assert names.asked == ["silent0", "silent1"]
        (found,) = await loop.getaddrinfo("good.test", 7)
        assert found[4] == ("127.0.0.1", 7)
        await fetcher.close()

    run_to_end(scene())


def test_a_name_that_no_thread_was_to_be_had_for_is_looked_up_later(
    names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for it afterwards waited for an answer that nobody was to give, for as long as the process lived."""
    names.addresses["good.test"] = "127.0.0.1"
    scarce = True
    start = threading.Thread.start

    def start_or_not(thread: threading.Thread) -> None:
        if scarce and thread.name == "name":
            msg = "can't start new thread"
            raise RuntimeError(msg)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_not)

    async def scene() -> None:
        nonlocal scarce
        loop = asyncio.get_running_loop()
        with pytest.raises(socket.gaierror, match="can't start new thread"):
            await loop.getaddrinfo("good.test", 7)
        scarce = False
        ((*_, address),) = await asyncio.wait_for(loop.getaddrinfo("good.test", 7), 10.0)
        assert address == ("127.0.0.1", 7)

    run_to_end(scene())


def test_the_end_waits_for_no_name(names: Names) -> None:
    async def scene() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo("silent", 1), 0.05)

    run_to_end(scene())
    assert names.asked == ["silent"]
    assert names.told == []
