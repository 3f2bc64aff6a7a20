"""Goal: several collectors and a scorer see to the last bit what one process would that hears all, and parts merge in any order.

Method: hypothesis makes batches of every kind of sample and deals them out to one to four collectors. Their parts go over the wire,
are merged, and every series of every window is compared with an aggregator that was given all batches. Merging is
compared with itself in other orders and groupings by the bytes it is written as, and damage to those bytes is refused.
"""

from __future__ import annotations

import zlib
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.core.model import (
    CallColumns,
    CallExemplar,
    DistributionPoint,
    EventColumns,
    LoggedCall,
    LogRecord,
    NumberPoint,
    PointStream,
    SampleBatch,
    Scope,
    SeriesKey,
    Temporality,
)
from sentinel.core.normalise.prometheus import DefaultPlacing, MetricsParser
from sentinel.core.series import SeriesSettings
from sentinel.core.series.collected import (
    CollectedWindow,
    Merging,
    WindowContent,
    decode,
    encode,
    merged,
)
from sentinel.core.stats import log_linear
from sentinel.errors import InputError, MalformedInputError
from tests.support.batches import EDGE, START_NS, at, calls
from tests.support.collected import (
    Timed,
    evidence,
    histograms,
    in_one_process,
    merged_windows,
    parts_of,
    seen,
)
from tests.support.laws import examples
from tests.support.scraped import RULES, TEXT

WINDOWS = 5
SERVICES = ("pay", "shop")
SCOPES = [Scope(service, "edge", route) for service in SERVICES for route in ("/x", "/y")]

seconds = st.floats(0, 10 * WINDOWS - 0.001)
trace_ids = st.integers(1, 2**64).map(lambda number: f"{number:032x}")


@st.composite
def call_batches(draw: st.DrawFn) -> Timed:
    """Spans, or the calls of a complete log, with exemplars."""
    come_s = draw(seconds)
    count = draw(st.integers(1, 8))
    scope_index = np.array([draw(st.integers(0, 3)) for _ in range(count)], np.int32)
    # Some are late, some of the window before.
    ends = [max(0.0, come_s - draw(st.floats(0, 14))) for _ in range(count)]
    took = [draw(st.floats(0, 50)) for _ in range(count)]
    error = [draw(st.booleans()) for _ in range(count)]
    exemplars = tuple(
        CallExemplar(
            scope_index=int(scope_index[row]),
            trace_id=draw(trace_ids),
            end_ns=at(ends[row]),
            duration_s=took[row],
            error=error[row],
        )
        for row in range(draw(st.integers(0, count)))
    )
    complete = draw(st.integers(0, 9)) == 0
    batch = SampleBatch(
        calls=CallColumns(
            scopes=tuple(SCOPES),
            scope_index=scope_index,
            end_ns=np.array([at(one) for one in ends], np.int64),
            duration_s=np.array(took),
            error=np.array(error, np.bool_),
            exemplars=exemplars,
            complete=complete,
        ),
        services=frozenset({"pay"}),
    )
    return come_s, batch


@st.composite
def point_batches(draw: st.DrawFn) -> Timed:
    """A number and a histogram of streams that any collector may hear of."""
    come_s = draw(seconds)
    name = draw(st.sampled_from(("jobs", "depth")))
    stream = draw(st.sampled_from("abc"))
    scope = Scope(draw(st.sampled_from(SERVICES)), "metrics", "all")
    temporality = Temporality.GAUGE if name == "depth" else Temporality.CUMULATIVE
    point = NumberPoint(
        stream=PointStream((stream, scope.service, name, "")),
        scope=scope,
        signal=name,
        temporality=temporality,
        monotonic=name == "jobs",
        start_ns=START_NS - 10**9,
        time_ns=at(come_s),
        value=draw(st.floats(0, 1e9)),
    )
    buckets, counts = log_linear.counted(
        log_linear.bucket_of(np.array(draw(st.lists(st.floats(0, 9), max_size=5)), np.float64))
    )
    is_calls, failed = draw(st.booleans()), draw(st.booleans())
    distribution = DistributionPoint(
        stream=PointStream((stream, scope.service, "took", "s", is_calls, failed)),
        scope=SCOPES[0] if is_calls else scope,
        signal="took",
        temporality=draw(st.sampled_from((Temporality.DELTA, Temporality.CUMULATIVE))),
        start_ns=at(come_s) - 10**9,
        time_ns=at(come_s),
        bucket=buckets,
        count=counts,
        total=draw(st.sampled_from((1.5, float("nan")))),
        is_calls=is_calls,
        error=failed,
    )
    batch = SampleBatch(
        numbers=(point,), distributions=(distribution,), services=frozenset({scope.service})
    )
    return come_s, batch


@st.composite
def log_batches(draw: st.DrawFn) -> Timed:
    """Records with an event, or with a text; some tell of a call."""
    come_s = draw(seconds)
    event = draw(st.sampled_from(("", "", "started", "other")))
    record = LogRecord(
        service=draw(st.sampled_from(SERVICES)),
        time_ns=at(come_s),
        severity=draw(st.sampled_from((9, 17, 21))),
        event=event,
        body=draw(st.sampled_from(("cannot reach the bank", "disk is full"))),
        trace_id=draw(trace_ids),
        call=draw(
            st.none()
            | st.builds(
                LoggedCall, st.sampled_from(SCOPES[2:]), st.integers(0, 2000), st.booleans()
            )
        ),
        gist="" if event else "cannot reach the bank",
    )
    return come_s, SampleBatch(logs=(record,), services=frozenset({record.service}))


@st.composite
def event_batches(draw: st.DrawFn) -> Timed:
    """Events with and without a value, and a series that nothing happened to."""
    come_s = draw(seconds)
    keys = tuple(
        SeriesKey("gate", "gateway", "all", signal)
        for signal in ("limited_per_s", "waited_s", "quiet")
    )
    events = EventColumns(
        keys=keys,
        key_index=np.array([0, 1], np.int32),
        time_ns=np.array([at(come_s)] * 2, np.int64),
        value=np.array([np.nan, draw(st.floats(0, 9))]),
    )
    return come_s, SampleBatch(events=events, services=frozenset({"gate"}))


# Of two that say different things of one stream at one instant, arrival decides which counts; so each has its instant.
batches = st.lists(
    st.one_of(call_batches(), point_batches(), log_batches(), event_batches()),
    max_size=30,
    unique_by=lambda one: at(one[0]),
)
dealt = st.lists(st.integers(0, 3), min_size=30, max_size=30)


@settings(max_examples=examples(25, thorough=2000), deadline=None)
@given(batches, dealt, st.integers(1, 4))
def test_collectors_and_a_scorer_see_what_one_process_sees(
    made: list[Timed], whose: list[int], collectors: int
) -> None:
    made = sorted(made, key=lambda one: one[0])
    expected = in_one_process(made, windows=WINDOWS)
    parts = parts_of(made, windows=WINDOWS, collectors=collectors, whose=whose[: len(made)])
    found = merged_windows(parts, windows=WINDOWS)
    assert seen(found) == seen(expected)
    assert [histograms(one) for one in found] == [histograms(one) for one in expected]
    assert evidence(found) == evidence(expected)


def pages_of(number: int, jobs: list[int]) -> list[Timed]:
    """A target's pages, ten seconds apart."""
    parser = MetricsParser(f"pod-{number}", DefaultPlacing(RULES), service="shop")
    made = []
    for at_s, count in enumerate(jobs):
        text = (
            f"# TYPE jobs_total counter\njobs_total {count}\n# TYPE depth gauge\ndepth {count % 7}.25\n"
            "# TYPE took_seconds histogram\n"
            f'took_seconds_bucket{{le="0.5"}} {count}\ntook_seconds_bucket{{le="+Inf"}} {2 * count}\n'
            f"took_seconds_count {2 * count}\ntook_seconds_sum {count}.5\n"
        )
        come_s = 10.0 * at_s + 3 + number
        batch = parser.parse(text.encode(), content_type=TEXT, time_ns=at(come_s)).batch
        made.append((come_s, batch))
    return made


@settings(max_examples=examples(5, thorough=200), deadline=None)
@given(st.lists(st.lists(st.integers(0, 1000), min_size=5, max_size=5), min_size=3, max_size=3))
def test_pages_of_several_pods_are_what_they_are_in_one_process(jobs: list[list[int]]) -> None:
    made = [one for number, own in enumerate(jobs) for one in pages_of(number, own)]
    made.sort(key=lambda one: one[0])
    whose = [int(one[0]) % 10 - 3 for one in made]
    expected = in_one_process(made, windows=WINDOWS)
    parts = parts_of(made, windows=WINDOWS, collectors=3, whose=whose)
    assert seen(merged_windows(parts, windows=WINDOWS)) == seen(expected)
    assert any(key.signal == "jobs_total" for _, key in seen(expected)), "pages were read"


def written(content: WindowContent, part: CollectedWindow) -> bytes:
    return encode(replace(part, content=content)).body


@settings(max_examples=examples(15, thorough=1000), deadline=None)
@given(batches, dealt, st.permutations(range(3)))
def test_merging_is_associative_and_commutative(
    made: list[Timed], whose: list[int], order: list[int]
) -> None:
    parts = parts_of(made, windows=1, collectors=3, whose=whose[: len(made)])
    one, two, three = (parts[at].content for at in order)
    whole = written(merged([part.content for part in parts]), parts[0])
    assert written(merged([merged([one, two]), three]), parts[0]) == whole
    assert written(merged([one, merged([three, two])]), parts[0]) == whole


@settings(max_examples=examples(15, thorough=1000), deadline=None)
@given(batches)
def test_what_is_written_is_read_again(made: list[Timed]) -> None:
    for part in parts_of(made, windows=2, collectors=1, whose=[0] * len(made)):
        body = encode(part).body
        assert encode(decode(body)).body == body
        assert decode(body).identity == part.identity


@settings(max_examples=examples(20, thorough=3000), deadline=None)
@given(batches, st.data())
def test_damaged_parts_are_refused(made: list[Timed], data: st.DataObject) -> None:
    (part,) = parts_of(made, windows=1, collectors=1, whose=[0] * len(made))
    body = bytearray(encode(part).body)
    place = data.draw(st.integers(0, len(body) - 1).filter(lambda at_byte: not 5 <= at_byte < 8))
    body[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(InputError):
        decode(bytes(body))
    with pytest.raises(InputError):
        decode(bytes(body[: data.draw(st.integers(0, len(body) - 1))]))


ODD: tuple[object, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    2**31,
    2**53,
    2**62,
    2**63 - 1,
    2**63,
    1.5,
    "",
    "x",
    "\x00",
    [],
    [0],
    [[]],
    {},
    "AAAAAAAA8H8=",
)


def spots(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in plain data."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, one in value.items():
            found += spots(one, (*path, key))
    elif isinstance(value, list):
        for at_index, one in enumerate(value):
            found += spots(one, (*path, at_index))
    return found


def put(value: Any, path: tuple[Any, ...], new: object) -> None:  # plain data
    for step in path[:-1]:
        value = value[step]
    value[path[-1]] = new


def page_and(made: list[Timed]) -> list[Timed]:
    return sorted([*made, *pages_of(0, [3, 5, 9, 9, 9])[:1]], key=lambda one: one[0])


@settings(max_examples=examples(60, thorough=20_000), deadline=None)
@given(batches, st.data())
def test_odd_parts_are_refused_or_cost_nothing(made: list[Timed], data: st.DataObject) -> None:
    """A collector is let in by its token; what is wrong with it must not cost the windows of all others."""
    made = page_and(made)
    (part,) = parts_of(made, windows=1, collectors=1, whose=[0] * len(made))
    body = encode(part).body
    document = orjson.loads(zlib.decompress(body[12:]))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(spots(document["content"])))
        # A copy: one list put into itself would have no end.
        put(document["content"], path, deepcopy(data.draw(st.sampled_from(ODD))))
    packed = zlib.compress(orjson.dumps(document))
    try:
        odd = decode(body[:8] + zlib.crc32(packed).to_bytes(4, "little") + packed)
    except InputError:
        return
    merging = Merging(SeriesSettings())
    merging.begin_after(START_NS)
    for start_ns in (START_NS, START_NS + 10 * 10**9):
        closed = merging.merge(start_ns, [replace(odd, start_ns=start_ns), part])
        assert not closed.faults, closed.faults
        assert all((window.weight >= 0).all() for window in closed.windows)
    assert encode(odd).body


@pytest.mark.parametrize(
    "column", [1, 2], ids=["keys that add up beyond 64 bits", "counts that do"]
)
def test_numbers_that_would_leave_64_bits_are_refused(column: int) -> None:
    """They came back negative: the merge of every collector's window failed, or had traffic below nothing."""
    batch = calls([(EDGE, 1.0, 0.1, False), (EDGE, 2.0, 0.2, False), (EDGE, 2.5, 0.3, False)])
    (part,) = parts_of([(3.0, batch)], windows=1, collectors=1, whose=[0])
    body = encode(part).body
    document = orjson.loads(zlib.decompress(body[12:]))
    document["content"]["calls"][column][1] = 2**63 - 1
    packed = zlib.compress(orjson.dumps(document))
    with pytest.raises(MalformedInputError):
        decode(body[:8] + zlib.crc32(packed).to_bytes(4, "little") + packed)
