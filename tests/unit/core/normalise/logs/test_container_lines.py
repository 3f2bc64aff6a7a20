"""Goal: what a container wrote is whole again, however its runtime cut and mixed it, before anybody looks for secrets in it.

Method: lines as containerd (CRI) and Docker (json-file) write them. Shapes: kubernetes/design-proposals-archive
`node/kubelet-cri-logging.md` (`<time> <stream> <tags> <log>`, P and F), moby `daemon/logger/jsonfilelog` (log, stream, time).
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from sentinel.core.normalise.logs.joined import LineJoiner, Record
from sentinel.core.normalise.logs.reader import LogReader
from sentinel.core.normalise.logs.settings import ContainerFormat, JoinSettings, Multiline

AT = "2026-11-22T06:35:37.123456789Z"


def joined(lines: list[bytes], *, flush: bool = True, **settings: Any) -> list[Record]:
    joiner = LineJoiner(JoinSettings(**settings))
    ready: list[Record] = []
    at = 0
    for line in lines:
        joiner.feed(line, at, ready)
        at += len(line) + 1
    if flush:
        joiner.flush(ready)
    return ready


def cri(stream: str, tag: str, text: str) -> bytes:
    return f"{AT} {stream} {tag} {text}".encode()


def docker(stream: str, text: str) -> bytes:
    return json.dumps({"log": text, "stream": stream, "time": AT}).encode()


@pytest.mark.parametrize("form", [ContainerFormat.CRI, ContainerFormat.AUTO])
def test_parts_of_a_cri_line_are_joined_by_stream(form: ContainerFormat) -> None:
    ready = joined(
        [
            cri("stdout", "P", "one "),
            cri("stderr", "F", "between"),
            cri("stdout", "P", "line "),
            cri("stdout", "F", "whole"),
            cri("stdout", "F", ""),
        ],
        container=form,
    )
    assert [record.text for record in ready] == [b"between", b"one line whole", b""]
    assert ready[1].start == 0
    assert ready[1].time == AT


@pytest.mark.parametrize("form", [ContainerFormat.DOCKER, ContainerFormat.AUTO])
def test_parts_of_a_docker_line_are_joined(form: ContainerFormat) -> None:
    ready = joined(
        [docker("stdout", "one "), docker("stderr", "x\n"), docker("stdout", "line\r\n")],
        container=form,
    )
    assert [record.text for record in ready] == [b"x", b"one line"]


def test_a_card_number_over_a_cut_is_found() -> None:
    """Containerd cuts at 16 KiB; each half alone is no card number."""
    parts = joined(
        [cri("stdout", "P", "ERROR card 4111 1111 "), cri("stdout", "F", "1111 1111 refused")],
        container=ContainerFormat.CRI,
    )
    read = LogReader().read(parts, service="pay", now_ns=1_795_329_338 * 10**9, uid="u")
    assert read.batch.log_columns is not None
    (noted,) = read.batch.log_columns.noted
    assert noted.body == "card [PAN] refused"
    assert b"4111" not in read.encoded["pay"][0]
    assert b"[PAN]" in read.encoded["pay"][0]


def test_a_line_that_never_ends_is_cut_and_counted() -> None:
    joiner = LineJoiner(JoinSettings(container=ContainerFormat.CRI, bytes_max=100))
    ready: list[Record] = []
    for number in range(50):
        joiner.feed(cri("stdout", "P", "x" * 10), number * 60, ready)
    joiner.feed(cri("stdout", "F", "end"), 3000, ready)
    assert [len(record.text) for record in ready] == [100]
    assert joiner.cut_count == 1
    assert not joiner.is_waiting


@pytest.mark.parametrize(
    "line",
    [
        b"not wrapped at all",
        b'{"log":1,"stream":"stdout","time":"x"}',
        b'{"message":"json of its own"}',
        b"2026-11-22T06:35:37Z stdin F x",
        b"\xff\xfe",
        b"",
    ],
)
def test_what_is_not_wrapped_is_a_line_of_its_own(line: bytes) -> None:
    assert [record.text for record in joined([line], container=ContainerFormat.AUTO)] == [line]


TRACEBACK = [
    b"ERROR it failed",
    b"Traceback (most recent call last):",
    b'  File "a.py", line 1, in <module>',
    b"    boom()",
    b"ValueError: boom",
    b"INFO next",
]
JAVA = [
    b"ERROR it failed",
    b"java.lang.IllegalStateException: boom",
    b"\tat a.B.c(B.java:1)",
    b"Caused by: java.io.IOException: disk",
    b"\t... 12 more",
    b"INFO next",
]


def test_a_stack_trace_belongs_to_its_line() -> None:
    ready = joined(TRACEBACK, multiline=Multiline.INDENT)
    assert [record.text.count(b"\n") for record in ready] == [4, 0]
    assert ready[1].start == sum(len(line) + 1 for line in TRACEBACK[:-1])


def test_first_lines_may_be_told_by_an_expression() -> None:
    ready = joined(JAVA, multiline=Multiline.FIRST, first=re.compile(rb"^(ERROR|INFO) "))
    assert [record.text.count(b"\n") for record in ready] == [4, 0]


def test_joined_records_are_bounded() -> None:
    joiner = LineJoiner(JoinSettings(multiline=Multiline.INDENT, lines_max=5, bytes_max=1000))
    ready: list[Record] = []
    joiner.feed(b"first", 0, ready)
    for number in range(1000):
        joiner.feed(b"  next", 10 * number, ready)
    joiner.flush(ready)
    assert ready[0].text.count(b"\n") == 4
    assert joiner.cut_count == 1


def test_a_reader_that_begins_again_passes_over_what_was_handed_on() -> None:
    lines = [cri("stdout", "P", "a"), cri("stderr", "F", "b"), cri("stdout", "F", "c")]
    size = len(lines[0]) + 1
    again = LineJoiner(JoinSettings(container=ContainerFormat.CRI))
    ready: list[Record] = []
    for number, line in enumerate(lines):
        # `b` was handed on, and what is before the third line of any other stream.
        again.feed(line, number * size, ready, {"stdout": 0, "*": 2 * size})
    assert [record.text for record in ready] == [b"ac"]
