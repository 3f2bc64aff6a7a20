"""Which faults are hard: those whose page may take half a minute.

A fault is **hard** when within seconds requests fail, or what was accepted is not posted: somebody's payment does not go
through while it holds. It is **soft** when all requests are served and what is wrong is slow, at risk, or few. One that is
not listed here counts as hard, so that no new fault is let off.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Weight(StrEnum):
    """How soon somebody has to know."""

    HARD = "hard"
    SOFT = "soft"


@dataclass(frozen=True, slots=True)
class Weighed:
    """A fault's weight, and what makes it so."""

    weight: Weight
    why: str


def weight_of(fault: str) -> Weight:
    """The weight of a fault by its name.

    >>> weight_of("lock").value, weight_of("deadlocks").value, weight_of("of tomorrow").value
    ('hard', 'soft', 'hard')
    """
    found = WEIGHTS.get(fault)
    return Weight.HARD if found is None else found.weight


def _hard(why: str) -> Weighed:
    return Weighed(Weight.HARD, why)


def _soft(why: str) -> Weighed:
    return Weighed(Weight.SOFT, why)


WEIGHTS: Final[dict[str, Weighed]] = {
    "lock": _hard("nothing is posted and balances cannot be read"),
    "stall": _hard("nothing that is accepted is posted"),
    "errors": _hard("half of the writes are answered 500"),
    "unacknowledged": _hard("nothing that is accepted is posted"),
    "full": _hard("nothing is posted, and soon nothing accepted"),
    "nats-stopped": _hard("nothing is accepted or posted"),
    "postgres-stopped": _hard("nothing is posted and nothing can be read"),
    "leader-election": _soft(
        "requests of the second or two without a leader wait, or are asked again"
    ),
    "loss": _hard("what was accepted is gone"),
    "slow": _soft("everything works, a second late"),
    "webhook-errors": _soft("half of the webhooks come later, tried again"),
    "poison": _soft("a message in two seconds is given up, none of a client's"),
    "store-full": _soft("memory that the ledger's streams, which are files, do not use"),
    "slow-reader": _soft("somebody else's client is cut off"),
    "reused-keys": _soft("two requests a second of a client that is wrong get a conflict"),
    "duplicates": _soft("replays are answered as such, and cost capacity"),
    "connections": _soft("who has a connection keeps it; the next process gets none"),
    "deadlocks": _soft("one transaction in ten seconds is ended, none of the ledger's"),
    "slot": _soft("a replica that nobody has would have to be made anew"),
    "archive": _soft("the log stays on the disk until it is full"),
    "replica-lag": _soft("reads go to the primary, or are old where a client lets them"),
    "slow-fsync": _soft("commits take a tenth of a second more"),
    "bad-release": _soft("all is posted, seconds late, for what failed is tried again"),
    "canary-regression": _hard("half of the writes that one of the edges takes are answered 500"),
    "memory-leak": _soft("all works until the memory is full, which the bound forbids"),
    "damage": _soft("a page of a database that nobody uses cannot be read"),
    "drift": _soft("the balance of an account that nobody uses is wrong"),
    "audit-tamper": _soft("the trail of one entry is wrong; nothing is done by it"),
    "hot-account": _soft("everything is posted, the two accounts' transfers one after another"),
    "rate-limit": _hard("a tenant's payments are refused"),
}
