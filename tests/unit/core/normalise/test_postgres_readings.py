"""Goal: rows become the levels, rates and shares that they mean, over resets, evictions and servers that begin anew.

Method: rows as the queries of `sentinel.scrapers.postgres` give them, two answers ten seconds apart, values compared.
"""

from __future__ import annotations

from typing import Any

import pytest

from sentinel.core.model import Kind, Temporality, kind_of_signal
from sentinel.core.normalise.postgres import PostgresReader, Reading, batch_of, refused
from sentinel.core.normalise.postgres.chosen import Chosen
from sentinel.core.normalise.postgres.gains import Gains
from sentinel.core.normalise.postgres.shapes import SHAPES
from sentinel.scrapers.postgres.queries import queries

START_NS = 1_790_000_000_000_000_000
TEN_S = 10 * 10**9
PAN = "4111111111111111"


def reader(**more: Any) -> PostgresReader:
    return PostgresReader(**{"statement_count": 2, "table_count": 2, **more})


def levels(reading: Reading) -> dict[tuple[str, str], float]:
    return {(one.route, one.signal): one.value for one in reading.levels}


def database(name: str = "app", **columns: float) -> dict[str, object]:
    counted = dict.fromkeys(
        (
            *("xact_commit", "xact_rollback", "blks_hit", "blks_read", "rows_read"),
            *("rows_written", "conflicts", "temp_files", "temp_bytes", "deadlocks"),
            *("checksum_failures_count", "blk_read_ms", "blk_write_ms", "active_ms"),
            *("idle_in_transaction_ms", "sessions_lost", "backends_count", "since"),
        ),
        0.0,
    )
    return {"datname": name, **counted, **columns}


def after(
    first: dict[str, object],
    second: dict[str, object],
    *,
    own: tuple[int, int] = (0, 0),
    **more: Any,
) -> Reading:
    """What a database came to by its second answer; `own` is what we did between the two."""
    made = reader(**more)
    begun = made.read_databases([first], now_ns=START_NS, own={"app": (100, 0)})
    assert begun.transactions == ()
    return made.read_databases(
        [second], now_ns=START_NS + TEN_S, own={"app": (100 + own[0], own[1])}
    )


def test_every_question_has_a_meaning() -> None:
    special = {"connections", "databases", "replication", "slots", "statements", "tables"}
    asked = {one.subject for one in queries(statement_count=1, table_count=1)}
    assert asked == special | SHAPES.keys()


def test_transactions_are_traffic_and_rolled_back_ones_errors_without_our_own() -> None:
    first = database(xact_commit=5000, xact_rollback=10)
    second = database(xact_commit=5230, xact_rollback=23)
    (told,) = after(first, second, own=(30, 3)).transactions
    assert (told.route, told.succeeded, told.failed) == ("app", 200, 10)
    assert told.start_ns == START_NS


def test_an_idle_database_has_no_traffic_though_it_is_watched() -> None:
    """Its own questions were two transactions a second, and a database that had stopped was never seen to."""
    (told,) = after(
        database(xact_commit=5000), database(xact_commit=5025), own=(25, 0)
    ).transactions
    assert (told.succeeded, told.failed) == (0, 0)


def test_rollbacks_that_are_the_habit_of_clients_are_no_errors() -> None:
    """Clients that end every read by rolling back had half of the database's calls fail, and paged from the first minute."""
    first = database(xact_commit=6000, xact_rollback=5000)
    second = database(xact_commit=6100, xact_rollback=5100)
    reading = after(first, second)
    (told,) = reading.transactions
    assert (told.succeeded, told.failed) == (200, 0)
    assert levels(reading)["app", "rollback_ratio"] == pytest.approx(0.5)
    (asked,) = after(first, second, rollbacks_are_errors=True).transactions
    assert (asked.succeeded, asked.failed) == (100, 100)


def test_an_outburst_of_rollbacks_on_a_new_database_is_errors() -> None:
    (told,) = after(
        database(xact_commit=300), database(xact_commit=300, xact_rollback=500)
    ).transactions
    assert (told.succeeded, told.failed) == (0, 500)


def test_counters_that_began_anew_gain_what_they_show() -> None:
    reset = after(
        database(xact_commit=5000, temp_bytes=9000, since=1.0),
        database(xact_commit=70, temp_bytes=500, since=2.0),
    )
    assert reset.transactions[0].succeeded == 70
    assert levels(reset)["app", "temp_bytes_per_s"] == 50.0
    grown = after(database(temp_bytes=100, since=1.0), database(temp_bytes=500, since=2.0))
    assert levels(grown)["app", "temp_bytes_per_s"] == 50.0


def test_ratios_of_time_and_of_hits() -> None:
    found = levels(
        after(
            database(blks_hit=100, blks_read=100, active_ms=0, deadlocks=3),
            database(blks_hit=190, blks_read=110, active_ms=5000, deadlocks=4),
        )
    )
    assert found["app", "cache_hit_ratio"] == pytest.approx(0.9)
    assert found["app", "active_time_ratio"] == pytest.approx(0.5)
    assert found["app", "deadlocks_per_s"] == pytest.approx(0.1)
    assert ("app", "parallel_workers_got_ratio") not in found


def test_no_hit_ratio_where_nothing_was_read() -> None:
    assert ("app", "cache_hit_ratio") not in levels(after(database(), database()))


def test_a_role_at_its_limit_is_not_a_full_server() -> None:
    rows = [
        {"kind": "server", "name": "", "used": 45, "room": 97},
        {"kind": "role", "name": "app", "used": 20, "room": 20},
        {"kind": "database", "name": "shop", "used": 5, "room": 10},
    ]
    found = levels(reader().read("connections", rows, now_ns=START_NS))
    assert found["connections", "connections_used_ratio"] == pytest.approx(45 / 97)
    assert found["connections", "clients_refused_count"] == 0.0
    assert found["role app", "role_connections_used_ratio"] == 1.0
    assert found["shop", "database_connections_used_ratio"] == 0.5
    assert levels(refused()) == {("connections", "clients_refused_count"): 1.0}


def test_slots_at_risk_and_those_that_nobody_reads() -> None:
    def slot(name: str, active: int, status: str, kept: float | None) -> dict[str, object]:
        return {
            "name": name,
            "slot_active_count": active,
            "wal_status": status,
            "slot_retained_bytes": kept,
            "slot_safe_bytes": None,
        }

    rows = [
        slot("a", 1, "reserved", 900.0),
        slot("b", 0, "extended", 500.0),
        slot("c", 0, "lost", None),
    ]
    found = levels(reader().read("slots", rows, now_ns=START_NS))
    assert found["slots", "slots_at_risk_count"] == 1.0
    assert found["slots", "slots_inactive_count"] == 2.0
    assert found["slots", "inactive_slot_retained_bytes"] == 500.0
    assert found["slot a", "slot_retained_bytes"] == 900.0
    assert ("slot c", "slot_retained_bytes") not in found
    none = levels(reader().read("slots", [], now_ns=START_NS))
    assert none["slots", "slots_at_risk_count"] == none["slots", "slots_count"] == 0.0


def test_of_replicas_with_one_name_the_one_that_lags_most() -> None:
    rows = [
        {"name": "walreceiver", "replica_lag_bytes": 10.0, "replica_lag_s": 0.1},
        {"name": "walreceiver", "replica_lag_bytes": 70.0, "replica_lag_s": 0.7},
    ]
    found = levels(reader().read("replication", rows, now_ns=START_NS))
    assert found["replica walreceiver", "replica_lag_bytes"] == 70.0
    assert found["replication", "replicas_lag_max_s"] == 0.7
    assert found["replication", "replicas_count"] == 2.0


def test_lock_modes_that_nobody_holds_are_zero() -> None:
    rows = [{"mode": "ExclusiveLock", "locks_held_count": 2, "locks_waited_count": 1}]
    found = levels(reader().read("locks", rows, now_ns=START_NS))
    assert found["locks ExclusiveLock", "locks_waited_count"] == 1.0
    assert found["locks AccessExclusiveLock", "locks_held_count"] == 0.0
    assert len(found) == 16


def test_checkpoints_of_both_forms() -> None:
    """Before 17 the background writer counted buffers that backends wrote; nobody does now."""
    old = {
        "checkpoints_timed": 1,
        "checkpoints_requested": 1,
        "backend_buffers": 5,
        "checkpoint_write_ms": 0.0,
        "since": 1.0,
    }
    made = reader()
    made.read("checkpoints", [old], now_ns=START_NS)
    new = {**old, "checkpoints_requested": 3, "backend_buffers": 25, "checkpoint_write_ms": 2000.0}
    found = levels(made.read("checkpoints", [new], now_ns=START_NS + TEN_S))
    assert found["checkpoints", "checkpoints_requested_per_s"] == pytest.approx(0.2)
    assert found["checkpoints", "backend_buffers_per_s"] == pytest.approx(2.0)
    assert found["checkpoints", "checkpoint_write_time_ratio"] == pytest.approx(0.2)
    made = reader()
    for at, row in enumerate((old, new)):
        del row["backend_buffers"]
        found = levels(made.read("checkpoints", [row], now_ns=START_NS + at * TEN_S))
    assert ("checkpoints", "backend_buffers_per_s") not in found
    assert ("checkpoints", "checkpoints_timed_per_s") in found


def test_what_is_hidden_from_the_role_is_said() -> None:
    reading = reader().read("activity", [{"hidden": True}], now_ns=START_NS)
    assert reading.missing == "only sessions of its own role are seen"


def statement(queryid: int | None, calls: int, ms: float, **more: object) -> dict[str, object]:
    return {
        "datname": "app",
        "queryid": queryid,
        "calls": calls,
        "exec_ms": ms,
        "rows": calls,
        "temp_blocks": 0,
        "block_read_ms": 0.0,
        "all_calls": 100.0,
        "all_exec_ms": 1000.0,
        "own_ms": 1.0,
        "statements_kept_ratio": 0.1,
        "evicted": 0,
        "since": 1.0,
        **more,
    }


def read_statements(
    made: PostgresReader, rows: list[dict[str, object]], texts: dict[int, str], at: int
) -> dict[tuple[str, str], float]:
    now_ns = START_NS + at * 6 * TEN_S
    unknown = made.choose_statements(rows, now_ns=now_ns)
    if unknown:
        made.statements.learn(
            [{"queryid": one, "query": texts[one]} for one in unknown if one in texts]
        )
    return levels(made.read("statements", rows, now_ns=now_ns))


def test_statements_are_named_by_their_text_without_literals_and_looked_up_by_their_id() -> None:
    made = reader()
    texts = {-42: f"ALTER ROLE x PASSWORD '{PAN}' /* {PAN} */", 7: "SELECT 1"}
    read_statements(made, [statement(-42, 1, 10.0), statement(7, 1, 1.0)], texts, 0)
    found = read_statements(made, [statement(-42, 61, 310.0), statement(7, 1, 1.0)], {}, 1)
    name = f"app alter role x password ? #{(-42) % 2**64:x}"
    assert found[name, "calls_per_s"] == pytest.approx(1.0)
    assert found[name, "mean_time_s"] == pytest.approx(0.005)
    assert found[name, "exec_time_ratio"] == pytest.approx(0.005)
    assert ("app select ? #7", "mean_time_s") not in found
    assert not any(PAN in route for route, _ in found)


def test_an_evicted_statement_begins_anew() -> None:
    made = reader()
    texts = {7: "SELECT 1"}
    read_statements(made, [statement(7, 5000, 9000.0)], texts, 0)
    found = read_statements(made, [statement(7, 6, 12.0)], {}, 1)
    assert found["app select ? #7", "calls_per_s"] == pytest.approx(0.1)
    assert found["app select ? #7", "mean_time_s"] == pytest.approx(0.002)


def test_those_that_take_the_time_now_have_series_and_keep_them_for_an_hour() -> None:
    made = reader()
    texts = {one: f"select {'a' * one} from t" for one in range(1, 9)}

    def rows(busy: tuple[int, ...], at: int) -> list[dict[str, object]]:
        return [
            statement(one, 10, 1000.0 / one + (at * 50.0 if one in busy else 0.0))
            for one in range(1, 9)
        ]

    def shown(found: dict[tuple[str, str], float]) -> set[str]:
        return {route.rpartition("#")[2] for route, _ in found if "#" in route}

    assert shown(read_statements(made, rows((), 0), texts, 0)) == set()
    assert shown(read_statements(made, rows((7, 8), 1), texts, 1)) == {"1", "2", "7", "8"}
    assert shown(read_statements(made, rows((7, 8), 2), texts, 2)) == {"1", "2", "7", "8"}
    assert shown(read_statements(made, rows((7, 8), 99), texts, 99)) == {"7", "8"}


def test_texts_that_could_not_be_read_have_no_series_yet() -> None:
    """A series begun without its text would have had another name once the text was there."""
    made = reader()
    made.choose_statements([statement(7, 1, 1.0)], now_ns=START_NS)
    made.read("statements", [], now_ns=START_NS)
    made.choose_statements([statement(7, 9, 9.0)], now_ns=START_NS + TEN_S)
    assert not any("#" in one.route for one in made.read("statements", [], now_ns=1).levels)
    assert made.statements.unknown == (7,)


def test_hidden_statements_are_said_to_be() -> None:
    made = reader()
    made.choose_statements([statement(None, 1, 1.0)], now_ns=START_NS)
    assert made.read("statements", [], now_ns=START_NS).missing


def test_names_from_the_server_are_redacted_and_cut() -> None:
    rows = [{"kind": "role", "name": f"u {PAN}\n" + "x" * 500, "used": 1, "room": 2}]
    ((route, _),) = levels(reader().read("connections", rows, now_ns=START_NS))
    assert PAN not in route
    assert "\n" not in route
    assert len(route) <= 160


def test_a_batch_names_its_service_and_counts_calls_once() -> None:
    reading = after(database(xact_commit=0), database(xact_commit=50, xact_rollback=5))
    batch = batch_of([reading], reading.transactions, service="pg", now_ns=START_NS + TEN_S)
    assert batch.services == frozenset({"pg"})
    good, bad = batch.distributions
    assert (int(good.count[0]), good.error) == (50, False)
    assert (int(bad.count[0]), bad.error) == (5, True)
    assert good.is_calls
    assert good.temporality is Temporality.DELTA
    assert {kind_of_signal(one.signal) for one in batch.numbers} == {Kind.GAUGE}
    assert batch_of([], (), service="pg", now_ns=1).services == frozenset({"pg"})


def test_gains_have_a_bound_and_forget_what_is_not_shown() -> None:
    gains = Gains(count_max=2)
    for name in ("a", "b", "c"):
        gains.of((name,), 1.0, now_ns=START_NS)
    assert len(gains) == 2
    assert gains.of(("c",), 2.0, now_ns=START_NS + 1) is None
    later_ns = START_NS + 3 * 3600 * 10**9
    assert gains.of(("a",), 2.0, now_ns=later_ns) is None
    assert len(gains) == 1
    assert gains.of(("a",), 5.0, now_ns=later_ns - TEN_S) is None, "the clock was put back"
    gain = gains.of(("a",), 7.0, now_ns=later_ns)
    assert gain is not None
    assert gain.per_s == pytest.approx(0.2)


def test_names_are_chosen_for_an_hour_and_bounded() -> None:
    chosen = Chosen(2)
    assert chosen.of(["a", "b", "c"], now_ns=0) == {"a", "b"}
    assert chosen.of(["c", "d"], now_ns=1) == {"a", "b", "c", "d"}
    assert chosen.of(["e", "c"], now_ns=2) == {"b", "c", "d", "e"}
    assert len(chosen.of(["f", "g"], now_ns=4)) == 4
    assert chosen.of([], now_ns=4000 * 10**9) == frozenset()
