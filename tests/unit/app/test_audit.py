"""Goal: the series that paged most are audited, within bounds that are said. Method: a store and an examiner made up here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sentinel.app.audit import INCIDENTS_MAX, Audit, audit, choose
from sentinel.core.baseline import BIN_NS
from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Kind,
    Member,
    SeriesKey,
    Severity,
    WindowBlock,
)
from sentinel.pipeline.models import ModelFailedError
from sentinel.ports import SeriesRow, Snapshot

DAY_NS = 86_400_000_000_000
PER_DAY = DAY_NS // BIN_NS
END_NS = 1_789_948_800_000_000_000
KEYS = {at: SeriesKey("ledger", "edge", f"GET /{at}", "traffic") for at in range(1, 5)}


def incident(*members: int) -> Incident:
    return Incident(
        incident_id=f"{members}",
        group="ledger",
        kind=IncidentKind.ANOMALY,
        severity=Severity.PAGE,
        state=IncidentState.RESOLVED,
        opened_ns=END_NS,
        paged_ns=END_NS,
        members=tuple(
            Member(
                series_id=one,
                key=KEYS[one],
                direction=1,
                first_ns=END_NS + place,
                last_ns=END_NS + place,
                peak_score=3.0 - place,
                value=2.0,
                expected=1.0,
                lower=0.5,
                upper=1.5,
            )
            for place, one in enumerate(members)
        ),
    )


class Store:
    """Three weeks of a day for each series but the fourth."""

    def __init__(self, incidents: Sequence[Incident]) -> None:
        self._incidents = list(incidents)

    def series(self) -> list[SeriesRow]:
        """All four."""
        return [
            SeriesRow(series_id=one, key=key, kind=Kind.TRAFFIC, first_seen_ns=0, last_seen_ns=0)
            for one, key in KEYS.items()
        ]

    def incidents(self, *, limit: int) -> list[Incident]:
        """As told."""
        return self._incidents[:limit]

    def history_span(self) -> list[tuple[int, int, int]]:
        """Three weeks, and something of another width."""
        return [(10_000_000_000, 0, END_NS + 99), (BIN_NS, END_NS - 21 * DAY_NS, END_NS)]

    def windows(
        self, *, step_ns: int, start_ns: int, end_ns: int, series: Sequence[int] | None = None
    ) -> Iterator[WindowBlock]:
        """One block of those asked for."""
        ids = [one for one in series or () if one != 4]
        if not ids:
            return
        count = 21 * PER_DAY
        value = np.repeat(np.arange(count, dtype=np.float32)[:, None] % PER_DAY, len(ids), axis=1)
        yield WindowBlock(
            start_ns=END_NS - 21 * DAY_NS,
            step_ns=step_ns,
            series=np.array(ids),
            kind=np.zeros(len(ids), np.int8),
            value=value,
            weight=np.ones(value.shape, np.float32),
            heard=np.ones(value.shape, np.bool_),
        )

    def states(self, *, limit: int = 2) -> list[Snapshot]:
        """None."""
        return []

    def fits(self, *, limit: int = 2) -> list[Snapshot]:
        """None."""
        return []


class Examiner:
    """Notes what it is asked, and may fail or take long."""

    def __init__(self, *, fails: str = "", takes_s: float = 1.0) -> None:
        self.fails = fails
        self.takes_s = takes_s
        self.now_s = 0.0
        self.asked: list[dict[str, Any]] = []

    def __call__(self, value: np.ndarray, **asked: Any) -> dict[str, Any]:
        """Nothing found."""
        self.asked.append({"value": value, **asked})
        self.now_s += self.takes_s
        if self.fails:
            raise ModelFailedError(self.fails, "as told")
        return {"disagreements": []}


INCIDENTS = [incident(2, 1), incident(2), incident(1, 3), incident(3, 2)]


def audited(
    examiner: Examiner,
    *,
    incidents: Sequence[Incident] = INCIDENTS,
    top: int = 10,
    pattern: str | None = None,
    total_s: float = 100.0,
) -> Audit:
    return audit(
        Store(incidents),
        examiner,
        top=top,
        pattern=pattern,
        total_s=total_s,
        monotonic_s=lambda: examiner.now_s,
    )


def test_who_was_named_first_most_comes_first_then_who_took_part() -> None:
    rows = Store(()).series()
    chosen = choose(rows, INCIDENTS, top=10, pattern=None)
    assert [(one.row.series_id, one.paged_count, one.member_count) for one in chosen] == [
        (2, 2, 3),
        (1, 1, 2),
        (3, 1, 2),
    ]
    assert [one.row.series_id for one in choose(rows, INCIDENTS, top=1, pattern=None)] == [2]
    named = choose(rows, INCIDENTS, top=9, pattern="ledger edge GET /[34] *")
    assert [one.row.series_id for one in named] == [3, 4]
    assert choose(rows, INCIDENTS, top=9, pattern="other*") == []
    bracketed = [replace(rows[0], key=rows[0].key._replace(route="GET /items/[id]"))]
    assert len(choose(bracketed, [], top=9, pattern=str(bracketed[0].key))) == 1


def test_the_child_is_asked_with_what_ours_expected_before_it_came() -> None:
    examiner = Examiner()
    result = audited(examiner)
    assert [one.chosen.row.series_id for one in result.series] == [2, 1, 3]
    assert result.end_ns == END_NS
    assert result.notes == []
    asked = examiner.asked[0]
    assert asked["per_day"] == PER_DAY
    assert asked["start_ns"] == END_NS - 21 * DAY_NS
    expected = asked["expected"]
    assert np.isnan(expected[:PER_DAY]).all()
    # Each day is like the one before; the running median of three takes off the ends.
    np.testing.assert_allclose(expected[PER_DAY + 2 : 2 * PER_DAY - 2], np.arange(2, PER_DAY - 2))
    assert np.isfinite(expected[PER_DAY:]).all()


@pytest.mark.parametrize(
    ("reason", "told"),
    [("history", "too little history"), ("time_limit", "took too long"), ("failed", "failed")],
)
def test_a_series_that_cannot_be_examined_says_why_and_the_others_go_on(
    reason: str, told: str
) -> None:
    result = audited(Examiner(fails=reason))
    assert len(result.series) == 3
    assert all(one.found is None and told in one.why_not for one in result.series)
    (alone,) = audited(Examiner(), pattern="* GET /4 *").series
    assert alone.why_not == "no history is stored"


def test_bounds_are_said_when_they_are_hit() -> None:
    examiner = Examiner(takes_s=70.0)
    result = audited(examiner, total_s=100.0)
    assert [asked["limit_s"] for asked in examiner.asked] == [60.0, 30.0]
    assert len(result.series) == 2
    assert result.notes == ["the time of 100 s was used up: 1 series were not looked at"]
    many = [incident(1)] * (INCIDENTS_MAX + 5)
    result = audited(Examiner(), incidents=many)
    assert result.notes == [f"only the newest {INCIDENTS_MAX} incidents were counted"]
    assert result.series[0].chosen.paged_count == INCIDENTS_MAX


def over_noon(*days_ago: int) -> list[Incident]:
    """Of each of these days, an hour at noon of the first series."""
    found = []
    for days in days_ago:
        first_ns = END_NS - days * DAY_NS + DAY_NS // 2
        made = incident(1)
        (member,) = made.members
        last_ns = first_ns + 12 * BIN_NS - 1
        members = (replace(member, first_ns=first_ns, last_ns=last_ns),)
        found.append(
            replace(made, opened_ns=first_ns, resolved_ns=last_ns + BIN_NS, members=members)
        )
    return found


@pytest.mark.parametrize(
    ("days_ago", "left_out"), [((2,), 12), ((2, 6, 9), 36), ((2, 6, 9, 12), 0)]
)
def test_incidents_are_not_shown_until_they_are_a_habit(
    days_ago: tuple[int, ...], left_out: int
) -> None:
    """A job that pages each week must not be hidden from who asks why it does."""
    examiner = Examiner()
    (one,) = audited(examiner, incidents=over_noon(*days_ago)).series
    assert one.left_out_count == left_out
    assert np.count_nonzero(np.isnan(examiner.asked[0]["value"])) == left_out
    accepted = [replace(it, accepted_ns=1) for it in over_noon(*days_ago)]
    (one,) = audited(examiner, incidents=accepted).series
    assert one.left_out_count == 0


def test_nothing_paged_is_nothing_to_audit() -> None:
    examiner = Examiner()
    assert audited(examiner, incidents=()).series == []
    assert examiner.asked == []
