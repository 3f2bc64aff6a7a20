"""Goal: `sentinel check rules` says what is wrong, to people and programs, with the agreed exit codes.

Method: the real command in-process, over the shipped rules and a file that is wrong; output captured.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.cli.main import main

ROOT = Path(__file__).parents[3]
WRONG = """
groups:
- name: g
  rules:
  - alert: Lags
    expr: sentinel_evaluation_lag > 60
    labels: {severity: critical}
"""


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(WRONG)
    return path


def test_the_shipped_rules_are_right(capsys: pytest.CaptureFixture[str]) -> None:
    rules, runbooks = str(ROOT / "alert_rules"), str(ROOT / "docs/runbooks")
    assert main(["check", "rules", rules, "--runbooks", runbooks]) == 0
    assert capsys.readouterr().out.endswith("recorded names: no fault.\n")


def test_each_fault_has_a_line(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "rules", str(wrong)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{wrong}:5: Lags: Sentinel has no metric sentinel_evaluation_lag;")
    assert lines[-1] == "1 file, 1 alert, 0 recorded names: 3 faults."


def test_programs_get_the_same(wrong: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "rules", str(wrong), "-o", "json", "--severity", "critical"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert [(one["line"], one["rule"], one["is_fault"]) for one in told["findings"]] == [
        (5, "Lags", True),
        (5, "Lags", True),
    ]


def test_what_cannot_be_read_is_neither_right_nor_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "rules", str(tmp_path / "none.yaml")]) == 3
    assert "none.yaml: No such file" in capsys.readouterr().err


def test_without_a_file_it_is_a_fault_of_usage() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["check", "rules"])
    assert caught.value.code == 2
