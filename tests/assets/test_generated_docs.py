"""Goal: the documents written from the code are true, and a stale one is named.

Method: the generator's own check over docs/, and over a copy that is broken on purpose.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sentinel.app import docs
from sentinel.runtime.catalogue import CATALOGUE


def test_the_documents_are_not_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert docs.main(["--check"]) == 0, capsys.readouterr().out


def test_a_stale_and_a_missing_document_are_named_and_then_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in docs.pages().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "metrics.md").write_text("old")
    (tmp_path / "cli.md").unlink()
    assert docs.main(["--check", "--folder", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"{tmp_path / 'metrics.md'} is stale" in out
    assert f"{tmp_path / 'cli.md'} is stale" in out
    assert "configuration.md" not in out
    assert docs.main(["--folder", str(tmp_path)]) == 0
    assert docs.main(["--check", "--folder", str(tmp_path)]) == 0


def test_every_metric_and_a_nested_setting_are_there() -> None:
    pages = docs.pages()
    for metric in CATALOGUE:
        assert f"| `{metric.name}` |" in pages["metrics.md"]
    assert "## `receivers.otlp_http.listen`" in pages["configuration.md"]
    assert "| `hmac_secret_file` | path of a secret |" in pages["configuration.md"]


def test_every_command_is_there() -> None:
    text = docs.pages()["cli.md"]
    for command in ("check config", "check ready", "config show", "config schema", "run"):
        assert f"## `sentinel {command}`" in text
    for command in ("up", "history", "fault start", "completion"):
        assert f"## `sentinel-ledger {command}`" in text
    assert "    sentinel check config [PATH] [--output {table,json}]" in text


def test_a_page_is_there_whole_with_its_evidence_and_its_resolve() -> None:
    text = docs.pages()["page.md"]
    _, first, _, resolved, _, payload, _ = text.partition("## As text")[2].split("```")
    assert first.startswith("text\n[FIRING] SentinelAnomaly (page)\n\npayments: ")
    for part in ("\nMoved first: payments database ", "\nTrace: ", "\nLog: [ERROR] ", "\nNext: "):
        assert part in first
    assert "\n[RESOLVED] " in resolved
    assert "\nLast out of the ordinary at " in resolved
    (alert,) = json.loads(payload.removeprefix("json"))["alerts"]
    # Wrapped in the text, and whole in the payload.
    assert " ".join(alert["annotations"]["description"].split()) in " ".join(first.split())
    assert "[PAN]" in text
    assert "4111" not in text
