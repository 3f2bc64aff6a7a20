"""CSV of one series: what is read, and what is refused with file and line.

Method: small files, plain and gzip, good and bad.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from sentinel.errors import InputTooLargeError, MalformedInputError
from sentinel.history import read_series


def write(path: Path, text: str | bytes) -> Path:
    content = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["s.csv", "s.csv.gz"])
def test_a_series_with_header_label_and_gaps(tmp_path: Path, name: str) -> None:
    text = "timestamp,value,label\n1700000000,1.5,0\n1700000300,,1\n1700000600,-2e3,x\n1700001800,nan\n"
    found = read_series(write(tmp_path / name, text))
    seconds = [1700000000, 1700000300, 1700000600, 1700001800]
    np.testing.assert_array_equal(found.times_ns, np.array(seconds) * 10**9)
    np.testing.assert_array_equal(found.values, [1.5, np.nan, -2000.0, np.nan])
    assert found.step_ns == 300 * 10**9


@pytest.mark.parametrize(
    "text",
    [
        "1700000000,1\n1700000001,2\n",
        "1700000000,1\r\n1700000001,2\r\n",
        "\ufefftime,value\n1700000000.0,1\n\n1700000001.0,2",
        'Timestamp, "Value"\n1700000000, 1\n1700000001,2,"a,b"\n',
        "1700000000.000000000,+1\n1700000001,2.\n",
    ],
)
def test_ways_to_write_the_same(tmp_path: Path, text: str) -> None:
    found = read_series(write(tmp_path / "s.csv", text))
    assert found.times_ns.tolist() == [1700000000 * 10**9, 1700000001 * 10**9]
    assert found.values.tolist() == [1.0, 2.0]


def test_calls_are_read_from_the_column_that_the_header_names(tmp_path: Path) -> None:
    text = "timestamp,value,label,weight\n1,0.5,0,2\n2,,1,\n3,0.1,0, 40\n"
    found = read_series(write(tmp_path / "s.csv.gz", text))
    assert found.weights is not None
    np.testing.assert_array_equal(found.weights, [2, np.nan, 40])
    np.testing.assert_array_equal(found.values, [0.5, np.nan, 0.1])
    assert read_series(write(tmp_path / "a.csv", "1,0.5,2\n2,0.1,40\n")).weights is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timestamp,value,weight\n1,2\n", "a row needs 3 fields"),
        ("timestamp,value,weight\n1,2,-3\n", "weight -3 is negative"),
        ("timestamp,value,weight\n1,2,many\n", "s.csv:2"),
        ("timestamp,value,weight,weight\n1,2,3,4\n", "names weight twice"),
    ],
)
def test_calls_that_are_none_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(MalformedInputError, match=message):
        read_series(write(tmp_path / "s.csv", text))


def test_the_label_is_never_looked_at(tmp_path: Path) -> None:
    plain = read_series(write(tmp_path / "a.csv", "timestamp,value\n1,2\n2,3\n"))
    labelled = read_series(write(tmp_path / "b.csv", 'timestamp,value,l\n1,2,"\x00,\n2,3,1,,,\n'))
    np.testing.assert_array_equal(plain.values, labelled.values)


def test_fractions_are_exact(tmp_path: Path) -> None:
    found = read_series(write(tmp_path / "s.csv", "1700000000.123456789,0.1\n"))
    assert found.times_ns.tolist() == [1700000000123456789]
    assert found.values.tolist() == [0.1]
    assert found.step_ns == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1700000002,fast", "'fast' is not a number"),
        ("1700000002,1_0", "not a number"),
        ("1700000002,\u0661\u0662", "not a number"),
        ("1700000002,0x10", "not a number"),
        ("1700000002,inf", "not a number"),
        ("1700000002,1e999", "out of range"),
        ("1700000002,1e39", "out of range"),
        ("1700000002", "needs a timestamp and a value"),
        ("yesterday,1", "not a number of Unix seconds"),
        ("-5,1", "not a number of Unix seconds"),
        ("1_700_000_002,1", "not a number of Unix seconds"),
        ("1.7e9,1", "not a number of Unix seconds"),
        ("1700000002000,1", "milliseconds"),
        ("7258118400,1", "lies after the year 2199"),
        ("9999999999.5,1", "lies after the year 2199"),
        ("99999999999,1", "lies after the year 2199"),
        ("1700000002000000000,1", "nanoseconds"),
        ("1700000001,1", "is there twice"),
        ("1700000000,1", "goes back in time"),
        ("1700000002,\x1b[2J", r"\\x1b"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, line: str, words: str) -> None:
    path = write(tmp_path / "s.csv", f"timestamp,value\n1700000000,1\n1700000001,2\n{line}\n")
    with pytest.raises(MalformedInputError, match=words) as caught:
        read_series(path)
    assert str(caught.value).startswith(f"{path}:4: ")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("s.csv", b"", "no rows"),
        ("s.csv", b"timestamp,value\n", "no rows"),
        ("s.csv", b"value,timestamp\n1,2\n", ":1: the header"),
        ("s.csv", b"when\n", ":1: the header"),
        ("s.csv", b"1,\xff\n", "not UTF-8"),
    ],
)
def test_files_that_are_no_series(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    with pytest.raises(MalformedInputError, match=words):
        read_series(write(tmp_path / name, content))


def test_a_broken_gzip_file(tmp_path: Path) -> None:
    path = tmp_path / "s.csv.gz"
    rows = "".join(f"{at},{at * 7 % 101}\n" for at in range(1000))
    path.write_bytes(gzip.compress(rows.encode())[:-20])
    with pytest.raises(MalformedInputError, match="not a whole gzip file"):
        read_series(path)
    path.write_bytes(b"1,2\n")
    with pytest.raises(MalformedInputError, match="not a whole gzip file"):
        read_series(path)


def test_bounds(tmp_path: Path) -> None:
    rows = "".join(f"{at},1\n" for at in range(11))
    with pytest.raises(InputTooLargeError, match="too many rows"):
        read_series(write(tmp_path / "s.csv", rows), row_count_max=10)
    with pytest.raises(InputTooLargeError, match="line is too long"):
        read_series(write(tmp_path / "t.csv.gz", b"1,2," + b"x" * 10_000_000))
    with pytest.raises(FileNotFoundError):
        read_series(tmp_path / "none.csv")
