"""Panels of what stands beside the ledger's pipeline: who may come in, webhooks, the audit, and whether the books agree."""

from __future__ import annotations

from dashboards.source.kit import ANY_IS_BAD, Ask, Panel, number, timeline
from dashboards.source.queries import quiet, window

_NOT_RECONCILED_S = 900.0
"""From when on LedgerNotReconciled tells that nobody has compared the books."""
_CERTIFICATE = ((None, "red"), (604_800.0, "orange"), (2_592_000.0, "green"))
"""A week and thirty days, as LedgerCertificateEndsSoon and LedgerCertificateEnds have it."""


def _told(service: str, *signals: str) -> str:
    """What a process of the ledger tells by these metrics of its own."""
    one = len(signals) == 1
    signal = signals[0] if one else "~" + "|".join(signals)
    return window("sentinel_value", service=f"ledger-{service}", stage="metrics", signal=signal)


def _worst(service: str, *signals: str) -> Ask:
    """By metric, the largest: processes of a kind tell the same of what they share."""
    return Ask(f"max by (signal) ({_told(service, *signals)})", "{{signal}}")


def admittance() -> list[Panel]:
    """Limits of tenants, and the edge's certificate."""
    return [
        timeline(
            "Tenants that ask, and that are refused",
            "Within a minute, at the edge that has seen most. One that is refused is that tenant's matter; many at once are a limit that is wrong.",
            "none",
            Ask(f"max by (route) ({_told('edge', 'ledger.edge.tenants')})", "{{route}}"),
            width=8,
        ),
        timeline(
            "Refused for asking too often",
            "Requests answered 429 a second, by the tier of their tenants; which tenant it is stands in the log as edge.tenant_limited.",
            "reqps",
            Ask(quiet(f"sum by (route) ({_told('edge', 'ledger.edge.limited')})"), "{{route}}"),
            width=8,
        ),
        number(
            "The edge's certificate ends in",
            "Of the edge whose certificate ends first; nothing where TLS ends elsewhere. A ticket from 30 days on, a page from 7.",
            "s",
            Ask(f"min({_told('edge', 'ledger.auth.certificate.expiry')}) - time()"),
            width=8,
            height=8,
            steps=_CERTIFICATE,
        ),
    ]


def webhooks() -> list[Panel]:
    """Whether tenants are told."""
    return [
        timeline(
            "Endpoints",
            "By state. One that fails is its owner's; most of them at once are the ledger's own way out.",
            "none",
            Ask(f"max by (route) ({_told('webhooks', 'ledger.webhooks.endpoints')})", "{{route}}"),
            width=8,
        ),
        timeline(
            "Attempts at endpoints",
            "A second, by what became of them; a delivery is tried ten times at most, over three days.",
            "cps",
            Ask(
                quiet(f"sum by (route) ({_told('webhooks', 'ledger.webhooks.attempts')})"),
                "{{route}}",
            ),
            width=8,
        ),
        timeline(
            "On the way",
            "Events that no sender has taken up, deliveries that wait for their next attempt, and attempts under way.",
            "none",
            _worst(
                "webhooks",
                *("ledger.webhooks.events.pending", "ledger.webhooks.waiting"),
                "ledger.webhooks.in_flight",
            ),
            width=8,
        ),
        timeline(
            "Oldest delivery that waits",
            "An endpoint that fails or is disabled keeps its own for days; it rises for all of them when nobody sends.",
            "s",
            _worst("webhooks", "ledger.webhooks.oldest"),
        ),
        timeline(
            "Deliveries given up, endpoints disabled",
            "A second, by why: what is given up is not told any more, and an endpoint that is disabled is told nothing.",
            "cps",
            Ask(
                quiet(
                    "sum by (signal, route) ("
                    + _told(
                        "webhooks",
                        *("ledger.webhooks.dropped", "ledger.webhooks.endpoints.disabled"),
                    )
                    + ")"
                ),
                "{{signal}} {{route}}",
            ),
        ),
    ]


def payouts() -> list[Panel]:
    """Whether what is told is taken up."""
    asked = _told("disburser", "ledger.disbursements.asked")
    return [
        timeline(
            "Questions to the rail",
            "A second, by whether it answered: payments are handed in and asked for until its last word.",
            "cps",
            Ask(quiet(f"sum by (route) ({asked})"), "{{route}}"),
            width=8,
        ),
        timeline(
            "Latest payment that is due",
            "How late it is that nobody has asked the rail for it; it rises when nobody looks.",
            "s",
            _worst("disburser", "ledger.disbursements.overdue"),
            width=8,
            limit=300.0,
        ),
        timeline(
            "Events not counted",
            "What analytics has not taken up, or not acknowledged.",
            "none",
            _worst("analytics", "ledger.analytics.pending"),
            width=8,
        ),
    ]


def audit() -> list[Panel]:
    """Whether everything is recorded, witnessed and handed out."""
    return [
        timeline(
            "How far recording is behind",
            "Age of the last recorded change while others wait.",
            "s",
            _worst("audit", "ledger.audit.lag"),
            width=8,
        ),
        timeline(
            "Without the witness's word",
            "For how long entries have been there that the witness has not signed.",
            "s",
            _worst("audit", "ledger.audit.unwitnessed.age"),
            width=8,
        ),
        timeline(
            "Room of the audit's slot",
            "Log that PostgreSQL keeps for the audit, and how much more may come before it gives the slot up.",
            "bytes",
            _worst("audit", "ledger.audit.slot.retained", "ledger.audit.slot.safe"),
            width=8,
        ),
        timeline(
            "Not in the archive",
            "For how long there have been checkpoints that the locked bucket does not have; nothing where the audit has no archive.",
            "s",
            _worst("audit", "ledger.audit.unstored.age"),
            width=8,
        ),
        timeline(
            "Newest base backup",
            "Age of the newest from which the ledger can come back; nothing where nobody takes any.",
            "s",
            _worst("backup", "ledger.backup.age"),
            width=8,
        ),
        timeline(
            "Exports asked for",
            "Exports of the trail that tenants have asked for and that have not ended, by state.",
            "none",
            Ask(f"max by (route) ({_told('exporter', 'ledger.exports.open')})", "{{route}}"),
            width=8,
        ),
        timeline(
            "Oldest export that has not ended",
            "Since it was asked for; made one after another, each within ten minutes.",
            "s",
            _worst("exporter", "ledger.exports.oldest"),
            width=8,
            limit=1800.0,
        ),
    ]


def reconciliation() -> list[Panel]:
    """Whether what the ledger says in several places agrees."""
    count, value = (_told("reconcile", f"ledger.drift.{one}") for one in ("count", "value_minor"))
    age = _told("reconcile", "ledger.reconcile.age")
    return [
        number(
            "Differences",
            "What does not agree, over all checks. There must be none.",
            "none",
            Ask(f"sum(max by (route) ({count}))"),
            width=8,
            steps=ANY_IS_BAD,
        ),
        number(
            "Value that differs",
            "By how much, in minor units without regard to currency; of lost messages it is not known.",
            "none",
            Ask(f"sum(max by (route) ({value}))"),
            width=8,
            steps=ANY_IS_BAD,
        ),
        number(
            "Last compared",
            "How long ago a pass came to its end. After a quarter of an hour nobody knows whether the books agree.",
            "s",
            Ask(f"min({age})"),
            width=8,
            steps=((None, "green"), (_NOT_RECONCILED_S, "red")),
        ),
        timeline(
            "Drift by check",
            "Differences in number, and on the right their value in minor units. One thing that is wrong is seen by each check that is about it.",
            "none",
            Ask(f"max by (route) ({count})", "{{route}}"),
            Ask(f"max by (route) ({value})", "{{route}} value", unit="short"),
            width=8,
        ),
        timeline(
            "Age of the last comparison",
            "It rises from pass to pass, and on from the last one when there are no more.",
            "s",
            Ask(f"min({age})", "age"),
            width=8,
            limit=_NOT_RECONCILED_S,
        ),
        timeline(
            "Where the stream's messages are",
            "Accepted are decided, dead or in flight, at the last comparison; lost is what is none of them.",
            "none",
            Ask(
                f"max by (route) ({_told('reconcile', 'ledger.reconcile.messages')})", "{{route}}"
            ),
            width=8,
        ),
    ]
