"""Goal: each question is answered by the newest and by an older PostgreSQL in that version's words.

Method: real servers of 18 and 16 from a wheel without contributed modules: everything but statements must be answered.
Of version 17 each text is one that 15, 16 or 18 answers here too, but that of statements.
"""

from __future__ import annotations

import pytest

from sentinel.core.normalise.postgres.shapes import SHAPES
from sentinel.scrapers.postgres.queries import queries
from tests.support.postgres_scene import config_for, scene
from tests.support.postgres_server import postgres_server

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

ALL = queries(statement_count=20, table_count=20)
NEEDS_A_MODULE = {"statements", "bloat_measured"}
ON_STANDBYS = {"standby"}


@pytest.mark.parametrize("version", [18, pytest.param(16, marks=pytest.mark.full)])
async def test_every_question_is_answered(version: int) -> None:
    with postgres_server(version) as server:
        server.make_role("postgres")
        await server.execute("CREATE TABLE t AS SELECT 1 AS n; CREATE INDEX ON t (n)")
        async with scene(config_for(server)) as watched:
            await watched.poll()
            await server.execute("SELECT count(*) FROM t; CHECKPOINT")
            found = await watched.poll(after_s=4000.0)
            for query in ALL:
                if query.subject in NEEDS_A_MODULE:
                    assert watched.asked(query.subject, "absent") == 2
                elif query.subject not in ON_STANDBYS:
                    assert watched.asked(query.subject, "ok") == 2, query.subject
            (note,) = watched.notes
            assert "pg_stat_statements is not installed" in note
            assert "CREATE EXTENSION" in note
            assert found["checkpoints", "checkpoints_requested_per_s"] > 0
            assert found["io client backend", "io_hit_ratio"] > 0
            assert ("io wal", "io_written_bytes_per_s") in found or version < 18
            assert found["postgres public.t", "seq_scans_per_s"] > 0
            assert sum(watched.calls("postgres")) >= 2
            for subject in ("activity", "blocking", "wal", "wal_files", "archiver", "vacuums"):
                shape = SHAPES[subject]
                names = {*shape.levels, *shape.rates, *shape.ratios}
                seen = {signal for route, signal in found if route == shape.route}
                assert names - seen <= {"vacuum_progress_min_ratio"}, subject
            found_here = [one.sentence for one in await watched.target.reach()]
            assert f"PostgreSQL {version}" in found_here[0]


def test_every_text_of_17_is_one_that_another_version_answers_here() -> None:
    asked = {query.subject: query.text_for(170_000) for query in ALL}
    of_others = {
        query.subject: {query.text_for(version) for version in (150_000, 160_000, 180_000)}
        for query in ALL
    }
    new = [subject for subject, text in asked.items() if text not in of_others[subject]]
    assert new == []
