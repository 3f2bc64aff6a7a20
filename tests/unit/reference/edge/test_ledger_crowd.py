"""Goal: how many tenants ask and are refused is known, of the last minute and of a bounded number. Method: times are given."""

from __future__ import annotations

from sentinel.reference.ledger.edge.limits.crowd import Crowd

SECOND = 1_000_000_000


def test_each_tenant_counts_once_for_a_minute() -> None:
    crowd = Crowd()
    assert crowd.counts(0) == (0, 0)
    for second in range(3):
        crowd.asked("acme", second * SECOND)
    crowd.asked("demo", 2 * SECOND)
    assert crowd.limited("demo", 2 * SECOND)
    assert crowd.counts(3 * SECOND) == (2, 1)
    assert crowd.counts(61 * SECOND) == (2, 1)
    assert crowd.counts(62 * SECOND) == (0, 0)


def test_a_refusal_is_the_first_again_after_a_quiet_minute() -> None:
    crowd = Crowd()
    told = [crowd.limited("acme", second * SECOND) for second in (0, 1, 59, 118, 178, 179)]
    assert told == [True, False, False, False, True, False]


def test_there_are_no_more_than_its_bound_and_who_is_gone_makes_room() -> None:
    crowd = Crowd(tenants_count_max=2)
    for name in ("a", "b", "c"):
        crowd.asked(name, SECOND)
    assert crowd.counts(SECOND) == (2, 0)
    # One that is known goes on counting while it is full.
    crowd.asked("a", 61 * SECOND)
    crowd.asked("c", 62 * SECOND)
    assert crowd.counts(62 * SECOND) == (2, 0)
    assert crowd.counts(121 * SECOND) == (1, 0)
