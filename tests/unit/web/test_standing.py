"""Goal: the first minutes of a process read as one story, with data and without.

Method: what the page tells at each step, from values; no two of its sentences may contradict one another.
"""

from __future__ import annotations

import html
import math
import re
from dataclasses import replace

import numpy as np
import pytest

from sentinel.core.model import Reason
from sentinel.runtime.component import Health, HealthStatus
from sentinel.web import LatestVerdicts, Status
from sentinel.web.index_page import PAGES
from sentinel.web.standing import standing, word_of
from sentinel.web.status_page import Seen, status_page
from tests.support.latest_verdicts import START_NS, make_latest, many_keys

S = 10**9
STARTED = START_NS - 40 * S
OK = Health(status=HealthStatus.OK, sentence="Fine", since_ns=STARTED)
FAILS = Health(status=HealthStatus.FAILING, sentence="No target can be read", since_ns=STARTED)
DEGRADED = Health(status=HealthStatus.DEGRADED, sentence="Slow", since_ns=STARTED)
YOUNG = Status(
    version="1.2.3",
    mode="shadow",
    started_ns=STARTED,
    ready=True,
    components={"pipeline.ingest": OK},
    # As it is in a process that has just begun: what is older than the lateness is closed.
    watermark_ns=STARTED - 5 * S,
    first_decided_ns=STARTED + 25 * S,
)


def judged_as(*reasons: Reason) -> LatestVerdicts:
    """A window of as many series, each judged so."""
    count = len(reasons)
    scores = [0.3 if one is Reason.SCORED else math.nan for one in reasons]
    latest = make_latest(many_keys(count), [1.0] * count, scores)
    verdicts = replace(latest.verdicts, reason=np.array([reasons], np.int8))
    return replace(latest, verdicts=verdicts)


def text_of(status: Status, latest: LatestVerdicts | None, *, after_s: int) -> str:
    """What the page says, as text."""
    page = status_page(
        Seen(
            status=status,
            now_ns=STARTED + after_s * S,
            latest=latest,
            incidents=(),
            pages=PAGES,
            is_detailed=True,
        )
    )
    body = html.unescape(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]))
    return re.sub(r"\s+", " ", body)


def test_before_the_first_window_nothing_is_said_to_be_decided() -> None:
    """It said "Windows decided up to" an instant before its own start, beside "Waiting for the first window"."""
    text = text_of(YOUNG, None, after_s=4)
    assert "ready" in text
    assert "the first window is decided at 14:13:05 UTC" in text
    assert "Windows decided up to none yet" in text
    assert "Series none yet" in text
    assert "Baseline none in effect yet" in text
    assert "no fault" in text


def test_a_first_window_that_does_not_come_is_told() -> None:
    text = standing(YOUNG, None, now_ns=STARTED + 60 * S)
    assert "though the first was due at" in text
    assert "just started" not in text


def test_windows_without_series_are_no_data_and_not_learning() -> None:
    text = text_of(YOUNG, judged_as(), after_s=40)
    assert "nothing is heard" in text
    assert "Series 0" in text
    assert "learned" not in text
    assert "30 hours" not in text


@pytest.mark.parametrize(
    ("fit", "reasons", "said"),
    [
        (None, (Reason.NO_HISTORY,) * 2, "No baseline is in effect yet, so none is judged"),
        (1, (Reason.NO_SCALE,) * 2, "Of 2 it is known what to expect"),
        (1, (Reason.SCORED, Reason.NO_HISTORY), "The other 1 is judged by what is usual."),
        (1, (Reason.SCORED,) * 3, "All of them are known to the baseline, and judged"),
    ],
)
def test_what_is_heard_is_judged_as_far_as_its_past_is_known(
    fit: int | None, reasons: tuple[Reason, ...], said: str
) -> None:
    latest = judged_as(*reasons)
    text = text_of(replace(YOUNG, fit_version=fit), latest, after_s=60)
    assert said in text
    assert f"{len(reasons)} series are heard." in text
    # What is judged is not called learned in the facts, nor the other way round.
    is_learning = any(one is not Reason.SCORED for one in reasons)
    assert ("still being learned" in text) is is_learning
    assert ("Baseline none in effect yet" in text) is (fit is None)
    assert "Windows decided up to none yet" not in text


@pytest.mark.parametrize(
    ("part", "word"),
    [
        (OK, "ready"),
        (DEGRADED, "ready, with less than it should"),
        (FAILS, "not well"),
    ],
)
def test_the_word_is_that_of_the_worst_part(part: Health, word: str) -> None:
    """It said "ready", in green, over a part that failed."""
    status = replace(YOUNG, components={"pipeline.ingest": OK, "scrapers.postgres": part})
    assert word_of(status) == word
    text = text_of(status, None, after_s=4)
    assert f"Sentinel 1.2.3 {word} It learns" in text
    assert ("Not all of it works: scrapers.postgres fails" in text) is (part is FAILS)
    assert word_of(replace(status, ready=False)) == "not ready"


def test_what_is_not_ready_says_what_it_waits_for_and_nothing_else() -> None:
    status = replace(YOUNG, ready=False, waiting_for=("start-up has not ended",))
    assert standing(status, None, now_ns=STARTED) == "Not ready: start-up has not ended."


def test_a_collector_speaks_of_windows_that_others_decide() -> None:
    text = text_of(replace(YOUNG, role="collect"), None, after_s=4)
    assert "goes to the service's scorer" in text
    assert "Windows closed up to none yet" in text
    assert "Baseline" not in text
    later = replace(YOUNG, role="collect", watermark_ns=STARTED + 20 * S)
    assert "Windows closed up to 2026-" in text_of(later, None, after_s=40)
