"""Goal: files of services are replayed as one sidecar would see them, whatever their rows look like.

Method: small files of two services through the command: silence of one and of all, times off by milliseconds, series with few
rows, time lines without end, a ceiling that holds pages back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from sentinel.cli.main import main

pytestmark = pytest.mark.timeout(120)

BEGIN_S = 1_790_000_040
HEADER = "timestamp,service,stage,route,signal,value,weight\n"


def written(path: Path, rows: Iterable[tuple[float, str, str, float]]) -> str:
    lines = (
        f"{at_s},{service},edge,GET /,{signal},{value},600\n"
        for at_s, service, signal, value in rows
    )
    path.write_text(HEADER + "".join(lines))
    return str(path)


def previewed(
    capsys: pytest.CaptureFixture[str], *args: str, code: int = 0
) -> tuple[list[dict[str, Any]], str]:
    assert main(["preview", "--csv", *args, "-o", "ndjson"]) == code
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def traffic(
    count: int, *services: str, skip: Callable[[int, str], bool] = lambda _at, _service: False
) -> list[tuple[float, str, str, float]]:
    return [
        (BEGIN_S + 60 * at, service, "traffic", 10.0 + at % 3)
        for at in range(count)
        for service in services
        if not skip(at, service)
    ]


def test_silence_of_all_services_is_one_ticket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name of all sources is that of no series, and the command ended with a traceback."""
    rows = traffic(120, "pay", "mail", skip=lambda at, _: 60 <= at < 70)
    told, _ = previewed(capsys, written(tmp_path / "a.csv", rows))
    assert [(one["series"], one["kind"], one["severity"]) for one in told] == [
        ("(all sources)", "blind", "ticket")
    ]
    assert BEGIN_S + 60 * 60 <= told[0]["start"] < told[0]["end"] <= BEGIN_S + 60 * 80


def test_a_source_that_is_silent_until_the_end_has_no_negative_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = traffic(120, "pay", "mail", skip=lambda at, service: at >= 60 and service == "mail")
    told, _ = previewed(capsys, written(tmp_path / "a.csv", rows))
    assert [one["series"] for one in told] == ["mail"]
    assert told[0]["end"] == BEGIN_S + 60 * 119 > told[0]["start"]


def test_rows_off_by_milliseconds_and_series_with_few_rows_are_of_one_sidecar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each series had a width of its own: 60.001 s, 60.002 s, two minutes; and none of them was a sidecar's."""
    rows = [
        (at_s + at % 7 / 1000 + len(service) / 100, service, signal, value)
        for at, (at_s, service, signal, value) in enumerate(
            traffic(
                120, "pay", "mail", skip=lambda at, service: 60 <= at < 70 and service == "pay"
            )
        )
    ]
    rows += [
        (at_s, service, "errors", 0.0) for at_s, service, _, _ in rows[::5] if service == "mail"
    ]
    told, _ = previewed(capsys, written(tmp_path / "a.csv", sorted(rows)))
    assert [(one["series"], one["kind"]) for one in told] == [("pay", "blind")]


def test_a_service_with_an_endless_time_line_is_left_out_and_the_others_are_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a calendar a gap of years ended the command before anything was replayed."""
    rows = traffic(120, "pay", "mail", skip=lambda at, service: 60 <= at < 70 and service == "pay")
    rows = [(0.0, "mail", "traffic", 1.0), *rows]
    told, err = previewed(
        capsys, written(tmp_path / "a.csv", rows), "--zone", "Europe/Berlin", code=1
    )
    assert "there is nothing from 1970-01-01 to" in err
    assert "service mail is left out" in err
    assert [(one["series"], one["kind"]) for one in told] == [("pay", "blind")]


def test_a_pipe_in_a_folder_is_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "a.csv", traffic(10, "pay"))
    os.mkfifo(tmp_path / "b.csv")
    _, err = previewed(capsys, str(tmp_path), code=1)
    assert "b.csv: is no regular file" in err


def test_what_a_ceiling_held_back_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = [f"s{number}" for number in range(8)]
    rows = [
        (BEGIN_S + 60 * at, service, "errors", 1.0 if 30 <= at < 60 else 0.0)
        for at in range(90)
        for service in services
    ]
    config = tmp_path / "sentinel.yaml"
    config.write_text("incidents: {page_count_max_per_minute: 2}\n")
    told, err = previewed(capsys, written(tmp_path / "a.csv", rows), "--config", str(config))
    # One minute after the other tells of two more.
    assert (
        sorted(one["series"].split()[0] for one in told if one["reason"] == "opened") == services
    )
    assert "a ceiling on pages was reached" in err
