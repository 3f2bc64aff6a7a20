"""Goal: an endpoint that hangs and a queue that cannot grow cost no line of a file: all are counted, others get them, and it gets them later, once.

Method: the component on real files, handing on through the real queues to receivers on loopback. The queue cannot grow because
its bound is reached, or because its disk has less room than it must leave. A kill is a copy of the folders, positions first, which
is all that the next process would find; real kills are in `test_log_files_kills.py`.
"""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import sentinel.receivers.log_files.catching_up as catching_up_module
import sentinel.receivers.log_files.following as following_module
from sentinel.core.normalise.logs.settings import Multiline
from sentinel.receivers.log_files import LogFilesConfig, LogSourceConfig
from sentinel.receivers.log_files.component import LogFiles
from sentinel.receivers.log_files.config import StartAt
from sentinel.receivers.log_files.positions import Positions
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.component import HealthStatus, Surroundings
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.intake.downstream import Downstream
from sentinel.runtime.settings import ByteSize, Duration
from sentinel.senders.otlp_forward.config import (
    EndpointConfig,
    ForwardConfig,
    ForwardQueueConfig,
)
from sentinel.senders.otlp_forward.forwarding import Forwarding
from tests.support.log_files import records_of, uid_of
from tests.support.sinks import ListSink
from tests.support.surroundings import make_surroundings
from tests.support.upstream import Upstream, http_upstream

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

NARROW = ForwardQueueConfig(
    max_bytes=ByteSize(1 << 18), memory_max_bytes=ByteSize(1 << 16), min_free_bytes=ByteSize(0)
)
FULL = ForwardQueueConfig(memory_max_bytes=ByteSize(1 << 16), min_free_bytes=ByteSize(1 << 60))
"""Of a disk that never has so much room."""


class Running:
    """What runs, and how to look at it."""

    def __init__(self, component: LogFiles, surroundings: Surroundings, sink: ListSink) -> None:
        self.component = component
        self.surroundings = surroundings
        self.sink = sink

    def metric(self, name: str, **labels: str) -> float:
        """Sum of what has these labels."""
        return sum(
            sample.value
            for metric in self.surroundings.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def dropped(self) -> float:
        """Records that `forward` gave up."""
        return self.metric("sentinel_forward_dropped_items_total")

    def behind(self, endpoint: str) -> float:
        """Bytes."""
        return self.metric("sentinel_log_files_unshipped_bytes", endpoint=endpoint)

    async def sees(self, true: Callable[[], bool], what: str) -> None:
        """Wait for it."""
        for _ in range(2000):
            if true():
                return
            await asyncio.sleep(0.02)
        msg = f"waited in vain for {what}; {self.component.health()}"
        raise AssertionError(msg)


@asynccontextmanager
async def running(
    folder: Path,
    logs: Path,
    *endpoints: EndpointConfig,
    multiline: Multiline = Multiline.NONE,
    **settings: Any,
) -> AsyncIterator[Running]:
    """The component and what hands on for it, with its state in `folder`."""
    surroundings, sink = make_surroundings(SystemClock()), ListSink()
    forwarding = Forwarding(
        ForwardConfig(endpoints=endpoints, delay=Duration(0.01), drain_timeout=Duration(0.2)),
        folder / "forward",
        surroundings,
    )
    settings.setdefault("finished_after", Duration(0.3))
    config = LogFilesConfig(
        sources=(
            LogSourceConfig(
                name="app", paths=(f"{logs}/*.log",), start=StartAt.BEGINNING, multiline=multiline
            ),
        ),
        poll=Duration(0.01),
        discover=Duration(0.05),
        joined_after=Duration(0.05),
        **settings,
    )
    component = LogFiles(
        config, str(folder / "state"), Downstream(sink=sink, tap=forwarding), surroundings
    )
    await forwarding.start()
    await component.start()
    try:
        yield Running(component, surroundings, sink)
    finally:
        await component.stop()
        await forwarding.stop()


def endpoint(name: str, upstream: Upstream, queue: ForwardQueueConfig) -> EndpointConfig:
    client = ClientConfig(connect_timeout=Duration(3.0), timeout=Duration(3.0))
    return EndpointConfig(
        name=name, url=upstream.url, retry_max=Duration(0.1), queue=queue, client=client
    )


def wide(name: str, upstream: Upstream) -> EndpointConfig:
    return endpoint(name, upstream, ForwardQueueConfig(min_free_bytes=ByteSize(0)))


def lines(begin: int, end: int) -> list[str]:
    return [f"n={number:06d} {'x' * 30}" for number in range(begin, end)]


def append(log: Path, texts: list[str]) -> None:
    with log.open("a") as file:
        file.write("".join(f"{text}\n" for text in texts))


def texts_of(upstream: Upstream) -> list[str]:
    return [
        record.body.string_value for taken in upstream.taken for record in records_of(taken.body)
    ]


def named(upstream: Upstream) -> Counter[tuple[str, str]]:
    return Counter(
        (uid_of(record), record.body.string_value)
        for taken in upstream.taken
        for record in records_of(taken.body)
    )


@pytest.mark.parametrize(
    ("queue", "is_unsaved"),
    [(NARROW, False), (FULL, False), (NARROW, True), (FULL, True)],
    ids=["bound", "disk", "bound-unsaved", "disk-unsaved"],
)
async def test_an_endpoint_that_hangs_gets_all_lines_later_and_others_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    queue: ForwardQueueConfig,
    is_unsaved: bool,  # noqa: FBT001  # a parameter of the test
) -> None:
    """Lines beyond the queue in memory were dropped, though their file had them; the disk may be too full for positions, too."""
    if is_unsaved:

        def save(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Positions, "save", save)
    logs = tmp_path / "logs"
    logs.mkdir()
    written = lines(0, 3000)
    async with http_upstream() as away, http_upstream() as other:
        away.hang = True
        ends = endpoint("away", away, queue), wide("other", other)
        async with running(tmp_path, logs, *ends) as run:
            append(logs / "app.log", written)
            await run.sees(lambda: len(texts_of(other)) == 3000, "the other's lines")
            await run.sees(lambda: run.sink.sample_count == 3000, "all to be counted")
            await run.sees(lambda: run.behind("away") > 0, "how far it is behind")
            assert run.behind("other") == 0
            assert run.component.health().status is HealthStatus.DEGRADED
            if not is_unsaved:
                assert "away has had no room for lines since" in run.component.health().sentence
            away.hang = False
            await run.sees(lambda: len(texts_of(away)) >= 3000, "the lines that waited")
            append(logs / "app.log", lines(3000, 3010))
            await run.sees(lambda: len(texts_of(away)) >= 3010, "lines as ever")
            await run.sees(lambda: run.behind("away") == 0, "nothing to wait any more")
            assert run.sink.sample_count == 3010
            assert run.dropped() == 0
        assert texts_of(other) == [*written, *lines(3000, 3010)]
        assert sorted(texts_of(away)) == sorted(texts_of(other))
        assert named(away) == named(other)


async def test_a_disk_that_refuses_everything_loses_nothing_and_a_kill_brings_what_was_on_its_way(
    tmp_path: Path,
) -> None:
    """What waited only in memory was lost by a kill."""
    logs = tmp_path / "logs"
    logs.mkdir()
    async with http_upstream() as upstream:
        upstream.down = True
        up = endpoint("up", upstream, FULL)
        async with running(tmp_path, logs, up) as run:
            append(logs / "app.log", lines(0, 3000))
            await run.sees(lambda: run.sink.sample_count == 3000, "all to be counted")
            upstream.down = False
            await run.sees(lambda: len(upstream.taken) >= 2, "some to be shipped")
            upstream.down = True
            left = tmp_path / "left"
            left.mkdir()
            shutil.copytree(tmp_path / "state", left / "state")
            shutil.copytree(tmp_path / "forward", left / "forward")
            before = len(upstream.taken)
        del upstream.taken[before:]
        last = Counter(record.body.string_value for record in records_of(upstream.taken[-1].body))
        upstream.down = False
        async with running(left, logs, up) as run:
            append(logs / "app.log", lines(3000, 3010))
            await run.sees(lambda: lines(3009, 3010)[0] in texts_of(upstream), "the rest")
            assert run.sink.sample_count == 10
        found = Counter(texts_of(upstream))
        assert sorted(found) == lines(0, 3010)
        assert {text for text, count in found.items() if count > 1} <= set(last)
        assert len(named(upstream)) == 3010


async def test_what_waits_in_memory_does_not_count_as_shipped(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    left = tmp_path / "left"
    left.mkdir()
    async with http_upstream() as upstream:
        upstream.down = True
        up = endpoint("up", upstream, FULL)
        async with running(tmp_path, logs, up) as run:
            append(logs / "app.log", lines(0, 500))
            await run.sees(
                lambda: run.metric("sentinel_forward_queue_items", place="memory") > 0, "the queue"
            )
            await asyncio.sleep(0.2)  # time in which it would be noted as shipped
            shutil.copytree(tmp_path / "state", left / "state")
        upstream.down = False
        async with running(left, logs, up) as run:
            await run.sees(lambda: len(texts_of(upstream)) >= 500, "all lines")
        assert texts_of(upstream) == lines(0, 500)


async def test_kills_while_an_endpoint_is_behind_bring_no_line_twice(tmp_path: Path) -> None:
    """Where each endpoint goes on, and what its queue has, are in two files; a kill may lie between them."""
    logs = tmp_path / "logs"
    logs.mkdir()
    async with http_upstream() as away, http_upstream() as other:
        away.down = True
        ends = endpoint("away", away, NARROW), wide("other", other)
        folder = tmp_path
        for turn in range(4):
            async with running(folder, logs, *ends) as run:
                append(logs / "app.log", lines(turn * 1000, turn * 1000 + 1000))
                await run.sees(lambda: run.sink.sample_count >= 1000, "lines to be counted")
                # Not yet stored is who is behind, or a piece was queued and not noted: whatever it is at this moment.
                await asyncio.sleep(0.03 * turn)
                left = tmp_path / f"left{turn}"
                left.mkdir()
                shutil.copytree(folder / "state", left / "state")
                shutil.copytree(folder / "forward", left / "forward")
                folder = left
                given = len(other.taken)
            del other.taken[given:]
            away.taken.clear()
        away.down = False
        async with running(folder, logs, *ends) as run:
            await run.sees(lambda: len(set(texts_of(away))) == 4000, "all lines")
            await run.sees(lambda: run.behind("away") == 0, "nothing to wait any more")
            assert run.dropped() == 0
        assert sorted(texts_of(away)) == lines(0, 4000)
        assert set(texts_of(other)) == set(lines(0, 4000))


async def test_records_of_many_lines_and_parts_are_read_again_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pieces end anywhere: in a record of many lines, between parts of a line, before lines of another stream."""
    monkeypatch.setattr(catching_up_module, "PIECE_BYTES", 7000)
    logs = tmp_path / "logs"
    logs.mkdir()
    written: list[str] = []
    for number in range(1200):
        at = f"2026-11-30T10:00:{number % 60:02d}.000000000Z"
        written += [
            f"{at} stdout P {number} begins, ",
            f"{at} stderr F ERROR {number} broke {'y' * 300}",
            f"{at} stderr F   at line one",
            f"{at} stdout F and ends",
        ]
    async with http_upstream() as away, http_upstream() as other:
        away.down = True
        ends = endpoint("away", away, NARROW), wide("other", other)
        async with running(tmp_path, logs, *ends, multiline=Multiline.INDENT) as run:
            append(logs / "app.log", written)
            await run.sees(lambda: len(texts_of(other)) == 2400, "the other's records")
            await run.sees(lambda: run.behind("away") > 0, "one to be behind")
            away.down = False
            await run.sees(lambda: len(texts_of(away)) >= 2400, "the records that waited")
            await run.sees(lambda: run.behind("away") == 0, "nothing to wait any more")
        assert "7 begins, and ends" in texts_of(away)
        assert named(away) == named(other)


async def test_rotated_and_deleted_files_are_kept_open_until_they_are_shipped(
    tmp_path: Path,
) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "app.log"
    async with http_upstream() as away:
        away.down = True
        async with running(tmp_path, logs, endpoint("away", away, NARROW)) as run:
            for begin in (0, 3000, 6000):
                append(log, lines(begin, begin + 3000))
                while run.sink.sample_count < begin + 3000:
                    await asyncio.sleep(0.01)
                log.rename(logs / "app.log.1")  # and what had this name is gone
            (logs / "app.log.1").unlink()
            await asyncio.sleep(0.8)  # longer than they are read on
            assert run.sink.sample_count == 9000
            away.down = False
            await run.sees(lambda: len(texts_of(away)) >= 9000, "all lines")
            await run.sees(
                lambda: not run.component.health().sentence.startswith("away"), "an end"
            )
            await run.sees(
                lambda: run.component.health().sentence == "Following 0 files", "none to be kept"
            )
        assert sorted(texts_of(away)) == lines(0, 9000)
        assert run.metric("sentinel_log_files_unshipped_lost_bytes_total") == 0


async def test_what_waits_in_a_truncated_file_is_shipped_from_its_copy(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "app.log"
    async with http_upstream() as away:
        away.down = True
        async with running(tmp_path, logs, endpoint("away", away, NARROW)) as run:
            append(log, lines(0, 3500))
            await run.sees(lambda: run.sink.sample_count == 3500, "lines counted")
            shutil.copyfile(log, logs / "app.log.1")
            os.truncate(log, 0)
            append(log, lines(3500, 4000))
            await run.sees(lambda: run.sink.sample_count == 4000, "lines counted")
            await asyncio.sleep(0.6)
            away.down = False
            await run.sees(lambda: len(texts_of(away)) >= 4000, "all lines")
            await run.sees(lambda: run.behind("away") == 0, "nothing to wait any more")
        assert sorted(texts_of(away)) == lines(0, 4000)
        assert run.metric("sentinel_log_files_unshipped_lost_bytes_total") == 0


async def test_what_is_gone_before_it_was_shipped_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kept open too long, and deleted while nobody had it open: by reason."""
    monkeypatch.setattr(following_module, "_LOOKS_S", 0.2)
    logs = tmp_path / "logs"
    logs.mkdir()
    log = logs / "app.log"
    lost = "sentinel_log_files_unshipped_lost_bytes_total"
    async with http_upstream() as away:
        away.down = True
        end = endpoint("away", away, NARROW)
        async with running(tmp_path, logs, end, unshipped_after=Duration(0.2)) as run:
            append(log, lines(0, 4000))
            await run.sees(lambda: run.behind("away") > 0, "one to be behind")
            await run.sees(lambda: run.sink.sample_count == 4000, "all to be counted")
            log.unlink()
            await run.sees(lambda: run.metric(lost, reason="expired") > 0, "the loss")
            await run.sees(lambda: run.behind("away") == 0, "nothing to wait any more")
            append(log, lines(4000, 7000))
            await run.sees(lambda: run.behind("away") > 0, "one to be behind again")
            await run.sees(lambda: run.sink.sample_count == 7000, "all to be counted")
            behind = run.behind("away")
        log.unlink()
        async with running(tmp_path, logs, end) as run:
            await run.sees(
                lambda: run.metric(lost, endpoint="away", reason="gone") > 0, "the loss"
            )
            assert run.metric(lost, reason="gone") <= behind


async def test_positions_of_the_format_before_are_read(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    async with http_upstream() as upstream:
        end = wide("up", upstream)
        async with running(tmp_path, logs, end) as run:
            append(logs / "app.log", lines(0, 5))
            await run.sees(lambda: len(texts_of(upstream)) == 5, "lines")
        with sqlite3.connect(tmp_path / "state" / "log_files.sqlite") as connection:
            connection.execute("ALTER TABLE files DROP COLUMN unshipped")
            connection.execute("PRAGMA user_version=2")
        connection.close()
        async with running(tmp_path, logs, end) as run:
            append(logs / "app.log", lines(5, 6))
            await run.sees(lambda: len(texts_of(upstream)) >= 6, "the next line")
        assert texts_of(upstream) == lines(0, 6)
