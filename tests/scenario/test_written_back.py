"""Goal: what is written of the past is what `/metrics/series` showed at that time, to the last digit.

Method: the whole program in shadow mode on a manual clock, with a fit and a failing service; after every window its page
is read. Then its store is exported by the command, as files and by remote write, and every verdict of every page must be there, and no other.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from sentinel.cli.main import main
from sentinel.runtime.settings import Duration
from sentinel.runtime.verdict_metrics import SERIES_METRICS
from tests.support.clock import ManualClock
from tests.support.previewed import EDGE, POSTER, USUAL, in_shadow, told
from tests.support.remote_write import write_receiver
from tests.support.whole_app import Calls, Sidecar, sidecar, with_history

pytestmark = pytest.mark.timeout(120)

Page = dict[tuple[str, int], float]
"""Values by the series as it stands on a page, without empty labels, and by Unix seconds."""


async def pages_of(side: Sidecar, count: int, calls: Calls = EDGE) -> Page:
    """Live through windows, and read the page after each."""
    found: Page = {}
    async with aiohttp.ClientSession() as session:
        for _ in range(count):
            await told(side, 1, calls, POSTER)
            end_s = side.next_ns // 10**9
            async with session.get(f"{side.web_url}/metrics/series") as reply:
                text = await reply.text()
            for line in text.splitlines():
                series, _, value = line.rpartition(" ")
                if series.partition("{")[0] not in SERIES_METRICS or "horizon=" in series:
                    continue
                found[sorted_labels(series), end_s] = float(value)
    return found


def sorted_labels(series: str) -> str:
    name, _, rest = series.partition("{")
    labels = sorted(re.findall(r'[a-z_]+="(?:[^"\\]|\\.)*"', rest))
    return (
        f"{name}{{{','.join(one for one in labels if not one.endswith(chr(61) + chr(34) * 2))}}}"
    )


async def test_the_past_is_written_as_it_was_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with sidecar(in_shadow(tmp_path), clock=ManualClock()) as side:
        await with_history(side, USUAL, days=15)
        shown = await pages_of(side, 8)
        shown |= await pages_of(side, 4, replace(EDGE, failed_count=25))
        shown |= await pages_of(side, 3)
        begun_s = side.next_ns // 10**9 - 15 * 10
    scores = [value for (series, _), value in shown.items() if series.startswith("sentinel_score")]
    assert max(scores) > 1

    export = ["baseline", "export", "--store", str(tmp_path / "store"), "--windows", "decided"]
    export += ["--from", as_option(begun_s + 1), "-o", "json"]
    assert await asyncio.to_thread(main, [*export, "--openmetrics", str(tmp_path / "om")]) == 0
    report = json.loads(capsys.readouterr().out)
    found: Page = {}
    for file in (tmp_path / "om").iterdir():
        for line in file.read_text().splitlines():
            if not line.startswith("#"):
                series, value, at_s = line.rsplit(" ", 2)
                found[sorted_labels(series), int(at_s)] = float(value)
    assert found == shown
    assert report["samples"] == len(shown)

    with write_receiver() as receiver:
        assert await asyncio.to_thread(main, [*export, "--remote-write", receiver.url]) == 0
        sent = {
            (as_on_page(labels), at_ms // 1000): value
            for labels, samples in receiver.numbers().items()
            for at_ms, value in samples
        }
    assert sent == shown


def as_on_page(labels: tuple[tuple[str, str], ...]) -> str:
    rest = dict(labels)
    name = rest.pop("__name__")
    return f"{name}{{{','.join(f'{one}={json.dumps(value)}' for one, value in rest.items())}}}"


def as_option(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_a_backfills_past_and_what_was_decided_join_without_a_seam(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Windows of five minutes up to a full hour that has records, and what was shown from there on."""
    config = in_shadow(tmp_path)
    config = replace(config, series=replace(config.series, window=Duration(60), tick=Duration(5)))
    # Ten minutes before an hour is full.
    begin_ns = (1_790_000_000 // 3600 * 3600 - 600) * 10**9
    async with sidecar(config, clock=ManualClock(begin_ns)) as side:
        await with_history(side, USUAL, days=2)
        shown = await pages_of(side, 25)
    export = ["baseline", "export", "--store", str(tmp_path / "store"), "-o", "json"]
    with write_receiver() as receiver:
        code = await asyncio.to_thread(main, [*export, "--remote-write", receiver.url])
        said = capsys.readouterr().err
        assert code == 0, said
        sent = {
            (as_on_page(labels), at_ms // 1000): value
            for labels, samples in receiver.numbers().items()
            for at_ms, value in samples
        }
    assert "may differ" not in said
    first_s = min(at_s for _, at_s in shown)
    seam_s = (first_s // 3600 + 1) * 3600
    assert {one: value for one, value in sent.items() if one[1] >= seam_s} == {
        one: value for one, value in shown.items() if one[1] >= seam_s
    }
    before = sorted({at_s for _, at_s in sent if at_s < seam_s})
    assert set(np.diff(before).tolist()) == {300}
    assert (before[0], before[-1]) == (before[-1] - (len(before) - 1) * 300, seam_s - 300)
    assert len(before) > 2 * 288
    scored = {one for one in sent if one[0].startswith("sentinel_score")}
    assert {at_s >= seam_s for _, at_s in scored} == {False, True}
