"""Goal: two ways that tell of one gateway are found out by the ids of requests, and two gateways never are.

Method: ids told of by both ways in the orders in which they come, under a clock of numbers.
"""

from __future__ import annotations

import pytest

from sentinel.core.normalise.kong.twins import JUDGED_COUNT, SILENT_S, KongTwins, Twin


def ids(first: int, count: int, *, of: int = 0) -> list[bytes]:
    return [b"%d-%d" % (of, number) for number in range(first, first + count)]


def watched(count_max: int = 65_536) -> KongTwins:
    twins = KongTwins(count_max=count_max)
    twins.watch()
    return twins


def told(
    twins: KongTwins,
    *,
    seconds: int,
    per_s: int = 20,
    late_s: int = 1,
    shared_ratio: float = 1.0,
    every_route: bool = True,
    start_s: int = 0,
) -> int:
    """A gateway whose file comes at once and whose http-log `late_s` after it (negative: before it); how many were told twice."""
    twice = 0
    for second in range(start_s, start_s + seconds):
        shared = round(per_s * shared_ratio)
        ways = [("file", second - max(0, -late_s)), ("http", second - max(0, late_s))]
        for way, of_second in ways:
            if way == "file":
                requests = ids(per_s * of_second, per_s)
                twice += twins.by_file("main", requests, now_s=second)
            else:
                requests = ids(per_s * of_second, shared)
                twice += twins.by_http(requests, now_s=second, every_route=every_route).total()
    return twice


@pytest.mark.parametrize("late_s", [-2, 0, 1, 5])
def test_one_gateway_is_found_out_whichever_way_is_ahead(late_s: int) -> None:
    twins = watched()
    assert told(twins, seconds=120, late_s=late_s) > 2000
    assert twins.twin_of("main", now_s=120) is Twin.SAME


def test_two_gateways_are_apart() -> None:
    twins = watched()
    for second in range(60):
        twins.by_http(ids(20 * second, 20, of=1), now_s=second, every_route=True)
        assert twins.by_file("main", ids(20 * second, 20, of=2), now_s=second) == 0
    assert twins.twin_of("main", now_s=60) is Twin.APART


def test_a_few_requests_are_not_judged_by() -> None:
    twins = watched()
    requests = ids(0, JUDGED_COUNT - 1)
    twins.by_http(requests, now_s=0, every_route=True)
    assert twins.by_file("main", requests, now_s=0) == JUDGED_COUNT - 1
    assert twins.twin_of("main", now_s=0) is Twin.APART


@pytest.mark.parametrize(("shared_ratio", "every_route"), [(0.5, True), (1.0, False)])
def test_what_one_way_tells_alone_is_not_left_out(
    shared_ratio: float, *, every_route: bool
) -> None:
    """Left out, calls that only the file tells of would be lost."""
    twins = watched()
    told(twins, seconds=120, shared_ratio=shared_ratio, every_route=every_route)
    assert twins.twin_of("main", now_s=120) is Twin.IN_PART


def test_a_log_that_comes_late_tells_of_no_more_than_it_tells() -> None:
    """After a burst a fifth of its calls weighed as much as all of them, and the file was silenced with the others."""
    twins = watched()
    twins.by_http(ids(0, 1, of=1), now_s=0, every_route=True)
    for first in range(0, 12_000, 100):
        twins.by_file("main", ids(first, 100), now_s=0)
    twins.by_http(ids(0, 12_000)[::5], now_s=5, every_route=True)
    assert twins.twin_of("main", now_s=5) is Twin.IN_PART


def test_requests_of_before_a_silence_say_nothing_of_the_file_after_it() -> None:
    twins = watched()
    told(twins, seconds=60, shared_ratio=0.1)
    back_s = 60 + int(SILENT_S) + 1
    assert twins.twin_of("main", now_s=back_s) is Twin.APART
    twins.by_http(ids(0, 1, of=1), now_s=back_s, every_route=True)
    twins.by_file("main", ids(0, JUDGED_COUNT, of=2), now_s=back_s)
    # Kong had kept them in its queue meanwhile.
    twins.by_http(ids(0, 1200), now_s=back_s, every_route=True)
    assert twins.twin_of("main", now_s=back_s) is Twin.APART


def test_the_file_counts_again_when_http_log_falls_silent() -> None:
    twins = watched()
    told(twins, seconds=120)
    for second in range(120, 120 + int(SILENT_S) - 1):
        twins.by_file("main", ids(20 * second, 20), now_s=second)
    assert twins.twin_of("main", now_s=119 + SILENT_S + 1) is Twin.APART
    # And is found out again when it is back.
    told(twins, seconds=60, start_s=400)
    assert twins.twin_of("main", now_s=460) is Twin.SAME


def test_a_change_of_what_http_log_tells_shows_within_some_thousand_requests() -> None:
    twins = watched()
    told(twins, seconds=600)
    for second in range(600, 900):
        # Another gateway has http-log now.
        twins.by_http(ids(20 * second, 20, of=3), now_s=second, every_route=True)
        twins.by_file("main", ids(20 * second, 20), now_s=second)
    assert twins.twin_of("main", now_s=900) is Twin.APART


def test_what_is_remembered_has_a_bound_and_without_http_log_nothing_is() -> None:
    twins = watched(100)
    for second in range(50):
        twins.by_file("main", ids(20 * second, 20), now_s=second)
    assert len(twins._by_file) == 0
    for second in range(50):
        twins.by_http(ids(20 * second, 20, of=1), now_s=second, every_route=True)
        twins.by_file("main", ids(20 * second, 20, of=2), now_s=second)
    assert len(twins._by_file) == len(twins._by_http) == 100


def test_http_log_alone_remembers_nothing() -> None:
    """Ids of the last requests are ten megabytes, for nothing where no file may tell of them."""
    twins = KongTwins()
    twins.by_http(ids(0, 1000), now_s=0, every_route=True)
    assert len(twins._by_http) == 0
