"""Goal: what cannot work is refused with its reason; each version of the server has its own words; TLS is never less than asked.

Method: configurations that are one step wrong; the table of queries looked at for each version.
"""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sentinel.app.config import ScrapersConfig
from sentinel.core.incidents import GAUGE_GUARDS
from sentinel.core.model import SeriesKey
from sentinel.core.model.known_gauges import KNOWN_GAUGES, known_gauge
from sentinel.core.normalise.postgres import STAGE
from sentinel.core.normalise.postgres.shapes import (
    DATABASE,
    REPLICA,
    SHAPES,
    SLOT,
    STATEMENT,
    STATEMENTS,
    TABLE,
)
from sentinel.errors import ConfigError
from sentinel.runtime.settings import Duration, FilePath, Ratio
from sentinel.scrapers.postgres.config import (
    SUBJECTS,
    PostgresTargetConfig,
    Rollbacks,
    TlsMode,
)
from sentinel.scrapers.postgres.queries import AskedOf, Lack, queries, quoted
from sentinel.scrapers.postgres.session import tls_context

ALL = queries(statement_count=20, table_count=20)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "Main DB"}, "a target's name"),
        ({"user": ""}, "must not be empty"),
        ({"port": 0}, "port must be"),
        ({"databases": ("postgres",)}, "different names"),
        ({"databases": tuple(f"d{at}" for at in range(20))}, "at most 20"),
        ({"interval": Duration(0.1)}, "interval must be"),
        ({"timeout": Duration(11.0)}, "nor that above interval"),
        ({"statement_timeout": Duration(9.0)}, "nor that above timeout"),
        ({"lock_timeout": Duration(0.0)}, "lock_timeout must be"),
        ({"cost_ratio_max": Ratio(0.5)}, "cost_ratio_max"),
        ({"statement_count": 0}, "between 1 and 200"),
        ({"cert_file": FilePath("/a")}, "belong together"),
        ({"ca_file": FilePath("/a")}, "need tls"),
        ({"leave_out": ("stats",)}, "knows no 'stats'"),
    ],
)
def test_what_cannot_work_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PostgresTargetConfig(**wrong)


@pytest.mark.parametrize("about", ["name", "service"])
def test_two_servers_need_names_and_services_of_their_own(about: str) -> None:
    """Of two servers with one service each gauge would be the mean of both."""
    other = {"name": "b", "service": "b"} | {about: getattr(PostgresTargetConfig(), about)}
    with pytest.raises(ValueError, match=f"different {about}s"):
        ScrapersConfig(postgres=(PostgresTargetConfig(), PostgresTargetConfig(**other)))


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("127.0.0.1", TlsMode.DISABLE),
        ("::1", TlsMode.DISABLE),
        ("localhost", TlsMode.DISABLE),
        ("/run/postgresql", TlsMode.DISABLE),
        ("db.example", TlsMode.VERIFY_FULL),
        ("10.0.0.1", TlsMode.VERIFY_FULL),
        ("127.0.0.1.example", TlsMode.VERIFY_FULL),
    ],
)
def test_proof_is_asked_of_every_server_that_is_not_here(host: str, mode: TlsMode) -> None:
    config = PostgresTargetConfig(host=host)
    assert config.tls_mode is mode
    context = tls_context(config)
    if mode is TlsMode.DISABLE:
        assert context is None
    else:
        assert context is not None
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_an_authority_may_be_trusted_whatever_the_name() -> None:
    context = tls_context(PostgresTargetConfig(host="db.example", tls=TlsMode.VERIFY_CA))
    assert context is not None
    assert not context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_missing_authority_is_found_before_the_start(tmp_path: Path) -> None:
    config = PostgresTargetConfig(host="db.example", ca_file=FilePath(str(tmp_path / "ca.pem")))
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        tls_context(config)


def test_rollbacks_are_judged_by_habit_unless_it_is_said() -> None:
    assert [one.are_errors for one in Rollbacks] == [None, True, False]


def test_subjects_can_be_left_out_by_name() -> None:
    assert {one.subject for one in ALL} == set(SUBJECTS)


@pytest.mark.parametrize(
    ("version", "subject", "has", "has_not"),
    [
        (150_018, "checkpoints", "buffers_backend", "pg_stat_checkpointer"),
        (160_004, "checkpoints", "buffers_backend", "pg_stat_checkpointer"),
        (170_002, "checkpoints", "pg_stat_checkpointer", "buffers_backend"),
        (180_000, "checkpoints", "num_timed", "buffers_backend"),
        (160_004, "io", "reads * op_bytes", "read_bytes)"),
        (170_002, "io", "reads * op_bytes", "read_bytes)"),
        (180_000, "io", "read_bytes", "op_bytes"),
        (160_004, "statements", "sum(s.blk_read_time)", "shared_blk_read_time"),
        (170_002, "statements", "shared_blk_read_time", "s.blk_read_time"),
        (160_004, "slots", "safe_wal_size", "inactive_since"),
        (170_002, "slots", "inactive_since", "nothing at all"),
        (170_002, "tables", "n_dead_tup", "total_autovacuum_time"),
        (180_000, "tables", "total_autovacuum_time", "nothing at all"),
        (170_002, "databases", "deadlocks", "parallel_workers"),
        (180_000, "databases", "parallel_workers_launched", "nothing at all"),
        (190_000, "checkpoints", "pg_stat_checkpointer", "buffers_backend"),
    ],
)
def test_each_version_is_asked_in_its_own_words(
    version: int, subject: str, has: str, has_not: str
) -> None:
    (query,) = [one for one in ALL if one.subject == subject]
    text = query.text_for(version)
    assert has in text
    assert has_not not in text


def test_15_is_not_asked_for_what_it_has_not() -> None:
    assert [one.subject for one in ALL if not one.text_for(150_000)] == ["io"]
    assert [one.subject for one in ALL if one.text_for(140_000)] == []


def test_no_question_reads_what_users_wrote_or_locks_what_is_theirs() -> None:
    """The text of running queries holds literals; functions that measure a relation's file lock it first."""
    for query in ALL:
        for text in query.sql.values():
            assert not re.search(r"\bquery\b", text), query.subject
            assert not re.search(
                r"pg_(total_|table_|indexes_)?(relation_)?size\(|pg_relation_size", text
            ), query.subject
            assert not re.search(r"\b(insert|update|delete|create|alter|drop)\b", text.lower())
            assert text.count("SELECT *") <= 1
    assert {one.asked_of for one in ALL} == set(AskedOf)


def test_remedies_name_the_role_as_sql_has_it() -> None:
    assert quoted('se"nt') == '"se""nt"'
    (activity,) = [one for one in ALL if one.subject == "activity"]
    assert activity.remedy_for(role="watch") == 'GRANT pg_monitor TO "watch"'
    (statements,) = [one for one in ALL if one.subject == "statements"]
    remedy = statements.remedy_for(role="watch", lack=Lack.EXTENSION)
    assert remedy.startswith("CREATE EXTENSION pg_stat_statements")


def test_a_library_that_is_not_loaded_is_not_taken_for_a_right_that_is_missing() -> None:
    """role.sql made the extension on a server that had not preloaded it, and health told to grant what was granted."""
    (statements,) = [one for one in ALL if one.subject == "statements"]
    assert statements.lack_of("42501") is Lack.RIGHTS
    lack = statements.lack_of("55000")
    remedy = statements.remedy_for(role="watch", lack=lack)
    assert "shared_preload_libraries" in remedy
    assert "GRANT" not in remedy
    (standby,) = [one for one in ALL if one.subject == "standby"]
    assert standby.lack_of("55000") is Lack.RIGHTS


def test_every_gauge_that_is_read_is_known_or_may_go_both_ways() -> None:
    """A gauge that is not listed is strange on both sides: a backlog worked off would be a ticket."""
    shapes = (*SHAPES.values(), DATABASE, REPLICA, SLOT, TABLE, STATEMENT, STATEMENTS)
    read = {
        name
        for shape in shapes
        for name in (
            *shape.levels,
            *shape.rates,
            *shape.ratios,
            *(share.signal for share in shape.shares),
            *(mean.signal for mean in shape.means),
        )
    }
    both_ways = {
        "archived_files_per_s",
        "calls_per_s",
        "checkpoints_timed_per_s",
        "index_rows_per_s",
        "index_scans_per_s",
        "rows_changed_per_s",
        "rows_per_s",
        "rows_read_per_s",
        "rows_written_per_s",
    }
    known = {name for name in read if known_gauge(SeriesKey("pg", STAGE, "x", name)) is not None}
    assert read - known == both_ways
    own = {one.series.signal.lstrip("*") for one in GAUGE_GUARDS if one.series.stage == "*"}
    assert own <= KNOWN_GAUGES[STAGE].keys()


def test_the_library_is_loaded_by_who_watches_a_server_alone() -> None:
    asked = "import sys, sentinel.app.build; print([n for n in ('asyncpg', 'sentinel.scrapers.postgres.target') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", asked], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
