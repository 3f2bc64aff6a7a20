"""Goal: cohorts' results add up to one a check, drift is remembered until all was looked at again, and each state is what it says.

Method: results as values.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from sentinel.reference.ledger.reconcile import Check, Report, Result, State, Totals
from sentinel.reference.ledger.reconcile.replica import Side, compare
from sentinel.reference.ledger.reconcile.report import merged, worst
from sentinel.reference.ledger.reconcile.told import Suspects, judge
from sentinel.reference.ledger.wire.streams import ReadUpTo

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def result(check: Check, count: int = 0, value: int = 0, **more: Any) -> Result:
    return Result(check=check, drift_count=count, drift_value_minor=value, **more)


def test_cohorts_add_up() -> None:
    found = merged(
        [
            result(Check.CHAIN, 2, 30, findings=({"cohort": 0},), examined_count=5),
            result(Check.STREAM),
            result(Check.CHAIN, 1, 4, findings=({"cohort": 1},) * 12, examined_count=6),
        ]
    )
    assert [one.check for one in found] == [Check.STREAM, Check.CHAIN]
    assert (found[1].drift_count, found[1].drift_value_minor) == (3, 34)
    assert found[1].examined_count == 11
    assert len(found[1].findings) == 10
    assert found[1].findings[0] == {"cohort": 0}


def test_each_state_is_what_it_says() -> None:
    assert result(Check.EVENTS).state is State.AGREES
    assert result(Check.EVENTS, 1).state is State.DRIFT
    assert result(Check.EVENTS, reason="behind").state is State.WAITING
    assert result(Check.EVENTS, 1, reason="behind").state is State.DRIFT
    assert result(Check.EVENTS, absent=True, reason="nobody").state is State.ABSENT
    # One cohort's replica that answers is not absent because another's does not.
    assert merged([result(Check.REPLICA), result(Check.REPLICA, absent=True)])[0].state is (
        State.AGREES
    )


def test_drift_is_remembered_until_all_was_looked_at_again() -> None:
    found = worst([result(Check.CHAIN, 1, 1), result(Check.ENTRIES)], [result(Check.CHAIN, 2, 5)])
    assert [(one.check, one.drift_count) for one in found] == [
        (Check.ENTRIES, 0),
        (Check.CHAIN, 2),
    ]


def test_what_is_not_known_is_not_said_to_agree() -> None:
    found = worst(
        [result(Check.AUDIT, examined_count=9)],
        [result(Check.AUDIT, reason="behind"), result(Check.REPLICA, reason="away")],
        [result(Check.REPLICA, absent=True, reason="none was given")],
    )
    assert [one.state for one in found] == [State.WAITING, State.WAITING]


def test_a_report_says_drift_and_names_it() -> None:
    report = Report(
        full=True,
        results=[result(Check.ZERO_SUM, 1, 7, findings=({"currency": "EUR"},))],
        totals=Totals(accepted_messages=5, decided_messages=5) + Totals(accepted_messages=1),
    )
    document = report.document()
    assert document["drift"] is True
    assert document["pass"] == "full"
    assert document["totals"]["accepted_messages"] == 6
    assert document["checks"] == [
        {
            "check": "zero_sum",
            "state": "drift",
            "drift_count": 1,
            "drift_value_minor": 7,
            "examined_count": 0,
            "findings": [{"currency": "EUR"}],
        }
    ]


def test_an_uncounted_transaction_is_lost_only_once_analytics_is_past_it() -> None:
    one = uuid.uuid4()
    row = {"amount_minor": 100}
    suspects = Suspects(up_to=9, ids={one: row})
    read = ReadUpTo(acknowledged=8, last=9)
    assert judge(suspects, {one: row}, read).state is State.WAITING
    read = ReadUpTo(acknowledged=9, last=12)
    assert judge(suspects, {}, read).state is State.AGREES
    missing = judge(suspects, {one: row, uuid.uuid4(): row}, read)
    assert (missing.drift_count, missing.drift_value_minor) == (1, 100)
    assert judge(suspects, {one: row}, None).state is State.ABSENT


def side(version: int, balance: int, batch: tuple[int, int, int] = (1, 20, 7)) -> Side:
    return Side(accounts={("shop", "alice"): (version, balance)}, batches={NOON: batch})


def test_a_replica_may_be_ahead_and_never_otherwise() -> None:
    primary = side(3, 100)
    assert compare(0, primary, side(3, 100)).state is State.AGREES
    assert compare(0, primary, side(4, 250)).state is State.AGREES
    for other, count, value in (
        (side(3, 101), 1, 1),
        (side(2, 100), 1, 0),
        (side(3, 100, (1, 15, 7)), 1, 5),
        (Side(accounts={}, batches={}), 2, 120),
    ):
        found = compare(0, primary, other)
        assert (found.state, found.drift_count, found.drift_value_minor) == (
            State.DRIFT,
            count,
            value,
        )
    assert compare(0, primary, side(3, 101)).findings[0]["account_id"] == "alice"
