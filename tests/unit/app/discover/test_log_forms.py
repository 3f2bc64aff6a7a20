"""Goal: the form of a log is told by its first lines, and files that are no logs are left out.

Method: small files of each form in a temporary folder.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sentinel.app.discover import Outcome
from sentinel.app.discover.logs import form_of, look_at_logs

KONG = {"request": {"id": "1"}, "response": {"status": 200}, "latencies": {"kong": 1}}
FORMS = [
    ("CRI", "2026-11-30T08:00:00.123456789Z stdout P half\n2026-11-30T08:00:00Z stderr F rest\n"),
    ("Docker JSON", json.dumps({"log": "hello\n", "stream": "stdout", "time": "t"}) + "\n"),
    ("PostgreSQL jsonlog", json.dumps({"error_severity": "LOG", "message": "ready"}) + "\n"),
    ("Kong file-log", json.dumps(KONG) + "\n"),
    ("JSON lines", '{"level": "info"}\n{"level": "error"}\n'),
    ("nginx access", '127.0.0.1 - - [30/Nov/2026:08:00:00 +0000] "GET / HTTP/1.1" 200 12 "-"\n'),
    ("nginx error", "2026/11/30 08:00:00 [error] 7#7: *1 open() failed\n"),
    ("syslog", "Nov 30 08:00:00 host sshd[7]: Accepted\n"),
    ("logfmt", "level=info msg=hello at=8\n"),
    ("plain text", "Traceback (most recent call last):\n  File x\nValueError: no\n"),
    ("", "\x00\x01\x02"),
    ("", ""),
]


@pytest.mark.parametrize(("form", "text"), FORMS)
def test_a_form_is_told_by_its_lines(form: str, text: str) -> None:
    assert form_of(text.encode()) == form


def test_one_line_in_json_does_not_make_a_file_json() -> None:
    text = "starting\n" * 9 + '{"level": "info"}\n'
    assert form_of(text.encode()) == "plain text"


def test_a_line_that_was_cut_off_by_the_reading_does_not_count() -> None:
    line = json.dumps({"message": "x" * 1000}).encode() + b"\n"
    assert form_of((line * 40)[: 32 * 1024]) == "JSON lines"


def test_files_are_grouped_and_rotated_ones_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "pods" / "web").mkdir(parents=True)
    for name, text in {
        "access.log": FORMS[5][1],
        "error.log": FORMS[6][1],
        "error.log.1": FORMS[6][1],
        "old-20261129.gz": "x",
        "new.log": "",
        "pods/web/0.log": FORMS[0][1],
        "picture.png": "\x89PNG\x00",
    }.items():
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "pipe.log")
    (tmp_path / "nowhere.log").symlink_to(tmp_path / "gone")
    found = look_at_logs(tmp_path)
    assert found.outcome is Outcome.FOUND
    assert (
        found.sentence == "4 files: 1 of nginx access, 1 of nginx error, 1 empty so far, 1 of CRI"
    )
    assert [entry.values["paths"] for entry in found.entries] == [
        [str(tmp_path / "*.log")],
        [str(tmp_path / "pods/web/*.log")],
    ]


def test_what_is_no_folder_of_logs_says_so(tmp_path: Path) -> None:
    assert look_at_logs(tmp_path / "gone").sentence == "no such file or directory"
    (tmp_path / "file").write_text("x")
    assert look_at_logs(tmp_path / "file").outcome is Outcome.OTHER
    (tmp_path / "empty").mkdir()
    assert look_at_logs(tmp_path / "empty").outcome is Outcome.ABSENT


def test_a_great_many_files_are_not_all_read(tmp_path: Path) -> None:
    for number in range(70):
        (tmp_path / f"{number:03}.log").write_text("level=info msg=a n=1\n")
    found = look_at_logs(tmp_path)
    assert found.sentence == "60 files: 60 of logfmt"
    assert found.advice == ("10 more files were not looked at; name a folder further down.",)
