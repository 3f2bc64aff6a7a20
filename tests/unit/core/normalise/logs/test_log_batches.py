"""Goal: a line says the same whatever lines it is read with.

Method: lines of many loggers, good, odd and hostile, read in one batch, in random batches and one by one; times that differ in
every part, read at once and one by one.
"""

from __future__ import annotations

import json
import random

import numpy as np
import pytest

from sentinel.core.normalise.logs.joined import Record
from sentinel.core.normalise.logs.reader import LogReader, LogsRead
from sentinel.core.normalise.logs.times import LogTimes, within_int64
from tests.unit.core.normalise.logs.test_log_reader import AT_S, LOGGERS, NOW_NS

TIME = "2026-11-22T06:35:37.250Z"
ACCESS = {
    "time": TIME,
    "level": "info",
    "event": "done",
    "method": "GET",
    "status": 200,
    "route": "/x",
    "duration_ms": 12.5,
}
LINES: tuple[str, ...] = (
    *(json.dumps(fields) for fields, *_ in LOGGERS.values()),
    *(json.dumps({**ACCESS, **odd}) for odd in (
        {}, {"duration_ms": "12ms"}, {"duration_ms": None}, {"duration_ms": -1}, {"duration_ms": True}, {"status": 503},
        {"status": "404"}, {"status": {"code": 1}}, {"event": ["a"]}, {"event": "a sentence, 12"}, {"event": 7},
        {"level": None}, {"time": 1}, {"time": None}, {"time": "2026-11-22T06:35:38.250Z"}, {"time": "2126-11-22T06:35:38.250Z"},
        {"time": 10**19}, {"time": "0001-01-01T00:00:00.000Z"},
    )),
    *(json.dumps({"ts": TIME, "msg": text}) for text in ("boom 1", "boom 2", "other", "")),
    *(json.dumps({"ts": TIME, "msg": text}) for text in ({"a": 1}, None, 7, ["x"])),
    # Whether a name leads on was judged by the line that was met first: one odd line, and no call of the others counted.
    *(json.dumps({"message": "done", "http": http}) for http in (
        "no", {"method": "GET", "status_code": 200}, None, 7, ["x"], {"method": "GET", "status_code": 502}, {},
    )),
    '{"time": "01/Jan/0001:00:00:00 +0500", "msg": "x"}', '{"time": "31/Dec/9999:23:00:00 -0500", "msg": "x"}',
    "[1]", "{", "", "plain 12", '10.0.0.1 - - [22/Nov/2026:06:35:37 +0000] "GET /x HTTP/1.1" 502 7', '{"a": {"b": {}}}',
)  # fmt: skip


def rows_of(read: LogsRead) -> list[tuple[object, ...]]:
    columns = read.batch.log_columns
    if columns is None:
        return []
    return [
        (columns.kinds[kind], time_ns, bucket)
        for kind, time_ns, bucket in zip(
            columns.kind_index.tolist(),
            columns.time_ns.tolist(),
            columns.bucket.tolist(),
            strict=True,
        )
    ]


def read(lines: list[str], reader: LogReader) -> list[tuple[object, ...]]:
    records = [Record(at, "", line.encode()) for at, line in enumerate(lines)]
    return rows_of(reader.read(records, service="pay", now_ns=NOW_NS))


@pytest.mark.parametrize("seed", range(20))
def test_lines_say_the_same_in_any_company(seed: int) -> None:
    rng = random.Random(seed)
    lines = rng.choices(LINES, k=80)
    alone = [row for line in lines for row in read([line], LogReader())]
    one_by_one, batches = LogReader(), LogReader()
    assert read(lines, LogReader()) == alone
    assert [row for line in lines for row in read([line], one_by_one)] == alone
    cut = rng.randrange(len(lines))
    assert read(lines[:cut], batches) + read(lines[cut:], batches) == alone


@pytest.mark.parametrize(
    "shape",
    [
        "{date}T{clock}.{digits}Z",
        "{date} {clock},{digits}",
        "{date} {clock}.{digits}+02:00",
        "{date}T{clock}.{digits} CET",
        "{date}T{clock}.{digits}",
        "{date}T{clock}.{digits} x",
        "{date}T{clock}Z",
        "{date}T{clock}.{digits}{digits}",
        "12345678901234{digits}.{digits}",
    ],
)
@pytest.mark.parametrize("width", [1, 3, 6, 9])
def test_times_at_once_are_those_one_by_one(shape: str, width: int) -> None:
    rng = random.Random(width)
    texts: list[object] = [
        shape.format(
            date=rng.choice(("2026-11-22", "2026-11-23", "2026-02-30")[: 2 + (at % 7 == 0)]),
            clock=f"06:35:{at // 20:02d}",
            digits="".join(rng.choices("0123456789", k=width)),
        )
        for at in range(200)
    ]
    times = LogTimes()
    assert times.of_all(texts).tolist() == [within_int64(times.of(text) or 0) for text in texts]
    texts[77] = "2026-11-22T06:35:01.+1_4Z"[: len(str(texts[0]))]
    assert times.of_all(texts).tolist() == [within_int64(times.of(text) or 0) for text in texts]
    texts[78] = float(AT_S)
    assert times.of_all(texts).tolist() == [within_int64(times.of(text) or 0) for text in texts]


def test_times_beyond_what_columns_hold_are_the_last_that_they_do() -> None:
    found = LogTimes().of_all([10**20 - 10**10, "0001-01-01T00:00:00.5Z"])
    assert found.dtype == np.int64
    assert found[0] > 2**62
    assert found[1] < -(2**62)
