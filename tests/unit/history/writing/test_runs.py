"""Goal: samples of remote write are those of the slices, and a series that ends is marked once, as a scrape would.

Method: slices made by hand; the whole way to a receiver that reads the wire by itself.
"""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from sentinel.core.model.verdict_slices import VerdictSlice
from sentinel.history.writing.messages import Protocol, Run
from sentinel.history.writing.remote_write import RemoteWriteSink
from sentinel.history.writing.runs import STALE, Runs
from sentinel.history.writing.samples import SampleNames
from sentinel.history.writing.sending import RemoteWriteEndpoint
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.http.client import ClientConfig
from tests.support.remote_write import STALE_BITS, write_receiver
from tests.support.slices import BEGIN_NS, HOUR_NS, NAN, STEP_NS, hour, many_keys

EVER = {"from_ns": 0, "to_ns": 2**62}


def scores(found: list[Run], service: str = "svc1") -> list[tuple[int, float | None]]:
    """Minutes since the beginning and value of the scores; None is a mark."""
    return [
        (
            (at_ms - BEGIN_NS // 10**6) // 60_000,
            None if struct.pack("<d", value) == struct.pack("<d", STALE) else value,
        )
        for run in found
        if run.metric == "sentinel_score" and dict(run.labels)["service"] == service
        for at_ms, value in zip(run.times_ms, run.values, strict=True)
    ]


def runs_of(*parts: VerdictSlice, from_ns: int = 0, to_ns: int = 2**62) -> list[Run]:
    runs = Runs(SampleNames(many_keys(3), {}), from_ns=from_ns, to_ns=to_ns)
    found: list[Run] = []
    for part in parts:
        found += runs.of(part)
        start_ns = (part.start_ns + part.step_ns) // HOUR_NS * HOUR_NS
        found += runs.ended(start_ns, start_ns + HOUR_NS)
    return found


def test_a_series_that_is_not_known_any_more_is_marked_once() -> None:
    found = runs_of(hour(0, {1: [1.0, 2.0, NAN, NAN, 3.0, 4.0]}))
    assert scores(found) == [(0, 1.0), (5, 2.0), (10, None), (20, 3.0), (25, 4.0), (30, None)]


def test_the_mark_is_also_where_one_slice_ends_and_the_next_begins() -> None:
    whole = [float(one) for one in range(12)]
    found = runs_of(hour(0, {1: whole, 2: whole}), hour(1, {1: [NAN, 7.0]}))
    assert scores(found)[-2:] == [(65, 7.0), (70, None)]
    assert (60, None) in scores(found)
    # The other one is in no part of the second hour at all.
    assert scores(found, "svc2")[-2:] == [(55, 11.0), (60, None)]
    # One that goes on is not marked, and one that ended hours ago is not told of in the past.
    found = runs_of(hour(0, {1: whole}), hour(1, {1: whole}))
    assert None not in [value for _, value in scores(found)[:24]]
    found = runs_of(hour(0, {1: whole}), hour(5, {2: whole}))
    assert [value for _, value in scores(found)] == whole


def test_from_an_instant_on_it_is_the_same_as_the_rest_of_the_whole() -> None:
    rng = np.random.default_rng(3)
    parts = []
    for number in range(4):
        values = {one: rng.normal(size=12) for one in (1, 2, 3)}
        for own in values.values():
            own[rng.random(12) < 0.4] = NAN
        parts.append(hour(number, {one: own.tolist() for one, own in values.items()}))
    for minutes in (60, 75, 120):
        from_ns = BEGIN_NS + minutes * 60 * 10**9
        first = minutes // 60 - 1
        late = runs_of(*parts[first:], from_ns=from_ns)
        for service in ("svc1", "svc2", "svc3"):
            whole = [one for one in scores(runs_of(*parts), service) if one[0] >= minutes]
            assert scores(late, service) == whole
        early = runs_of(*parts, to_ns=from_ns)
        assert scores(early) == [one for one in scores(runs_of(*parts)) if one[0] < minutes]


def test_numbers_are_those_of_a_page() -> None:
    part = hour(0, {1: [0.1, math.inf]})
    found = {run.metric: run.values for run in runs_of(part)}
    assert found["sentinel_score"][:2] == [0.100000001, math.inf]
    # A bound that does not exist has no sample: the series ends there.
    assert struct.pack("<d", found["sentinel_upper"][1]) == struct.pack("<d", STALE)


@pytest.mark.parametrize("protocol", Protocol)
@pytest.mark.parametrize("samples_a_request", [1, 7, 5000])
def test_what_arrives_is_what_was_sent_however_it_is_cut(
    protocol: Protocol, samples_a_request: int
) -> None:
    parts = [
        hour(0, {1: [1.0, NAN, 3.0], 3: [float(one) for one in range(12)]}),
        hour(0, {2: [5.0]}),
        hour(1, {2: [6.0, 7.0]}),
    ]
    with write_receiver() as receiver:
        endpoint = RemoteWriteEndpoint(
            receiver.url,
            ClientConfig(),
            SystemClock(),
            protocol=protocol,
            give_up_after_s=5.0,
            on_news=lambda _sentence: None,
        )
        runs = Runs(SampleNames(many_keys(3), {"job": "sentinel"}), **EVER)
        with RemoteWriteSink(endpoint, runs, samples_a_request=samples_a_request) as sink:
            for part in parts:
                sink.write(part)
            assert sink.done_ns == BEGIN_NS + HOUR_NS
            sink.finish()
            assert sink.done_ns == BEGIN_NS + 2 * HOUR_NS
        count = sum(map(len, receiver.series.values()))
        assert endpoint.sent.written == count
        assert endpoint.sent.requests == -(-count // samples_a_request) or samples_a_request > 1
        of = {
            dict(labels)["service"]: [
                ((at_ms * 10**6 - BEGIN_NS) // STEP_NS, bits == STALE_BITS)
                for at_ms, bits in samples
            ]
            for labels, samples in receiver.series.items()
            if ("__name__", "sentinel_lower") in labels and ("job", "sentinel") in labels
        }
    assert of == {
        "svc1": [(0, False), (1, True), (2, False), (3, True)],
        "svc2": [(0, False), (1, True), (12, False), (13, False), (14, True)],
        "svc3": [*((one, False) for one in range(12)), (12, True)],
    }
