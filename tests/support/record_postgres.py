"""Writes tests/data/postgres/rows_<version>.json: the rows of every question, as a real server of a version gave them.

Run as `python -m tests.support.record_postgres 17 /path/to/bin` where a server of that version is at hand; its module
pg_stat_statements must be there. Numbers are what they were; a test asks only what they come to.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from sentinel.scrapers.postgres import sql_database, sql_server
from sentinel.scrapers.postgres.queries import AskedOf, queries
from sentinel.scrapers.postgres.session import connect
from tests.support.postgres_scene import config_for
from tests.support.postgres_server import PostgresServer, server_of

FOLDER = Path(__file__).parents[1] / "data" / "postgres"
_WORK = """
CREATE TABLE IF NOT EXISTS orders (id int PRIMARY KEY, pan text);
INSERT INTO orders SELECT n, '4111111111111111' FROM generate_series(1, 5000) n ON CONFLICT DO NOTHING;
UPDATE orders SET pan = '5500005555555559' WHERE id % 10 = 0;
DELETE FROM orders WHERE id % 7 = 0;
SELECT count(*) FROM orders WHERE pan = '4111111111111111';
COMMENT ON TABLE orders IS '4111111111111111';
CHECKPOINT
"""


async def _answers(server: PostgresServer) -> dict[str, Any]:
    session = await connect(config_for(server), "postgres")
    try:
        schemas = {
            str(row["extname"]): str(row["schema"])
            for row in await session.fetch(sql_database.EXTENSIONS)
        }
        found: dict[str, Any] = {}
        for query in queries(statement_count=5, table_count=5):
            text = query.text_for(session.version)
            if not text or query.asked_of is AskedOf.STANDBY or query.extension == "pgstattuple":
                continue
            text = text.replace("{schema}", schemas.get(query.extension, ""))
            found[query.subject] = await session.fetch(
                text, *([query.limit] if query.limit else [])
            )
        ids = [row["queryid"] for row in found["statements"]]
        texts = sql_server.STATEMENT_TEXTS.replace("{schema}", schemas["pg_stat_statements"])
        found["statement_texts"] = await session.fetch(texts, ids)
        return found
    finally:
        await session.close()


async def record(version: int, programs: Path) -> None:
    """Two answers to each question, with work in between."""
    with server_of(programs, shared_preload_libraries="pg_stat_statements") as server:
        server.make_role("postgres")
        told = server.run("postgres", "--version").strip()
        answers = []
        for _ in range(2):
            for statement in _WORK.split(";"):
                await server.execute(statement)
            await asyncio.sleep(1.5)
            answers.append(await _answers(server))
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = {"from": f"{told}, by tests/support/record_postgres.py", "answers": answers}
    text = json.dumps(document, indent=1, default=float)
    (FOLDER / f"rows_{version}.json").write_text(text + "\n")


if __name__ == "__main__":
    asyncio.run(record(int(sys.argv[1]), Path(sys.argv[2])))
