"""Goal: `check config`, `config show` and `config schema` say what is so, in text and JSON, with the agreed exit codes.

Method: the real parser and commands in-process, over files in a temporary folder; output captured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from sentinel.app.config import SentinelConfig
from sentinel.cli import check, config, incidents
from sentinel.cli.main import main
from sentinel.runtime.config.render import plain

FAULTY = "mdoe: live\nseries: {window: 10}\n"


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser(prog="sentinel")
    subparsers = parser.add_subparsers(required=True)
    check.add_arguments(subparsers.add_parser("check"))
    config.add_arguments(subparsers.add_parser("config"))
    incidents.add_arguments(subparsers.add_parser("incidents"))
    args = parser.parse_args(arguments)
    code: int = args.run(args)
    return code


@pytest.fixture(autouse=True)
def _no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sentinel.yaml"


def test_a_right_file_exits_0(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("mode: shadow\n")
    assert run("check", "config", str(file)) == 0
    assert capsys.readouterr().out == (
        f"The configuration is right: {file}; 1 setting given, mode shadow.\n"
        f"Next: sentinel check ready --config {file}\n"
    )


def test_every_fault_is_printed_and_exits_1(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FAULTY)
    assert run("check", "config", str(file)) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{file}:1: mdoe: unknown setting 'mdoe': did you mean mode?",
        f"{file}:2: series.window: '10' has no unit: write 10s for seconds, or ms, m, h, d, w",
        "2 faults.",
    ]


def test_faults_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FAULTY)
    assert run("check", "config", str(file), "-o", "json") == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [(one["line"], one["path"]) for one in answer["faults"]] == [
        (1, "mdoe"), (2, "series.window"),
    ]  # fmt: skip


def test_a_right_file_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("")
    assert run("check", "config", str(file), "-o", "json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["ok"], answer["faults"], answer["files"]) == (True, [], [str(file)])
    assert len(answer["digest"]) == 64
    assert "nobody is paged" in answer["warnings"][0]["message"]


@pytest.mark.parametrize("command", [("check", "config"), ("config", "show")])
def test_what_cannot_be_read_exits_3(
    command: tuple[str, str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*command, str(file)) == 3
    captured = capsys.readouterr()
    assert f"{file} cannot be read: no such file or directory" in captured.out + captured.err


def test_a_wrong_argument_exits_2() -> None:
    with pytest.raises(SystemExit) as caught:
        run("check", "config", "-o", "xml")
    assert caught.value.code == 2


def test_terminal_escapes_in_a_file_do_not_reach_the_terminal(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text('"\\e[31mkey\\e[0m": 1\n"\\u202eyek": {x: *y}\n"two\\nlines": {x: *y}\n')
    assert run("check", "config", str(file)) == 1
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert "3: ['two\\nlines'].x: aliases" in out


def test_the_environment_is_seen(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {"SENTINEL_SERIES__WINDOW": "1"})
    file.write_text("mode: shadow\n")
    assert run("check", "config", str(file)) == 1
    assert "(from the environment variable SENTINEL_SERIES__WINDOW)" in capsys.readouterr().out


def test_show_prints_what_is_in_effect(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("series: {window: 5s}\n")
    assert run("config", "show", str(file)) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["series"]["window"] == "5s"
    assert shown["web"] == plain(SentinelConfig())["web"]
    assert run("config", "show", str(file), "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == shown


def test_show_says_where_each_value_was_written(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("series:\n  window: 5s\n")
    assert run("config", "show", str(file), "--origin") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("  window:")] == [f"{file}:2"]
    assert run("config", "show", str(file), "--origin", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out)["origins"] == {"series.window": f"{file}:2"}


def test_show_refuses_faults(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FAULTY)
    assert run("config", "show", str(file)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "did you mean mode?" in captured.err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("config", "schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == set(plain(SentinelConfig()))


@pytest.mark.parametrize("command", [("check", "ready"), ("incidents",)])
@pytest.mark.parametrize(
    "arguments",
    [
        ("--url", "file:///etc/passwd"),
        ("--url", "http://user:word@127.0.0.1:1"),
        ("--url", "127.0.0.1:9640"),
        ("--url", "foo"),
        ("--timeout", "0"),
        ("--timeout", "nan"),
        ("--timeout", "soon"),
    ],
)
def test_an_address_or_wait_that_makes_no_sense_is_a_fault_of_usage(
    command: tuple[str, ...], arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*command, *arguments)
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert f"argument {arguments[0]}: must be" in err
    assert "word" not in err


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "no such file or directory"), (b"\xff", "plain ASCII text")]
)
def test_a_token_that_cannot_be_read_exits_3(
    content: bytes | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_bytes(content)
    assert main(["incidents", "--token-file", str(path)]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"sentinel incidents: {path} cannot be read: ")
    assert reason in err


@pytest.mark.parametrize("name", ["absent.csv", "."])
def test_past_data_that_cannot_be_read_exits_3_and_stores_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, store = tmp_path / name, tmp_path / "store"
    assert main(["baseline", "backfill", str(path), "--format", "csv", "--store", str(store)]) == 3
    assert f"sentinel baseline: {path} cannot be read: " in capsys.readouterr().err
    assert not store.exists()
