"""Goal: who mistypes a command is told what was meant and where to read on. Method: wrong arguments, read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.cli.main import COMMANDS, main


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    err = capsys.readouterr().err
    assert [name for name in COMMANDS if f"\n    {name}" not in err] == []


def test_a_mistyped_command_is_told_its_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    err = told(capsys, "incidnets")
    assert "incidnets is not a command: did you mean incidents?" in err
    assert err.endswith("See sentinel --help.\n")


def test_a_fault_of_usage_names_the_help_of_its_own_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert told(capsys, "check", "ready", "--url", "foo").endswith(
        "See sentinel check ready --help.\n"
    )


def test_what_was_mistyped_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert "\x1b" not in told(capsys, "\x1b[2Jrun")


def test_a_ready_file_that_cannot_be_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sidecar started, took telemetry, and then ended over a file of a name that nobody had given."""
    file = tmp_path / "nowhere" / "ready.json"
    assert main(["run", "--ready-file", str(file)]) == 3
    assert capsys.readouterr().err == f"sentinel run: {file}: no such file or directory\n"
