"""What a pass found: a result for each check, in count and value, and the first rows that do not agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

FINDINGS_COUNT_MAX: Final = 10


class Check(StrEnum):
    """What is held against what."""

    STREAM = "stream"
    INTAKE = "intake"
    ENTRIES = "entries"
    CHAIN = "chain"
    BALANCE = "balance"
    PENDING = "pending"
    PAYOUTS = "payouts"
    ZERO_SUM = "zero_sum"
    EVENTS = "events"
    AUDIT = "audit"
    REPLICA = "replica"


class State(StrEnum):
    """How a check ended."""

    AGREES = "agrees"
    DRIFT = "drift"
    # The other side has not come so far; asked again by the next pass.
    WAITING = "waiting"
    # There is no other side: no replica was given, nobody runs analytics.
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one check found, of one cohort or of all.

    Attributes:
        drift_count: how many do not agree; 0 unless it drifts.
        drift_value_minor: by how much, in minor units without regard to currency; 0 where a value is not known, as of lost messages.
        examined_count: how many were looked at.
        findings: the first of those that do not agree, at most FINDINGS_COUNT_MAX.
        reason: why it waits or is absent.
    """

    check: Check
    drift_count: int = 0
    drift_value_minor: int = 0
    examined_count: int = 0
    findings: tuple[Mapping[str, Any], ...] = ()
    reason: str = ""
    absent: bool = False

    @property
    def state(self) -> State:
        """How it ended; drift is said also where the rest waits."""
        if self.drift_count:
            return State.DRIFT
        if self.absent:
            return State.ABSENT
        return State.WAITING if self.reason else State.AGREES


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """accepted = decided + dead + in flight + lost, in messages; what the decided ones came to, in requests."""

    accepted_messages: int = 0
    decided_messages: int = 0
    dead_messages: int = 0
    in_flight_messages: int = 0
    lost_messages: int = 0
    posted_requests: int = 0
    rejected_requests: int = 0
    repeated_requests: int = 0

    def __add__(self, other: Totals) -> Totals:
        """Return the sums."""
        names = self.__slots__
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a pass found.

    Attributes:
        full: whether it was the end of a full one.
        away: who could not be asked.
        trouble: why the full pass could not go on in this one.
    """

    full: bool
    results: Sequence[Result]
    totals: Totals = field(default_factory=Totals)
    # Without the streams nobody knows them, and not known is not zero.
    totals_known: bool = True
    away: str = ""
    trouble: str = ""

    @property
    def drift(self) -> bool:
        """Whether anything does not agree."""
        return any(result.drift_count for result in self.results)

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "pass": "full" if self.full else "incremental",
            "drift": self.drift,
            "totals": {name: getattr(self.totals, name) for name in Totals.__slots__}
            if self.totals_known
            else None,
            "checks": [_document(result) for result in self.results],
        }


def merged(results: Iterable[Result]) -> list[Result]:
    """Return one result a check, in the checks' order: the sum of those of its cohorts."""
    by_check: dict[Check, list[Result]] = {}
    for result in results:
        by_check.setdefault(result.check, []).append(result)
    return [_sum(by_check[check]) for check in Check if check in by_check]


def worst(*groups: Iterable[Result]) -> list[Result]:
    """Return one result a check, in the checks' order: what drifts most, else what waits, else the first that is there.

    >>> waits = Result(check=Check.AUDIT, reason="behind")
    >>> [one.state.value for one in worst([Result(check=Check.AUDIT)], [waits, Result(check=Check.CHAIN, drift_count=1)])]
    ['drift', 'waiting']
    """
    by_check: dict[Check, list[Result]] = {}
    for group in groups:
        for result in group:
            by_check.setdefault(result.check, []).append(result)
    return [
        max(by_check[check], key=lambda one: (one.drift_count, one.state is State.WAITING))
        for check in Check
        if check in by_check
    ]


def _sum(results: Sequence[Result]) -> Result:
    findings = [finding for result in results for finding in result.findings]
    return Result(
        check=results[0].check,
        drift_count=sum(one.drift_count for one in results),
        drift_value_minor=sum(one.drift_value_minor for one in results),
        examined_count=sum(one.examined_count for one in results),
        findings=tuple(findings[:FINDINGS_COUNT_MAX]),
        reason=next((one.reason for one in results if one.reason), ""),
        absent=all(one.absent for one in results),
    )


def _document(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = {
        "check": result.check.value,
        "state": result.state.value,
        "drift_count": result.drift_count,
        "drift_value_minor": result.drift_value_minor,
        "examined_count": result.examined_count,
    }
    if result.reason:
        document["reason"] = result.reason
    if result.findings:
        document["findings"] = list(result.findings)
    return document
