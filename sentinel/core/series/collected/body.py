"""A window's content as plain data and back: names once in a table each, columns as lists, floats to the last bit."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import (
    CallExemplar,
    DistributionPoint,
    LogLine,
    MeasuredColumns,
    Missing,
    NumberPoint,
    Placed,
    PointStream,
    Reading,
    Scope,
    SeriesKey,
    Temporality,
)
from sentinel.core.series.calls import bucket_number_of, slot_of
from sentinel.core.series.collected.content import (
    LogName,
    PlaceOutcome,
    WindowContent,
    distributions_in_order,
    lines_in_order,
    measured_in_order,
    numbers_in_order,
    pages_in_order,
)
from sentinel.core.series.collected.counted import Counted, Name
from sentinel.core.series.collected.pages import Page
from sentinel.core.series.exemplars import NamedCalls
from sentinel.core.stats import log_linear

_INT64_MAX = 2**63 - 1
_COUNT_MAX = 2**53
"""What is counted in one part stays below, as what comes in does; so that no sum over collectors leaves 64 bits."""

Item = TypeVar("Item")


def plain_content(content: WindowContent) -> dict[str, Any]:
    """What JSON can hold; equal contents give equal data."""
    streams = _Table()
    plain = {
        "calls": _counted(content.calls),
        "complete": _counted(content.complete),
        "logged": _counted(content.logged),
        "events": _counted(content.events),
        "rated": [list(key) for key in sorted(content.rated)],
        "exemplars": [
            [list(place.scope), place.failed, _call(named.first), _call(named.slowest)]
            for place, named in sorted(content.exemplars.items())
        ],
        "numbers": [_number(point, streams) for point in content.numbers],
        "distributions": [_distribution(point, streams) for point in content.distributions],
        "pages": [_page(page, streams) for page in content.pages],
        "measured": [_measured(columns) for columns in content.measured],
        "logs": [[*name, count] for name, count in sorted(content.logs.items())],
        "lines": [_line(line) for line in content.lines],
        "heard": sorted(content.heard.items()),
        "late": sorted(content.late.items()),
        "late_places": [[list(scope), at] for scope, at in sorted(content.late_places.items())],
        "versions": [[*names, at] for names, at in sorted(content.versions.items())],
        "pushed": sorted(content.pushed),
        "shed": sorted(content.shed),
        "missing": sorted(
            [one.signal, sorted(one.services), one.since_ns] for one in content.missing
        ),
    }
    plain["digests"] = streams.entries
    return plain


def content_of(plain: Mapping[str, Any]) -> WindowContent:
    """The content behind plain data; ValueError, TypeError, KeyError or IndexError where there is none."""
    digests = [_text(one) for one in plain["digests"]]
    return WindowContent(
        calls=_counted_of(plain["calls"], _scope),
        complete=_counted_of(plain["complete"], _scope),
        logged=_counted_of(plain["logged"], _scope),
        events=_counted_of(plain["events"], _key),
        rated=frozenset(_key(one) for one in plain["rated"]),
        exemplars={
            PlaceOutcome(_scope(scope), _flag(failed)): NamedCalls(
                first=_call_of(first, _flag(failed)), slowest=_call_of(slowest, _flag(failed))
            )
            for scope, failed, first, slowest in plain["exemplars"]
        },
        numbers=numbers_in_order(_number_of(one, digests) for one in plain["numbers"]),
        distributions=distributions_in_order(
            _distribution_of(one, digests) for one in plain["distributions"]
        ),
        pages=pages_in_order(_page_of(one, digests) for one in plain["pages"]),
        measured=measured_in_order(_measured_of(one) for one in plain["measured"]),
        logs={
            LogName(_text(service), _text(text), _text(signal), _flag(is_gist)): _positive(count)
            for service, text, signal, is_gist, count in plain["logs"]
        },
        lines=lines_in_order(_line_of(one) for one in plain["lines"]),
        heard=_times(plain["heard"], _text),
        late=_times(plain["late"], _text),
        late_places=_times(plain["late_places"], _scope),
        versions={
            (_text(service), _text(version)): _whole(at)
            for service, version, at in plain["versions"]
        },
        pushed=frozenset(_text(one) for one in plain["pushed"]),
        shed=frozenset(_text(one) for one in plain["shed"]),
        missing=frozenset(
            Missing(
                signal=_text(signal),
                services=frozenset(_text(one) for one in services),
                since_ns=_whole(since),
            )
            for signal, services, since in plain["missing"]
        ),
    )


class _Table:
    """Texts that are said once and meant by their number."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self._number: dict[str, int] = {}

    def number(self, text: str) -> int:
        number = self._number.get(text)
        if number is None:
            number = self._number[text] = len(self.entries)
            self.entries.append(text)
        return number

    def stream(self, stream: PointStream) -> list[int]:
        return [self.number(str(part)) for part in stream]


def _stream_of(numbers: Sequence[int], digests: Sequence[str]) -> PointStream:
    if not numbers or len(numbers) > 5:
        msg = "a stream has one to five parts"
        raise ValueError(msg)
    return PointStream(digests[_whole(number)] for number in numbers)


def _counted(counted: Counted[Name]) -> list[Any]:
    steps = np.diff(counted.key, prepend=0)
    return [[list(name) for name in counted.names], steps.tolist(), counted.count.tolist()]


def _counted_of(plain: Sequence[Any], name_of: Callable[[Any], Name]) -> Counted[Name]:
    names_plain, steps_plain, counts = plain
    names = tuple(name_of(one) for one in names_plain)
    steps, count = _ints(steps_plain), _counts(counts)
    if len(steps) != len(count) or list(names) != sorted(set(names)):
        msg = "counts and names do not fit"
        raise ValueError(msg)
    # A step that is larger than all keys would be added up beyond 64 bits, and come back as another key.
    if len(steps) and (
        steps[0] < 0 or (steps[1:] <= 0).any() or slot_of(steps).max() >= len(names)
    ):
        msg = "counted keys ascend, and each has a name"
        raise ValueError(msg)
    key = np.cumsum(steps)
    if len(key) and (
        int(slot_of(key[-1:])[0]) >= len(names)
        or (count <= 0).any()
        or (bucket_number_of(key) > log_linear.UNTIMED).any()
    ):
        msg = "counted keys are named, and counted at least once"
        raise ValueError(msg)
    return Counted(names=names, key=key, count=count)


def _call(call: CallExemplar) -> list[Any]:
    return [call.trace_id, call.end_ns, _floats([call.duration_s])]


def _call_of(plain: Sequence[Any], failed: bool) -> CallExemplar:  # noqa: FBT001  # one private use
    trace_id, end_ns, duration = plain
    (duration_s,) = _floats_of(duration).tolist()
    return CallExemplar(
        scope_index=0,
        trace_id=_text(trace_id),
        end_ns=_whole(end_ns),
        duration_s=duration_s,
        error=failed,
    )


def _number(point: NumberPoint, streams: _Table) -> list[Any]:
    return [
        streams.stream(point.stream),
        list(point.scope),
        point.signal,
        int(point.temporality),
        point.monotonic,
        point.start_ns,
        point.time_ns,
        _floats([point.value]),
        point.yields,
    ]


def _number_of(plain: Sequence[Any], digests: Sequence[str]) -> NumberPoint:
    stream, scope, signal, temporality, monotonic, start_ns, time_ns, value, yields = plain
    (number,) = _floats_of(value).tolist()
    if not np.isfinite(number):
        msg = "a number is finite"
        raise ValueError(msg)
    return NumberPoint(
        stream=_stream_of(stream, digests),
        scope=_scope(scope),
        signal=_text(signal),
        temporality=Temporality(_whole(temporality)),
        monotonic=_flag(monotonic),
        start_ns=_whole(start_ns),
        time_ns=_whole(time_ns),
        value=number,
        yields=_flag(yields),
    )


_DISTRIBUTION_FLAGS = (
    "is_calls",
    "error",
    "times_only",
    "complete",
    "of_page",
    "yields",
    "bare",
    "pending",
)


def _distribution(point: DistributionPoint, streams: _Table) -> list[Any]:
    return [
        streams.stream(point.stream),
        list(point.scope),
        point.signal,
        int(point.temporality),
        point.start_ns,
        point.time_ns,
        point.bucket.tolist(),
        point.count.tolist(),
        _floats([point.total]),
        point.newer_signal,
        point.resolution,
        [getattr(point, name) for name in _DISTRIBUTION_FLAGS],
    ]


def _distribution_of(plain: Sequence[Any], digests: Sequence[str]) -> DistributionPoint:
    (
        stream,
        scope,
        signal,
        temporality,
        start_ns,
        time_ns,
        bucket,
        count,
        total,
        newer_signal,
        resolution,
        flags,
    ) = plain
    buckets, counts = _buckets(bucket), _counts(count)
    if len(buckets) != len(counts) or (np.diff(buckets) <= 0).any():
        msg = "a histogram's buckets are ascending, and have counts"
        raise ValueError(msg)
    (summed,) = _floats_of(total).tolist()
    if type(resolution) is not int:
        msg = "a resolution is an integer"
        raise TypeError(msg)
    return DistributionPoint(
        stream=_stream_of(stream, digests),
        scope=_scope(scope),
        signal=_text(signal),
        temporality=Temporality(_whole(temporality)),
        start_ns=_whole(start_ns),
        time_ns=_whole(time_ns),
        bucket=buckets,
        count=counts,
        total=summed,
        newer_signal=_text(newer_signal),
        resolution=resolution,
        **{name: _flag(flag) for name, flag in zip(_DISTRIBUTION_FLAGS, flags, strict=True)},
    )


_PLACED_FLAGS = ("error", "times_only", "complete", "yields", "bare")


def _page(page: Page, streams: _Table) -> list[Any]:
    return [
        page.target,
        page.time_ns,
        page.is_whole,
        [
            [
                streams.stream(identity),
                list(placed.scope),
                placed.signal,
                int(placed.reading),
                _floats([placed.scale]),
                placed.newer_signal,
                [getattr(placed, name) for name in _PLACED_FLAGS],
            ]
            for identity, placed in page.streams
        ],
        page.stream.tolist(),
        _floats(page.bound),
        page.bucket.tolist(),
        _floats(page.value),
        None if page.start_ns is None else page.start_ns.tolist(),
    ]


def _page_of(plain: Sequence[Any], digests: Sequence[str]) -> Page:
    target, time_ns, is_whole, streams, stream, bound, bucket, value, start_ns = plain
    page = Page(
        target=_text(target),
        time_ns=_whole(time_ns),
        is_whole=_flag(is_whole),
        streams=tuple(_placed_of(one, digests) for one in streams),
        stream=_ints(stream).astype(np.int32),
        bound=_floats_of(bound),
        bucket=_buckets(bucket, least=-1),
        value=_floats_of(value),
        start_ns=None if start_ns is None else _ints(start_ns),
    )
    columns: list[NDArray[Any]] = [page.stream, page.bound, page.bucket, page.value]
    if page.start_ns is not None:
        columns.append(page.start_ns)
    count = len(page.value)
    if any(len(column) != count for column in columns):
        msg = "a page's columns have one length"
        raise ValueError(msg)
    if (
        np.unique(page.stream).tolist() != list(range(len(page.streams)))
        or (np.diff(page.stream) < 0).any()
    ):
        msg = "a page's numbers lie together by their streams, and each stream has one"
        raise ValueError(msg)
    return page


def _placed_of(plain: Sequence[Any], digests: Sequence[str]) -> tuple[PointStream, Placed]:
    stream, scope, signal, reading, scale, newer_signal, flags = plain
    (factor,) = _floats_of(scale).tolist()
    placed = Placed(
        scope=_scope(scope),
        signal=_text(signal),
        reading=Reading(_whole(reading)),
        scale=factor,
        newer_signal=_text(newer_signal),
        **{name: _flag(flag) for name, flag in zip(_PLACED_FLAGS, flags, strict=True)},
    )
    return _stream_of(stream, digests), placed


def _measured(columns: MeasuredColumns) -> list[Any]:
    return [
        columns.source,
        columns.start_ns,
        columns.step_ns,
        [list(key) for key in columns.keys],
        _floats(columns.value),
        _floats(columns.weight),
    ]


def _measured_of(plain: Sequence[Any]) -> MeasuredColumns:
    source, start_ns, step_ns, keys, value, weight = plain
    columns = MeasuredColumns(
        source=_text(source),
        start_ns=_whole(start_ns),
        step_ns=_whole(step_ns),
        keys=tuple(_key(one) for one in keys),
        value=_floats_of(value),
        weight=_floats_of(weight),
    )
    if not len(columns.keys) == len(columns.value) == len(columns.weight):
        msg = "measured columns have one length"
        raise ValueError(msg)
    if not (np.isfinite(columns.value).all() and (columns.weight >= 0).all()):
        msg = "what is measured is finite, and its weight is not below 0"
        raise ValueError(msg)
    return columns


def _line(line: LogLine) -> list[Any]:
    return [
        line.service,
        line.time_ns,
        line.severity,
        line.event,
        line.body,
        line.trace_id,
        line.template,
        line.is_new,
    ]


def _line_of(plain: Sequence[Any]) -> LogLine:
    service, time_ns, severity, event, body, trace_id, template, is_new = plain
    return LogLine(
        service=_text(service),
        time_ns=_whole(time_ns),
        severity=_whole(severity),
        event=_text(event),
        body=_text(body),
        trace_id=_text(trace_id),
        template=_text(template),
        is_new=_flag(is_new),
    )


def _times(plain: Iterable[Any], name_of: Callable[[Any], Item]) -> dict[Item, int]:
    return {name_of(name): _whole(at_ns) for name, at_ns in plain}


def _scope(plain: Any) -> Scope:
    service, stage, route = plain
    return Scope(_text(service), _text(stage), _text(route))


def _key(plain: Any) -> SeriesKey:
    service, stage, route, signal = plain
    return SeriesKey(_text(service), _text(stage), _text(route), _text(signal))


def _text(value: object) -> str:
    if not isinstance(value, str):
        msg = "a text is expected"
        raise TypeError(msg)
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        msg = "true or false is expected"
        raise TypeError(msg)
    return value


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _INT64_MAX:
        msg = "an integer from 0 to 2**63 - 1 is expected"
        raise ValueError(msg)
    return value


def _positive(value: object) -> int:
    number = _whole(value)
    if not 0 < number < _COUNT_MAX:
        msg = "a count is above 0 and below 2**53"
        raise ValueError(msg)
    return number


def _ints(values: Sequence[Any]) -> NDArray[np.int64]:
    if not all(type(value) is int for value in values):
        msg = "integers are expected"
        raise TypeError(msg)
    return np.array(values, np.int64)


def _counts(values: Sequence[Any]) -> NDArray[np.int64]:
    """Counts, none below 0, and of all together fewer than there can be."""
    found = _ints(values)
    if any(not 0 <= value < _COUNT_MAX for value in values) or sum(values) >= _COUNT_MAX:
        msg = "counts are from 0 on, and together below 2**53"
        raise ValueError(msg)
    return found


def _buckets(values: Sequence[Any], *, least: int = 0) -> NDArray[np.int16]:
    found = _ints(values)
    if len(found) and not (least <= int(found.min()) and int(found.max()) <= log_linear.UNTIMED):
        msg = "a bucket's number is out of range"
        raise ValueError(msg)
    return found.astype(np.int16)


def _floats(values: Sequence[float] | NDArray[np.float64]) -> str:
    return b64encode(np.asarray(values, "<f8").tobytes()).decode()


def _floats_of(text: str) -> NDArray[np.float64]:
    return np.frombuffer(b64decode(text, validate=True), "<f8").astype(np.float64)
