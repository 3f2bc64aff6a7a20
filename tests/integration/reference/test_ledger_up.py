"""Goal: `sentinel-ledger up` runs the whole ledger, tells all of it over OTLP, and leaves nothing behind.

Method: the command as a person runs it, exporting to a collector inside the test; its processes are
recognised by an environment variable they inherit. One run serves the tests that do not end it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from sentinel.reference.ledger.operate.folders import temporary_folder
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig
from tests.support.ledger_run import (
    Up,
    end_up,
    eventually,
    ledger,
    left_behind,
    start_up,
)
from tests.support.otlp_collector import CollectedSpan, OtlpCollector

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    collector = OtlpCollector()
    await collector.start()
    running = await start_up(tmp_path_factory.mktemp("up"), collector)
    try:
        yield running
    finally:
        await end_up(running)
        await collector.stop()


async def test_one_trace_follows_a_transfer_from_the_request_to_the_commit(up: Up) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    async with up.http.post(
        "/v1/transfers",
        json={
            "debit_account": "external:bank",
            "credit_account": "traced",
            "amount_minor": 5,
            "currency": "EUR",
        },
        headers={
            "X-Tenant": "shop",
            "Idempotency-Key": "traced",
            "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
        },
    ) as response:
        assert response.status == 202

    def spans() -> dict[str, CollectedSpan]:
        return {span.name: span for span in up.collector.spans if span.trace_id == trace_id}

    found = await eventually("four spans", spans, lambda seen: len(seen) == 4)
    server = found["POST /v1/transfers"]
    producer = found["publish ledger.transfers"]
    consumer = found["process ledger.transfers"]
    commit = found["COMMIT transactions"]
    assert [span.kind for span in (server, producer, consumer, commit)] == [
        SERVER,
        PRODUCER,
        CONSUMER,
        CLIENT,
    ]
    (batch_id,) = consumer.link_ids
    (batch,) = await eventually(
        "the batch",
        lambda: [span for span in up.collector.spans if span.span_id == batch_id],
        bool,
    )
    assert (batch.name, batch.kind) == ("batch ledger.transfers", INTERNAL)
    assert server.parent_id == "00f067aa0ba902b7"
    assert producer.parent_id == server.span_id
    assert consumer.parent_id == producer.span_id
    assert commit.parent_id == consumer.span_id
    assert producer.span_id in batch.link_ids
    assert batch.parent_id == ""
    assert len(batch.link_ids) == batch.attributes["messaging.batch.message_count"]
    assert {server.service, producer.service} == {"ledger-edge"}
    assert {consumer.service, batch.service, commit.service} == {"ledger-poster"}
    assert server.attributes["http.route"] == "/v1/transfers"
    assert server.attributes["http.response.status_code"] == 202
    assert producer.attributes["messaging.operation.type"] == "send"
    assert consumer.attributes["messaging.destination.name"] == "ledger.transfers"
    assert consumer.attributes["ledger.transfer.outcome"] == "posted"
    assert commit.attributes["db.system.name"] == "postgresql"
    assert commit.attributes["db.namespace"] == "ledger|ledger"
    # The same place in the database's log on all three, beyond what any empty database has written.
    lsns = {one.attributes["ledger.commit.lsn"] for one in (consumer, batch, commit)}
    assert len(lsns) == 1
    high, _, low = lsns.pop().partition("/")
    assert (int(high, 16) << 32) + int(low, 16) > 2**20
    assert not any(span.is_error for span in (*found.values(), batch))


async def test_reads_are_traced_with_their_query(up: Up) -> None:
    await up.posted("read-me")
    assert (await up.read("/v1/accounts/alice/balance"))[0] == 200
    names = {"GET /v1/accounts/{id}/balance", "SELECT accounts", "SELECT transactions"}
    await eventually(
        "spans of the reads",
        lambda: {span.name for span in up.collector.spans},
        lambda seen: names <= seen,
    )


async def test_the_metrics_are_there(up: Up) -> None:
    await up.posted("measured")
    await up.transfer("measured")
    wanted = {
        ("ledger-edge", "http.server.request.duration"),
        ("ledger-edge", "db.client.operation.duration"),
        ("ledger-edge", "db.client.connection.count"),
        ("ledger-poster", "ledger.transfer.age"),
        ("ledger-poster", "ledger.transfers.posted"),
        ("ledger-poster", "ledger.consumer.pending"),
        ("ledger-poster", "ledger.consumer.ack_pending"),
        ("ledger-poster", "db.client.operation.duration"),
        ("ledger-audit", "ledger.audit.entries"),
        ("ledger-audit", "ledger.audit.lag"),
        ("ledger-audit", "ledger.audit.slot.lag"),
        ("ledger-audit", "ledger.audit.unwitnessed"),
        ("ledger-witness", "ledger.witness.answers"),
    }
    await eventually("metrics", lambda: up.collector.metrics, lambda seen: wanted <= seen)


async def test_what_was_posted_is_in_a_trail_that_is_whole(up: Up) -> None:
    await up.posted("recorded")
    code, (report,) = await up.command("audit", "verify", "-o", "json")
    assert (code, report["findings"], report["unrecorded_count"]) == (0, [], 0)
    assert report["rows_count"] >= 3


async def test_a_lock_shows_in_spans_and_logs_and_its_record_says_when(
    up: Up, tmp_path: Path
) -> None:
    await up.posted("before-the-lock")
    record_file = tmp_path / "truth.ndjson"
    async with up.broken(record_file, "lock", "--seconds", "6") as fault:
        assert (await up.transfer("locked"))[0] == 202
        # The lock comes to the replica a moment later.
        await eventually(
            "a read that fails",
            lambda: up.read("/v1/accounts/alice/balance"),
            lambda answer: answer[0] == 503,
        )
        await fault.over()
    start, end = fault.record
    assert [json.loads(line) for line in record_file.read_text().splitlines()] == [start, end]
    assert (start["event"], end["event"]) == ("fault_start", "fault_end")
    assert start["end_ns"] is None
    assert start["start_ns"] < end["end_ns"]
    assert {one["route"] for one in end["expected"]} >= {"COMMIT transactions", "SELECT accounts"}
    await up.posted("locked")  # the same key: it was accepted once and is posted once
    failed = await eventually(
        "failed commits",
        lambda: [
            span
            for span in up.collector.spans
            if span.name == "COMMIT transactions" and span.is_error
        ],
        bool,
    )
    assert failed[0].attributes["db.response.status_code"] == "55P03"
    lines = await eventually(
        "the log line",
        lambda: [line for line in up.collector.logs if line.event == "posting.batch_failed"],
        bool,
    )
    assert lines[0].body == "Posting a batch failed: canceling statement due to lock timeout"
    assert lines[0].trace_id in {span.trace_id for span in up.collector.spans}


async def test_a_stall_holds_postings_back_until_it_is_lifted(up: Up, tmp_path: Path) -> None:
    record_file = tmp_path / "truth.ndjson"
    async with up.broken(record_file, "stall", "--seconds", "60") as fault:
        poster = psutil.Process(up.ready["pids"]["poster"])
        await eventually(
            "a stopped poster", poster.status, lambda seen: seen == psutil.STATUS_STOPPED
        )
        status, accepted = await up.transfer("stalled")
        assert status == 202
        assert (await up.read(accepted["status_url"]))[1]["state"] == "pending"
    assert fault.record[-1]["event"] == "fault_end"
    await up.posted("stalled")


async def test_a_stall_whose_command_was_killed_is_lifted_by_the_next_one(
    up: Up, tmp_path: Path
) -> None:
    record_file = tmp_path / "truth.ndjson"
    async with up.broken(record_file, "stall", "--seconds", "60") as fault:
        fault.process.kill()
        await fault.over()
        poster = psutil.Process(up.ready["pids"]["poster"])
        assert poster.status() == psutil.STATUS_STOPPED
        code, told = await up.command("fault", "start", "errors", "--seconds", "0.1")
        assert code == 0
        assert [(one["event"], one["fault"]) for one in told] == [
            ("fault_end", "stall"),
            ("fault_start", "errors"),
            ("fault_end", "errors"),
        ]
    # Whose record it was has the end, too.
    start, end = [json.loads(line) for line in record_file.read_text().splitlines()]
    assert end["killed"]
    assert start["start_ns"] == end["start_ns"] < end["last_held_ns"] < end["end_ns"]
    await up.posted("after-the-kill")


async def test_an_error_burst_fails_writes_and_ends(up: Up, tmp_path: Path) -> None:
    record_file = tmp_path / "truth.ndjson"
    await up.posted("before-the-burst")  # whichever test comes first, the account is there
    keys = iter(range(10_000))
    async with up.broken(record_file, "errors", "--seconds", "60", "--ratio", "1") as fault:
        await eventually(
            "a failed write",
            lambda: up.transfer(f"burst-{next(keys)}"),
            lambda answer: answer[0] == 500,
        )
        assert (await up.read("/v1/accounts/alice/balance"))[0] == 200
    assert fault.record[-1]["parameters"]["error_ratio"] == 1.0
    await eventually(
        "writes work again",
        lambda: up.transfer(f"burst-{next(keys)}"),
        lambda answer: answer[0] == 202,
    )


async def test_load_reports_what_it_measured(up: Up) -> None:
    code, lines = await up.command("load", "--rate", "60", "--seconds", "3", "--accounts", "5")
    assert code == 0
    summary = lines[-1]
    assert summary["event"] == "load_done"
    assert summary["sent_count"] == sum(summary["status_counts"].values())
    assert summary["shed_count"] == 0
    # On a busy machine the edge may say that it is: what is held here is that the report tells what came.
    assert set(summary["status_counts"]) <= {"200", "202", "404", "503"}
    assert summary["accept_latency_s"]["count"] == summary["status_counts"]["202"]
    assert summary["accept_to_commit_s"]["count"] > 0
    assert 0 < summary["accept_latency_s"]["p50"] <= summary["accept_latency_s"]["p99"]


async def test_a_killed_poster_is_started_again(up: Up) -> None:
    before = json.loads(up.state_file.read_text())["pids"]["poster"]
    os.kill(before, signal.SIGKILL)
    status, accepted = await up.transfer("while-it-is-away")
    assert status == 202
    await eventually(
        "posted by the next poster",
        lambda: up.read(accepted["status_url"]),
        lambda answer: answer[1].get("state") == "posted",
    )
    await eventually(
        "the new process in the state file",
        lambda: json.loads(up.state_file.read_text())["pids"]["poster"],
        lambda pid: pid != before,
    )
    up.ready["pids"]["poster"] = json.loads(up.state_file.read_text())["pids"]["poster"]


async def test_a_killed_replica_is_started_again_and_nobody_goes_without_an_answer(up: Up) -> None:
    await up.posted("before-the-replica-died")
    seen = json.loads(up.state_file.read_text())
    before = seen["pids"]["replica"]
    url = Path(seen["replica_url_file"]).read_text()
    os.kill(before, signal.SIGKILL)
    for _ in range(20):
        assert (await up.read("/v1/accounts/alice/balance"))[0] == 200
    await eventually(
        "the new process in the state file",
        lambda: json.loads(up.state_file.read_text())["pids"]["replica"],
        lambda pid: pid != before,
    )
    assert Path(seen["replica_url_file"]).read_text() == url
    await up.posted("after-the-replica-died")
    async with postgres.session(PostgresConfig(url=url), application_name="test") as replica:
        count = "select count(*) from ledger.transactions where idempotency_key = $1"

        async def known() -> int:
            return int(await replica.fetchval(count, "after-the-replica-died"))

        await eventually("it follows again", known, lambda found: found == 1)


async def test_load_on_nothing_says_so() -> None:
    process = await ledger(
        "load", "--url", "http://127.0.0.1:9", "--rate", "20", "--seconds", "0.5", mark="none"
    )
    output, _ = await process.communicate()
    assert process.returncode == 3
    assert json.loads(output)["sent_count"] > 0


async def test_processes_without_their_servers_give_up_and_say_so() -> None:
    """The NATS client would try to connect for ever, deaf to SIGTERM; the start has a limit."""

    async def exit_code(*role: str) -> int | None:
        process = await ledger(
            *role,
            "--nats-url",
            "nats://127.0.0.1:9",
            mark="none",
            LEDGER_POSTGRES_URL="postgresql://u:p@127.0.0.1:9/d",
        )
        await process.communicate()
        return process.returncode

    codes = tuple(
        await asyncio.gather(exit_code("edge", "--insecure-tenant-header"), exit_code("poster"))
    )
    assert codes == (3, 3)


async def test_an_edge_whose_port_is_taken_says_so(up: Up) -> None:
    """It once ended with a traceback."""
    port = up.ready["edge_url"].rpartition(":")[2]
    servers = (
        *("--nats-url", up.ready["nats_url"]),
        *("--postgres-url-file", up.ready["postgres_url_file"]),
        "--insecure-tenant-header",
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sentinel.reference.ledger", "edge", "--port", port),
        *servers,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, complaint = await process.communicate()
    assert (process.returncode, output) == (3, b"")
    [told] = [line for line in complaint.decode().splitlines() if not line.startswith("{")]
    assert told.startswith(f"sentinel-ledger: cannot listen on 127.0.0.1:{port}: ")


async def test_sigterm_stops_everything_and_removes_its_files(tmp_path: Path) -> None:
    collector = OtlpCollector()
    await collector.start()
    try:
        running = await start_up(tmp_path, collector)
        folder = Path(running.ready["burst_file"]).parent
        assert running.state_file.stat().st_mode & 0o777 == 0o600
        await running.posted("k")
        assert await end_up(running) == 0
        assert left_behind(running.mark) == []
        assert not folder.exists()
        assert not running.state_file.exists()
    finally:
        await collector.stop()


async def test_nothing_outlives_a_killed_parent_not_even_a_stalled_poster(tmp_path: Path) -> None:
    collector = OtlpCollector()
    await collector.start()
    try:
        running = await start_up(tmp_path, collector)
        os.kill(running.ready["pids"]["poster"], signal.SIGSTOP)
        running.process.kill()
        await running.process.wait()
        await running.listener
        await running.http.close()
        await eventually("nothing left", lambda: left_behind(running.mark), lambda seen: not seen)
        # Its folder nobody was left to remove; the next run does, and leaves those of others alone.
        folder = Path(running.ready["burst_file"]).parent
        assert folder.exists()

        def swept() -> bool:
            with temporary_folder():
                return not folder.exists()

        # Again, for a server's last process may still write while it is removed.
        await eventually("it is removed", swept, bool)
        with temporary_folder() as mine, temporary_folder():
            assert mine.exists()
        assert not mine.exists()
    finally:
        await collector.stop()


async def test_a_folder_that_is_kept_keeps_the_books(tmp_path: Path) -> None:
    collector = OtlpCollector()
    await collector.start()
    try:
        # pytest's own folder is closed to the user PostgreSQL runs as.
        with temporary_folder() as folder:
            for round_count in (1, 2):
                running = await start_up(tmp_path, collector, "--dir", str(folder))
                await running.posted(f"round-{round_count}")
                _, balance = await running.read("/v1/accounts/alice/balance")
                assert balance["balance_minor"] == 5 * round_count
                # With the keys and the witness's memory of the first round.
                code, (report,) = await running.command("audit", "verify", "-o", "json")
                assert (code, report["findings"]) == (0, [])
                assert await end_up(running) == 0
    finally:
        await collector.stop()
