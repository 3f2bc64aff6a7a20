"""Goal: each kind of scalar is read as written or refused with what to write instead.

Method: texts through `parse_scalar`, the traps of YAML 1.1 one by one; a property that what is shown reads back.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.runtime.config.shapes import shape_of
from sentinel.runtime.config.text import Origin, Style, TextNode
from sentinel.runtime.config.types import SCALARS, parse_scalar
from sentinel.runtime.nearest import hint_for, nearest
from sentinel.runtime.settings import ByteSize, Duration, Ratio, Zone


def read(kind: object, text: str, style: Style = Style.PLAIN) -> object:
    return parse_scalar(SCALARS[kind], TextNode(text=text, style=style, origin=Origin()))


def refusal(kind: object, text: str, style: Style = Style.PLAIN) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        read(kind, text, style)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (bool, "true", True),
        (bool, "false", False),
        (int, "0", 0),
        (int, "-12", -12),
        (float, "1.5", 1.5),
        (float, "1e-3", 0.001),
        (float, "2", 2.0),
        (str, "edge", "edge"),
        (str, "127.0.0.1", "127.0.0.1"),
        (Path, "/var/lib", Path("/var/lib")),
        (Duration, "250ms", 0.25),
        (Duration, "300ms", 0.3),
        (Duration, "1.5h", 5400.0),
        (Duration, "4w", 2_419_200.0),
        (ByteSize, "512B", 512),
        (ByteSize, "4MiB", 4 * 2**20),
        (ByteSize, "0.5KiB", 512),
        (Ratio, "0.25", 0.25),
        (Ratio, "1", 1.0),
        (Zone, "Europe/Berlin", "Europe/Berlin"),
        (Zone, "UTC", "UTC"),
    ],
)
def test_reads_what_is_written(kind: object, text: str, value: object) -> None:
    assert read(kind, text) == value
    assert read(kind, text, Style.ENVIRONMENT) == value


@pytest.mark.parametrize("text", ["yes", "Yes", "on", "True", "TRUE", "y"])
def test_only_true_is_true(text: str) -> None:
    assert refusal(bool, text) == f"'{text}' is not true or false: write true"


@pytest.mark.parametrize("text", ["no", "NO", "off", "False", "FALSE", "n"])
def test_only_false_is_false(text: str) -> None:
    """Norway's country code is the best known victim: `no` loads as False."""
    assert refusal(bool, text) == f"'{text}' is not true or false: write false"


@pytest.mark.parametrize(
    ("kind", "text", "advice"),
    [
        (int, "010", "write 10, without the leading zero"),
        (int, "0_1", "write 1, without the leading zero"),
        (int, "1:30", "base 60 to some YAML readers"),
        (int, "0x1F", "is not decimal: write 31"),
        (int, "0o17", "is not decimal: write 15"),
        (int, "0b101", "is not decimal: write 5"),
        (int, "10_000", "has separators: write 10000"),
        (int, "10,000", "has separators: write 10000"),
        (int, "+5", "has a plus sign: write 5"),
        (int, "1e3", "is not a whole number"),
        (int, "1.0", "is not a whole number"),
        (int, "ten", "is not a whole number"),
        (int, "٣", "is not a whole number"),
        (int, "9" * 40, "is not a whole number"),
        (float, ".5", "has no leading digit: write 0.5"),
        (float, "-.5", "has no leading digit: write -0.5"),
        (float, ".inf", "is not a finite number"),
        (float, ".NaN", "is not a finite number"),
        (float, "nan", "is not a finite number"),
        (float, "1e999", "is too large"),
        (float, "007.5", "is not a number"),
        (Duration, "5", "has no unit: write 5s for seconds"),
        (Duration, "5min", "unknown unit: write 5m"),
        (Duration, "5 m", "has a space: write 5m"),
        (Duration, "1:30", "write it with a unit, such as 90m"),
        (Duration, "-5s", "is not a duration"),
        (Duration, "soon", "is not a duration"),
        (ByteSize, "4096", "has no unit: write 4096B for bytes"),
        (ByteSize, "4MB", "unknown unit: write 4MiB"),
        (ByteSize, "4m", "unknown unit: write 4MiB"),
        (ByteSize, "4x", "the units are B, KiB, MiB, GiB, TiB"),
        (ByteSize, "0.3B", "is not a whole number of bytes"),
        (int, "96a0", "is not a whole number: write it in digits"),
        (Duration, "5 seconds", "has an unknown unit: write 5s"),
        (Duration, "10secs", "has an unknown unit: write 10s"),
        (Duration, "1.5 hours", "has an unknown unit: write 1.5h"),
        (Duration, "2hrs", "has an unknown unit: write 2h"),
        (Duration, "3 min", "has an unknown unit: write 3m"),
        (Duration, "3M", "has an unknown unit: write 3m"),
        (Duration, "250 millis", "has an unknown unit: write 250ms"),
        (Duration, "250MS", "has an unknown unit: write 250ms"),
        (Duration, "1 month", "has an unknown unit: the units are ms, s, m, h, d, w"),
        (Duration, "5 s", "has a space: write 5s"),
        (ByteSize, "2 gigabytes", "has an unknown unit: write 2GiB"),
        (ByteSize, "2 GB", "has an unknown unit: write 2GiB"),
        (Ratio, "5%", "is a percentage: write the share, 0.05"),
        (Ratio, "100 %", "is a percentage: write the share, 1"),
        (Ratio, "1.01", "must be between 0 and 1"),
        (Ratio, "-0.1", "must be between 0 and 1"),
        (Zone, "Europe/Berln", "is not an IANA time zone: did you mean Europe/Berlin?"),
        (Zone, "europe/berlin2", "is not an IANA time zone"),
        (Zone, "localtime", "is not an IANA time zone"),
        (Zone, "../../etc/passwd", "is not an IANA time zone"),
        (Zone, "Europe", "is not an IANA time zone"),
        (int, "1_" * 100_000, "is too long"),
        (Duration, "1" * 100_000 + "s", "is too long"),
    ],
)
def test_trap_says_what_to_write(kind: object, text: str, advice: str) -> None:
    assert advice in refusal(kind, text)


@pytest.mark.parametrize("kind", [bool, int, float, Ratio])
def test_numbers_and_booleans_in_quotes_are_text(kind: object) -> None:
    assert "without quotes" in refusal(kind, "1", Style.QUOTED)


@pytest.mark.parametrize(
    "text",
    ["no", "true", "null", "~", "12", "010", "1:30", "1e3", "0x1f", "1_000", ".5", "2026-01-01"],
)
def test_text_that_other_readers_take_for_something_else_needs_quotes(text: str) -> None:
    assert "put it in quotes" in refusal(str, text)
    assert read(str, text, Style.QUOTED) == text
    assert read(str, text, Style.ENVIRONMENT) == text


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False))
def test_a_shown_duration_reads_back_to_the_last_bit(value: float) -> None:
    value = round(value, 9)
    shown = SCALARS[Duration].show(value)
    assert read(Duration, str(shown)) == value


@given(st.integers(min_value=0, max_value=10**15 - 1))
def test_a_shown_size_reads_back(value: int) -> None:
    assert read(ByteSize, str(SCALARS[ByteSize].show(value))) == value


def test_nearest_counts_slips_of_the_keyboard() -> None:
    known = ["mode", "more", "window", "lateness", "otlp_http", "otlp_grpc"]
    assert nearest("mdoe", known) == "mode"
    assert nearest("moe", known) in ("mode", "more")
    assert nearest("OTLP-HTTP", known) == "otlp_http"
    assert nearest("otlp_gprc", known) == "otlp_grpc"
    assert nearest("entirely_else", known) is None
    assert nearest("x" * 100_000, known) is None
    assert hint_for("entirely_else", known) == ""


def test_a_type_the_loader_cannot_bind_is_named() -> None:
    with pytest.raises(TypeError, match=r"Config\.x has the type"):
        shape_of(set[int], where="Config.x")
