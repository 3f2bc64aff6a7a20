"""Goal: requests reduced together come to the same windows as each alone, and none is joined that must not be.

Method: requests of OpenTelemetry's own messages through one decoder, reduced both ways, the windows compared.
"""

from __future__ import annotations

import random

import numpy as np
import pytest

from sentinel.core.model import SampleBatch
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.series import Aggregator, ClosedWindow, SeriesSettings
from sentinel.core.series.row_groups import groups_of, joined
from tests.support.otlp_messages import CLIENT, INTERNAL, NOW_NS, SECOND_NS, SERVER, span, traces

WINDOW_NS = 10 * SECOND_NS


def requests(seed: int, *, spread_s: int) -> list[bytes]:
    """Small requests with calls of several services, places, outcomes and windows, and with spans that are no call."""
    draw = random.Random(seed)
    number = 0
    bodies = []
    for _ in range(12):
        spans = []
        for _ in range(draw.randrange(0, 9)):
            number += 1
            spans.append(
                span(
                    kind=draw.choice((SERVER, SERVER, CLIENT, INTERNAL)),
                    number=number,
                    end_ns=NOW_NS - draw.randrange(spread_s * SECOND_NS),
                    duration_s=draw.randrange(1, 10**9) / 1e9,
                    error=draw.random() < 0.3,
                    http__request__method="GET",
                    http__route=draw.choice(("/a", "/b", "/c")),
                )
            )
        bodies.append(traces(*spans, service=draw.choice(("one", "two"))).SerializeToString())
    return bodies


def decoded(bodies: list[bytes], decoder: OtlpDecoder | None = None) -> list[SampleBatch]:
    decoder = decoder or OtlpDecoder()
    return [
        decoder.decode("traces", "application/x-protobuf", body, now_ns=NOW_NS) for body in bodies
    ]


def windows_of(batches: list[SampleBatch]) -> tuple[ClosedWindow, ...]:
    aggregator = Aggregator(SeriesSettings(window_ns=WINDOW_NS), start_ns=NOW_NS - 60 * SECOND_NS)
    for batch in batches:
        aggregator.add(batch, NOW_NS)
    return aggregator.close(NOW_NS + 60 * SECOND_NS).windows


def slowest(window: ClosedWindow) -> set[tuple[object, ...]]:
    """Of each place and outcome the slowest call that the window names."""
    found: dict[object, tuple[float, str]] = {}
    for each in window.exemplars:
        call = (each.duration_s, each.trace_id)
        found[each.key] = max(found.get(each.key, call), call)
    return set(found.items())


@pytest.mark.parametrize("spread_s", [5, 25])
@pytest.mark.parametrize("seed", range(6))
def test_calls_reduced_together_come_to_the_same_windows(seed: int, spread_s: int) -> None:
    bodies = requests(seed, spread_s=spread_s)
    alone = windows_of(decoded(bodies))
    (group,) = groups_of([(b, NOW_NS) for b in decoded(bodies) if b.call_rows is not None])
    rest = [b for b in decoded(bodies) if b.call_rows is None]
    together = windows_of([joined([b for b, _ in group], now_ns=NOW_NS), *rest])
    assert len(alone) == len(together) > 0
    counted = 0.0
    for one, other in zip(alone, together, strict=True):
        order = [other.keys.index(key) for key in one.keys]
        assert sorted(one.keys) == sorted(other.keys)
        np.testing.assert_array_equal(one.value, other.value[order])
        np.testing.assert_array_equal(one.weight, other.weight[order])
        np.testing.assert_array_equal(one.heard, other.heard[order])
        counted += float(np.nansum(one.weight))
        if spread_s == 5:  # all in one window; those of several share what was named lately
            assert slowest(one) == slowest(other)
        if one.histograms is None or other.histograms is None:
            assert one.histograms is other.histograms
            continue
        assert sorted(one.histograms.count.tolist()) == sorted(other.histograms.count.tolist())
    assert counted > 0


def test_only_rows_of_one_decoder_and_one_second_are_joined() -> None:
    body = traces(span(number=1)).SerializeToString()
    first, second = decoded([body, body])
    (other,) = decoded([body])
    (nothing,) = decoded([b""])
    groups = groups_of(
        [
            (first, NOW_NS),
            (nothing, NOW_NS),
            (other, NOW_NS),
            (second, NOW_NS + 1),
            (second, NOW_NS + SECOND_NS),
            (first.in_columns(now_ns=NOW_NS), NOW_NS),
        ]
    )
    assert [len(group) for group in groups] == [2, 1, 1, 1, 1]
    assert [batch for batch, _ in groups[0]] == [first, second]


def test_rows_outlive_the_classes_of_their_decoder() -> None:
    """A decoder whose table is full begins another; what waits to be reduced must not be counted elsewhere."""
    decoder = OtlpDecoder()
    (before,) = decoded(
        [
            traces(
                span(number=1, http__request__method="GET", http__route="/before")
            ).SerializeToString()
        ],
        decoder,
    )
    after = before
    for start in range(2, 12_002, 3000):
        names = ["".join(chr(97 + int(d)) for d in str(n)) for n in range(start, start + 3000)]
        many = [span(name, kind=CLIENT, number=start + at) for at, name in enumerate(names)]
        (after,) = decoded([traces(*many).SerializeToString()], decoder)
    assert before.call_rows is not None
    assert after.call_rows is not None
    assert before.call_rows.table is not after.call_rows.table
    calls = before.in_columns(now_ns=NOW_NS).calls
    assert calls is not None
    assert [scope.route for scope in calls.scopes] == ["GET /before"]
