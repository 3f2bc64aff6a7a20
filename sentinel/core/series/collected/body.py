"""A window's content as plain data and back: names once in a table each, columns as lists, floats to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sentinel.core.model import CallExemplar, LogLine, Missing
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
from sentinel.core.series.collected.plain_metrics import (
    distribution_of,
    measured_of,
    number_of,
    page_of,
    plain_distribution,
    plain_measured,
    plain_number,
    plain_page,
)
from sentinel.core.series.collected.plain_values import (
    TextTable,
    counts_of,
    flag_of,
    floats_of,
    ints_of,
    key_of,
    plain_floats,
    positive_of,
    scope_of,
    text_of,
    times_of,
    whole_of,
)
from sentinel.core.series.exemplars import NamedCalls
from sentinel.core.stats import log_linear


def plain_content(content: WindowContent) -> dict[str, Any]:
    """What JSON can hold; equal contents give equal data."""
    streams = TextTable()
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
        "numbers": [plain_number(point, streams) for point in content.numbers],
        "distributions": [plain_distribution(point, streams) for point in content.distributions],
        "pages": [plain_page(page, streams) for page in content.pages],
        "measured": [plain_measured(columns) for columns in content.measured],
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
    digests = [text_of(one) for one in plain["digests"]]
    return WindowContent(
        calls=_counted_of(plain["calls"], scope_of),
        complete=_counted_of(plain["complete"], scope_of),
        logged=_counted_of(plain["logged"], scope_of),
        events=_counted_of(plain["events"], key_of),
        rated=frozenset(key_of(one) for one in plain["rated"]),
        exemplars={
            PlaceOutcome(scope_of(scope), flag_of(failed)): NamedCalls(
                first=_call_of(first, flag_of(failed)), slowest=_call_of(slowest, flag_of(failed))
            )
            for scope, failed, first, slowest in plain["exemplars"]
        },
        numbers=numbers_in_order(number_of(one, digests) for one in plain["numbers"]),
        distributions=distributions_in_order(
            distribution_of(one, digests) for one in plain["distributions"]
        ),
        pages=pages_in_order(page_of(one, digests) for one in plain["pages"]),
        measured=measured_in_order(measured_of(one) for one in plain["measured"]),
        logs={
            LogName(
                text_of(service), text_of(text), text_of(signal), flag_of(is_gist)
            ): positive_of(count)
            for service, text, signal, is_gist, count in plain["logs"]
        },
        lines=lines_in_order(_line_of(one) for one in plain["lines"]),
        heard=times_of(plain["heard"], text_of),
        late=times_of(plain["late"], text_of),
        late_places=times_of(plain["late_places"], scope_of),
        versions={
            (text_of(service), text_of(version)): whole_of(at)
            for service, version, at in plain["versions"]
        },
        pushed=frozenset(text_of(one) for one in plain["pushed"]),
        shed=frozenset(text_of(one) for one in plain["shed"]),
        missing=frozenset(
            Missing(
                signal=text_of(signal),
                services=frozenset(text_of(one) for one in services),
                since_ns=whole_of(since),
            )
            for signal, services, since in plain["missing"]
        ),
    )


def _counted(counted: Counted[Name]) -> list[Any]:
    steps = np.diff(counted.key, prepend=0)
    return [[list(name) for name in counted.names], steps.tolist(), counted.count.tolist()]


def _counted_of(plain: Sequence[Any], name_of: Callable[[Any], Name]) -> Counted[Name]:
    names_plain, steps_plain, counts = plain
    names = tuple(name_of(one) for one in names_plain)
    steps, count = ints_of(steps_plain), counts_of(counts)
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
    return [call.trace_id, call.end_ns, plain_floats([call.duration_s])]


def _call_of(plain: Sequence[Any], failed: bool) -> CallExemplar:  # noqa: FBT001  # one private use
    trace_id, end_ns, duration = plain
    (duration_s,) = floats_of(duration).tolist()
    return CallExemplar(
        scope_index=0,
        trace_id=text_of(trace_id),
        end_ns=whole_of(end_ns),
        duration_s=duration_s,
        error=failed,
    )


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
        service=text_of(service),
        time_ns=whole_of(time_ns),
        severity=whole_of(severity),
        event=text_of(event),
        body=text_of(body),
        trace_id=text_of(trace_id),
        template=text_of(template),
        is_new=flag_of(is_new),
    )
