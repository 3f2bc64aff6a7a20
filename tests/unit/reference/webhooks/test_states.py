"""Goal: an endpoint's and a delivery's states follow their tables, and waits follow the schedule.

Method: the tables are whole, and what leads through them is played with a clock of numbers.
"""

from __future__ import annotations

import itertools
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.webhooks import delivery, endpoint
from sentinel.reference.ledger.domain.webhooks.delivery import (
    DeliveryState,
    Outcome,
    Reason,
    Step,
    judge_status,
    step_of,
)
from sentinel.reference.ledger.domain.webhooks.endpoint import (
    EndpointState,
    Happened,
    Health,
    Patience,
    Why,
    after,
    happened,
)
from sentinel.reference.ledger.domain.webhooks.schedule import (
    RETRY_AFTER_MAX_S,
    WAITS_S,
    Schedule,
    parse_retry_after,
)
from sentinel.reference.ledger.webhooks.endpoints import Endpoint, Fails, whose_fail

S = 1_000_000_000
PATIENCE = Patience(disable_after_s=100.0, pause_first_s=5.0, pause_max_s=40.0)


def fare(outcomes: list[tuple[int, Outcome]], health: Health | None = None) -> Health:
    """An endpoint's health after outcomes at seconds."""
    health = health or Health()
    for at_s, outcome in outcomes:
        what = happened(health, outcome, at_s * S, PATIENCE)
        health = after(health, what, at_s * S, PATIENCE)
    return health


def test_the_tables_are_whole() -> None:
    assert set(endpoint.TABLE) == set(itertools.product(EndpointState, Happened))
    assert set(delivery.TABLE) == set(itertools.product(DeliveryState, Step))


def test_an_endpoint_that_fails_is_tried_by_one_at_a_time_until_it_answers_well() -> None:
    failing = fare([(0, Outcome.FAILED), (10, Outcome.FAILED)])
    assert (failing.state, failing.failures_count) == (EndpointState.FAILING, 2)
    assert failing.failing_since_ns == 0
    assert failing.attempts_max(8, 11 * S) == 1
    assert fare([(20, Outcome.DELIVERED)], failing) == Health()
    assert Health().attempts_max(8, 0) == 8


def test_an_endpoint_that_fails_for_long_is_disabled_and_a_late_answer_does_not_enable_it() -> (
    None
):
    almost = fare([(0, Outcome.FAILED), (99, Outcome.THROTTLED)])
    assert almost.state is EndpointState.THROTTLED
    disabled = fare([(100, Outcome.FAILED)], almost)
    assert (disabled.state, disabled.disabled_because) == (EndpointState.DISABLED, Why.FAILED_LONG)
    assert disabled.attempts_max(8, 10**12) == 0
    assert fare([(101, Outcome.DELIVERED), (102, Outcome.GONE)], disabled) == disabled
    assert after(disabled, Happened.ENABLED, 103 * S, PATIENCE) == Health()


def test_one_good_answer_begins_the_time_anew() -> None:
    health = fare([(0, Outcome.FAILED), (90, Outcome.DELIVERED), (110, Outcome.FAILED)])
    assert (health.state, health.failing_since_ns) == (EndpointState.FAILING, 110 * S)


def test_an_endpoint_that_is_gone_is_disabled_at_once() -> None:
    assert fare([(0, Outcome.GONE)]).disabled_because is Why.GONE


def test_pauses_double_up_to_a_bound_and_end_with_one_attempt() -> None:
    health, pauses = Health(), []
    for _ in range(6):
        health = after(health, Happened.THROTTLED, 0, PATIENCE)
        pauses.append((health.paused_until_ns or 0) // S)
    assert pauses == [5, 10, 20, 40, 40, 40]
    assert health.attempts_max(8, 40 * S - 1) == 0
    assert health.attempts_max(8, 40 * S) == 1
    asked = after(health, Happened.THROTTLED, 0, PATIENCE, retry_after_s=3600.0)
    assert asked.paused_until_ns == 3600 * S


@pytest.mark.parametrize(
    ("status", "outcome", "reason"),
    [
        (200, Outcome.DELIVERED, Reason.OK),
        (299, Outcome.DELIVERED, Reason.OK),
        (100, Outcome.FAILED, Reason.BAD_ANSWER),
        (301, Outcome.FAILED, Reason.REDIRECT),
        (304, Outcome.FAILED, Reason.REDIRECT),
        (400, Outcome.FAILED, Reason.CLIENT_ERROR),
        (404, Outcome.FAILED, Reason.CLIENT_ERROR),
        (410, Outcome.GONE, Reason.GONE),
        (429, Outcome.THROTTLED, Reason.THROTTLED),
        (500, Outcome.FAILED, Reason.SERVER_ERROR),
        (502, Outcome.THROTTLED, Reason.THROTTLED),
        (503, Outcome.FAILED, Reason.SERVER_ERROR),
        (504, Outcome.THROTTLED, Reason.THROTTLED),
        (999, Outcome.FAILED, Reason.BAD_ANSWER),
    ],
)
def test_only_a_status_of_success_is_one(status: int, outcome: Outcome, reason: Reason) -> None:
    judged = judge_status(status)
    assert (judged.outcome, judged.reason) == (outcome, reason)


def test_what_an_attempt_means_for_its_delivery() -> None:
    assert step_of(Outcome.DELIVERED, None) is Step.SUCCEEDED
    assert step_of(Outcome.GONE, 5.0) is Step.USED_UP
    assert step_of(Outcome.THROTTLED, 5.0) is Step.TO_BE_REPEATED
    assert step_of(Outcome.FAILED, None) is Step.USED_UP


def test_the_waits_are_those_of_the_standard_and_outlast_the_patience() -> None:
    waits = [Schedule(jitter_ratio=0.0).next_wait_s(n, chance=1.0) for n in range(1, 11)]
    assert waits == [*WAITS_S[1:], None]
    assert sum(WAITS_S) > Patience().disable_after_s


@given(st.integers(1, 9), st.floats(0, 1), st.none() | st.floats(0, 1e6))
def test_a_wait_is_never_shorter_than_planned_or_asked_for_nor_without_end(
    attempts_count: int, chance: float, asked_s: float | None
) -> None:
    wait_s = Schedule().next_wait_s(attempts_count, chance=chance, retry_after_s=asked_s)
    assert wait_s is not None
    planned_s = WAITS_S[attempts_count]
    assert max(planned_s, min(asked_s or 0.0, RETRY_AFTER_MAX_S)) <= wait_s
    assert wait_s <= max(planned_s * 1.2, RETRY_AFTER_MAX_S)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("9" * 30, RETRY_AFTER_MAX_S),
        ("-5", None),
        ("1.5", None),
        ("\u0663", None),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2970 00:00:00 GMT", RETRY_AFTER_MAX_S),
        ("Thu, 99 Jan 1970 00:00:00 GMT", None),
    ],
)
def test_a_retry_after_is_read_or_left(value: str | None, wait_s: float | None) -> None:
    assert parse_retry_after(value, 100.0) == wait_s


def test_what_cannot_work_is_refused() -> None:
    for waits_s in ((), (-1.0,)):
        with pytest.raises(ValueError, match="wait"):
            Schedule(waits_s=waits_s)
    with pytest.raises(ValueError, match="ratio"):
        Schedule(jitter_ratio=2.0)
    for times in ({"disable_after_s": 0.0}, {"pause_first_s": 10.0, "pause_max_s": 5.0}):
        with pytest.raises(ValueError, match="must"):
            Patience(**times)


def known(tenant: str, url: str, state: EndpointState) -> Endpoint:
    return Endpoint(
        cohort=0,
        endpoint_id=uuid.uuid4(),
        tenant=tenant,
        url=url,
        event_types=frozenset(),
        signature="v1",
        secret=b"",
        health=Health(state=state, disabled_because=None),
        registered_position=0,
    )


def test_whose_endpoints_fail_is_told_by_tenant_and_by_receiver() -> None:
    failing, active = EndpointState.FAILING, EndpointState.ACTIVE
    found = whose_fail(
        [
            # All that it has fails, at one host.
            *(known("big", f"https://big.example/{number}", failing) for number in range(9)),
            known("big", "https://old.example/", EndpointState.DISABLED),
            known("half", "https://half.example/a", failing),
            known("half", "https://half.example/b", active),
            known("well", "https://well.example/", active),
            known("busy", "https://busy.example/", EndpointState.THROTTLED),
            known("shared", "https://BIG.example/s", failing),
            known("gone", "https://gone.example/", EndpointState.DISABLED),
        ]
    )
    assert found == Fails(tenants_count=5, tenants_failing_count=2, receivers_failing_count=2)
    assert whose_fail([]) == Fails(
        tenants_count=0, tenants_failing_count=0, receivers_failing_count=0
    )
