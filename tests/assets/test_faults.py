"""Goal: what docs/faults.md says is shown by a test is shown by a test that there is. Method: each name is looked for in the file it is said to be in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "faults.md").read_text()
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT)


def _tests_of(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return {
        one.name
        for one in ast.parse(path.read_text()).body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and one.name.startswith("test_")
    }


def test_every_test_that_is_named_is_there() -> None:
    missing = [
        f"{file}::{name}" for file, name in NAMED if name not in _tests_of(ROOT / "tests" / file)
    ]
    assert missing == []
    assert len(NAMED) > 40


def test_every_fault_has_its_test() -> None:
    rows = [line for line in DOCUMENT.splitlines() if line.startswith("| ") and "---" not in line]
    faults = [row for row in rows if not row.startswith("| Fault |")]
    assert [row for row in faults if "::test_" not in row.split(" | ")[2]] == []


def test_every_collector_that_is_asked_is_beside_others_under_fault() -> None:
    """The tests that count the polls of all others, by the collectors that they spoil."""
    sections = re.split(r"(?m)^## ", DOCUMENT)[1:]
    counted = {one.splitlines()[0] for one in sections if "*all others*" in one}
    assert counted >= {"Any target that is asked", "NATS", "PostgreSQL"}
