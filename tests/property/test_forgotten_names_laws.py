"""Goal: whatever is forgotten in whatever hour, every call, line and point is counted once and under its own name.

Method: hypothesis makes traffic of a few places about the turns of hours, which are as far apart as a name is kept, and windows
are closed as it comes, so that hours turn while windows are open that hold what was idle. What the closed
windows say is compared with sums by name, made as the data was sent.
"""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.model import LogRecord, SampleBatch, Scope
from sentinel.core.series import Aggregator, SeriesSettings
from sentinel.core.series.logs import log_key
from tests.support.batches import SECOND_NS, START_NS, at, calls
from tests.support.laws import examples

HOUR_S = 3600
FIRST_HOUR_S = HOUR_S - START_NS // SECOND_NS % HOUR_S
NAMES = ("steady", "nightly", "newcomer", "rare")
PLACES = {name: Scope(name, "edge", "/x") for name in NAMES}

moment = st.tuples(
    # Which hour it is about the beginning of, and how many seconds after that.
    st.integers(0, 3),
    st.integers(-25, 25),
    st.sampled_from(NAMES),
    # How far ahead of the clock it is stamped, so that several windows are open.
    st.sampled_from([0, 1, 9, 12, 40]),
    st.integers(1, 5),
    st.booleans(),
    st.sampled_from(["calls", "logs"]),
)


@settings(max_examples=examples(120, thorough=600), deadline=None)
@given(st.lists(moment, min_size=1, max_size=25).map(sorted))
def test_every_call_and_line_is_counted_once_under_its_own_name(
    moments: list[tuple[int, int, str, int, int, bool, str]],
) -> None:
    """A name idle for long was forgotten while an open window held its calls: those were counted as another's."""
    aggregator = Aggregator(
        SeriesSettings(idle_ns=HOUR_S * SECOND_NS, lateness_ns=5 * SECOND_NS),
        start_ns=at(FIRST_HOUR_S - 60),
    )
    sent: Counter[tuple[str, str]] = Counter()
    failed: Counter[str] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    found_failed: Counter[str] = Counter()

    def close(now_s: float) -> None:
        closed = aggregator.close(at(now_s))
        assert not closed.faults
        for window in closed.windows:
            assert len(set(window.keys)) == len(window.keys) == len(window.value)
            for key, value, weight in zip(
                window.keys, window.value.tolist(), window.weight.tolist(), strict=True
            ):
                if key.signal == "traffic":
                    found[key.service, "calls"] += round(weight)
                elif key.signal == "errors" and weight:
                    found_failed[key.service] += round(value * weight)
                elif key.stage == "logs":
                    found[key.service, "logs"] += round(weight)

    now_s = FIRST_HOUR_S - 30
    for hour, after_s, name, ahead_s, count, failing, what in moments:
        then_s, now_s = now_s, FIRST_HOUR_S + hour * HOUR_S + after_s
        if now_s - then_s > 60:
            # While nothing comes the windows are looked at all the same.
            close(now_s - 45)
        close(now_s)
        if what == "calls":
            batch = calls([(PLACES[name], now_s + ahead_s, 0.01, failing)] * count)
            failed[name] += count * failing
        else:
            record = LogRecord(
                service=name, time_ns=at(now_s + ahead_s), severity=9, event="", body="line"
            )
            assert log_key(name, "line", 9).stage == "logs"
            batch = SampleBatch(logs=(record,) * count, services=frozenset({name}))
        sent[name, what] += count
        aggregator.add(batch, at(now_s))
    for extra_s in range(1, 80):
        close(now_s + extra_s)
    counts = aggregator.take_counts()
    assert not counts.late
    assert not counts.dropped_windows["faulty"]
    assert +found == +sent
    assert +found_failed == +failed
