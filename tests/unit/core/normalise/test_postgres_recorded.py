"""Goal: what servers of 15, 17 and 18 really answered comes to the same gauges, save for those that a version has alone.

Method: rows recorded of real servers (each file says of which), two answers with work in between; nothing of the card
numbers that the work wrote is left.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sentinel.core.normalise.postgres import PostgresReader, Reading

FOLDER = Path(__file__).parents[3] / "data" / "postgres"
START_NS = 1_790_000_000_000_000_000
TEN_S = 10 * 10**9
VERSIONS = (15, 17, 18)
PANS = ("4111111111111111", "5500005555555559")


def readings_of(version: int) -> dict[str, Reading]:
    document = json.loads((FOLDER / f"rows_{version}.json").read_text())
    assert f"PostgreSQL) {version}." in document["from"]
    reader = PostgresReader(statement_count=5, table_count=5)
    found: dict[str, Reading] = {}
    for at, answers in enumerate(document["answers"]):
        now_ns = START_NS + at * TEN_S
        texts: list[dict[str, Any]] = answers.pop("statement_texts")
        found["databases"] = reader.read_databases(answers.pop("databases"), now_ns=now_ns, own={})
        reader.choose_statements(answers["statements"], now_ns=now_ns)
        reader.statements.learn(texts)
        for subject, rows in answers.items():
            found[subject] = reader.read(subject, rows, now_ns=now_ns, database="postgres")
    return found


def signals(readings: dict[str, Reading]) -> set[tuple[str, str]]:
    return {
        (subject, level.signal)
        for subject, reading in readings.items()
        for level in reading.levels
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_every_answer_comes_to_something_and_to_nothing_that_was_written(version: int) -> None:
    readings = readings_of(version)
    # No table of the recorded server is a megabyte large, and nobody follows it.
    assert {name for name, one in readings.items() if not one.levels} == {"bloat"}
    assert not any(pan in repr(readings) for pan in PANS)
    values = {
        (level.route, level.signal): level.value
        for reading in readings.values()
        for level in reading.levels
    }
    assert values["checkpoints", "checkpoints_requested_per_s"] == pytest.approx(0.1)
    assert values["postgres public.orders", "rows_changed_per_s"] > 100
    assert values["statements", "calls_per_s"] > 0
    assert any("update orders set pan = ? where id % ? = ?" in route for route, _ in values)
    (told,) = readings["databases"].transactions
    assert (told.route, told.failed) == ("postgres", 0)


def test_versions_differ_in_what_only_some_of_them_count() -> None:
    found = {version: signals(readings_of(version)) for version in VERSIONS}
    assert {name for name in found[17] ^ found[15] if name[0] != "io"} == {
        ("checkpoints", "backend_buffers_per_s")
    }
    assert {subject for subject, _ in found[15]} == {subject for subject, _ in found[17]} - {"io"}
    assert found[18] - found[17] <= {
        ("tables", "autovacuum_time_ratio"),
        ("databases", "parallel_workers_got_ratio"),
    }
    assert found[17] - found[18] <= {("databases", "parallel_workers_got_ratio")}
