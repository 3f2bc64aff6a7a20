"""Goal: the limiter remembers as many tenants as it may, and forgets who owes least.

Method: more tenants than there is room for, under clocks that stand still and go on.
"""

from __future__ import annotations

from sentinel.reference.ledger.domain.limits import Allowance, Allowed, Limit, Refused
from sentinel.reference.ledger.domain.tenant import Tenant
from sentinel.reference.ledger.edge.limits.limiter import Limiter

SECOND_NS = 1_000_000_000


def tenant(name: str, *, rps: int = 1, burst: int = 2) -> Tenant:
    return Tenant(name=name, cohort=0, allowance=Allowance(limit=Limit(rps=rps, burst=burst)))


def test_each_tenant_has_its_own_number() -> None:
    limiter = Limiter()
    for _ in range(2):
        assert isinstance(limiter.check(tenant("a"), now_ns=0, steady_ns=5), Allowed)
    assert isinstance(limiter.check(tenant("a"), now_ns=0, steady_ns=5), Refused)
    assert isinstance(limiter.check(tenant("b"), now_ns=0, steady_ns=5), Allowed)


def test_who_owes_nothing_makes_room_unnoticed() -> None:
    forgotten: list[int] = []
    limiter = Limiter(keys_count_max=3, on_forgotten=lambda: forgotten.append(1))
    for name in "abc":
        limiter.check(tenant(name), now_ns=0, steady_ns=0)
    limiter.check(tenant("d"), now_ns=0, steady_ns=10 * SECOND_NS)
    assert (limiter.keys_count, forgotten) == (1, [])


def test_when_all_are_in_debt_the_smallest_is_forgotten_and_counted() -> None:
    forgotten: list[int] = []
    limiter = Limiter(keys_count_max=2, on_forgotten=lambda: forgotten.append(1))
    for name in "aab":
        limiter.check(tenant(name), now_ns=0, steady_ns=0)
    limiter.check(tenant("c"), now_ns=0, steady_ns=0)
    assert (limiter.keys_count, forgotten) == (2, [1])
    assert isinstance(limiter.check(tenant("a"), now_ns=0, steady_ns=0), Refused)


def test_a_clock_that_is_set_back_refuses_nobody() -> None:
    limiter = Limiter()
    assert isinstance(limiter.check(tenant("a"), now_ns=10**18, steady_ns=0), Allowed)
    assert isinstance(limiter.check(tenant("a"), now_ns=0, steady_ns=SECOND_NS), Allowed)


def test_edges_that_share_a_limit_give_their_part() -> None:
    limiter = Limiter(edges_count=2)
    shared = tenant("a", rps=10, burst=4)
    taken = [limiter.check(shared, now_ns=0, steady_ns=0) for _ in range(3)]
    assert [isinstance(one, Allowed) for one in taken] == [True, True, False]
    assert isinstance(taken[2], Refused)
    assert taken[2].retry_after_ns == SECOND_NS // 5
