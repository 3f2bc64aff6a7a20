"""How an endpoint fares: whoever answers well is active, whoever fails for long is disabled until its owner says otherwise.

    active ◄──delivered── failing ◄──────► throttled
      │ └──────failed───────► │ ──failed long──┐ │
      └──────────410──────────┴────────410─────▼─▼
                    ▲──────enabled────────── disabled

While it fails, one attempt at a time goes to it; while it is throttled, none before its pause is over. An endpoint that is
disabled takes no further events: they are counted as dropped. What waited for it goes on when it is enabled in time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain.webhooks.delivery import Outcome

_S: Final = 1_000_000_000


class EndpointState(StrEnum):
    """How an endpoint fares."""

    ACTIVE = "active"
    FAILING = "failing"
    THROTTLED = "throttled"
    DISABLED = "disabled"


class Happened(StrEnum):
    """What happens to an endpoint."""

    DELIVERED = "delivered"
    FAILED = "failed"
    THROTTLED = "throttled"
    FAILED_LONG = "failed_long"
    GONE = "gone"
    ENABLED = "enabled"


class Why(StrEnum):
    """Why an endpoint was disabled."""

    FAILED_LONG = "failed_long"
    GONE = "gone"


TABLE: Final[dict[tuple[EndpointState, Happened], EndpointState]] = {
    **{
        (state, happened): after
        for state in (EndpointState.ACTIVE, EndpointState.FAILING, EndpointState.THROTTLED)
        for happened, after in (
            (Happened.DELIVERED, EndpointState.ACTIVE),
            (Happened.FAILED, EndpointState.FAILING),
            (Happened.THROTTLED, EndpointState.THROTTLED),
            (Happened.FAILED_LONG, EndpointState.DISABLED),
            (Happened.GONE, EndpointState.DISABLED),
            (Happened.ENABLED, EndpointState.ACTIVE),
        )
    },
    # An answer that was on its way when it was disabled does not enable it: its owner does.
    **{
        (EndpointState.DISABLED, happened): EndpointState.DISABLED
        for happened in Happened
        if happened is not Happened.ENABLED
    },
    (EndpointState.DISABLED, Happened.ENABLED): EndpointState.ACTIVE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an endpoint may fail, and how long it is left alone when it asks for it.

    `disable_after_s` is below what the schedule of one delivery takes, so that nobody is disabled by a few events alone.
    """

    disable_after_s: float = 3 * 86_400.0
    pause_first_s: float = 5.0
    pause_max_s: float = 300.0

    def __post_init__(self) -> None:
        """Refuse times that cannot work."""
        if self.disable_after_s <= 0 or not 0 < self.pause_first_s <= self.pause_max_s:
            message = (
                "disable_after_s must be above 0, and pause_first_s too and not above pause_max_s"
            )
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """An endpoint's state and what led to it; times in Unix nanoseconds."""

    state: EndpointState = EndpointState.ACTIVE
    failing_since_ns: int | None = None
    failures_count: int = 0
    paused_until_ns: int | None = None
    disabled_because: Why | None = None

    def attempts_max(self, usual_count: int, now_ns: int) -> int:
        """Return how many attempts may be under way at once."""
        match self.state:
            case EndpointState.ACTIVE:
                return usual_count
            case EndpointState.FAILING:
                return 1
            case EndpointState.THROTTLED:
                return 1 if now_ns >= (self.paused_until_ns or 0) else 0
            case EndpointState.DISABLED:
                return 0


def happened(health: Health, outcome: Outcome, now_ns: int, patience: Patience) -> Happened:
    """Return what an attempt's outcome is for its endpoint: a failure among others, or the last one."""
    match outcome:
        case Outcome.DELIVERED:
            return Happened.DELIVERED
        case Outcome.GONE:
            return Happened.GONE
        case Outcome.FAILED | Outcome.THROTTLED:
            since_ns = health.failing_since_ns
            if since_ns is not None and now_ns - since_ns >= patience.disable_after_s * _S:
                return Happened.FAILED_LONG
            return Happened.FAILED if outcome is Outcome.FAILED else Happened.THROTTLED


def after(
    health: Health,
    what: Happened,
    now_ns: int,
    patience: Patience,
    *,
    retry_after_s: float | None = None,
) -> Health:
    """Return the health after something happened.

    Args:
        health: before it.
        what: what happened.
        now_ns: Unix nanoseconds.
        patience: how long a pause is that the receiver does not name.
        retry_after_s: the pause that it does name.
    """
    state = TABLE[health.state, what]
    if health.state is EndpointState.DISABLED and state is EndpointState.DISABLED:
        return health
    if state is EndpointState.ACTIVE:
        return Health()
    if state is EndpointState.DISABLED:
        why = Why.GONE if what is Happened.GONE else Why.FAILED_LONG
        return replace(health, state=state, disabled_because=why, paused_until_ns=None)
    failed = replace(
        health,
        state=state,
        failing_since_ns=now_ns if health.failing_since_ns is None else health.failing_since_ns,
        failures_count=health.failures_count + 1,
        paused_until_ns=None,
    )
    if state is EndpointState.FAILING:
        return failed
    pause_s = retry_after_s
    if pause_s is None:
        doublings_count = min(health.failures_count, 20)
        pause_s = min(patience.pause_first_s * 2**doublings_count, patience.pause_max_s)
    return replace(failed, paused_until_ns=now_ns + int(pause_s * _S))
