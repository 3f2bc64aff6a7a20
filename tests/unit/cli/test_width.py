"""Goal: on a terminal of 80 columns nothing that a command says is broken by the terminal, and what is to be typed stands whole.

Method: the help of every command and what it says of faults, read back with the width that the terminal would have; sentences on a
pipe are one line each. Tables have tests of their own beside their commands.
"""

from __future__ import annotations

import argparse
import contextlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from sentinel.cli.main import build_parser, main
from sentinel.cli.progress import ProgressLine
from sentinel.cli.wrapping import next_step, tell
from sentinel.reference.ledger.operate.cli import build_parser as build_ledger_parser
from tests.support.clock import ManualClock

COLUMNS = 80
LONG = "a sentence of some words that say what went wrong, and what to do about it, in one go " * 3


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(COLUMNS))


def grammars(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A grammar and all that lie in it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from grammars(inner)


def widest(text: str) -> str:
    return max(text.splitlines(), key=len, default="")


def test_the_help_of_every_command() -> None:
    parsers = {
        one.prog: one
        for whole in (build_parser(), build_ledger_parser())
        for one in grammars(whole)
    }
    assert {"sentinel baseline backfill", "sentinel-ledger edge"} <= parsers.keys()
    too_wide = {
        name: line
        for name, one in parsers.items()
        if len(line := widest(one.format_help())) > COLUMNS
    }
    assert too_wide == {}


@pytest.mark.parametrize(
    "words",
    [
        ["incidnets"],
        ["check", "ready", "--url", "foo"],
        ["check", "config", "FAULTY"],
        ["check", "config", "RIGHT"],
        ["check", "rules", "nowhere.yaml"],
        ["config", "show", "FAULTY"],
        ["run", "--config", "FAULTY"],
        ["baseline", "backfill"],
        ["baseline", "backfill", "--config", "RIGHT", "--before-run"],
        ["baseline", "backfill", "h.csv", "--weeks", "5", "--step", "1m"],
        ["preview", "--prometheus"],
        ["preview", "--csv", "nowhere"],
        ["preview", "--store", "nowhere"],
        ["baseline", "show", "--store", "nowhere"],
        ["incidents", "--url", "http://127.0.0.1:1"],
        ["check", "ready", "--url", "http://127.0.0.1:1"],
        ["inject", "-f", "nowhere.yaml"],
    ],
    ids=" ".join,
)
def test_what_is_said_of_faults(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FAULTY").write_text(
        "mdoe: shadow\nseries: {window: '10', lateness: soon}\nscrapers: {prometheus_queries: 7}\n"
    )
    Path("RIGHT").write_text("mode: shadow\n")
    with contextlib.suppress(SystemExit):
        main(words)
    told = capsys.readouterr()
    assert told.out + told.err
    assert len(widest(told.out + told.err)) <= COLUMNS, widest(told.out + told.err)


def test_a_sentence_is_broken_between_words_and_stays_one_line_on_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    narrow, wide = io.StringIO(), io.StringIO()
    tell(LONG, file=narrow)
    monkeypatch.delenv("COLUMNS")
    tell(LONG, file=wide)
    assert len(widest(narrow.getvalue())) <= COLUMNS
    assert " ".join(line.strip() for line in narrow.getvalue().splitlines()) == LONG.strip()
    assert wide.getvalue() == f"{LONG}\n"


def test_a_command_is_never_broken() -> None:
    """What is pasted from two lines is another command."""
    command = f"sentinel check ready --config /{'a-long-folder/' * 8}sentinel.yaml"
    stream = io.StringIO()
    next_step(command, file=stream)
    assert stream.getvalue() == f"Next: {command}\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_line_of_progress_leaves_the_last_column_free() -> None:
    """At 81 of 80 columns each line began a new one, for a carriage return goes no further up."""
    stream = _Terminal()
    ProgressLine(ManualClock(), stream=stream).show("x" * 200)
    assert stream.getvalue() == "\r\x1b[K" + "x" * (COLUMNS - 1)
