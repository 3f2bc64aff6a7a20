"""Panels of what the ledger tells others, of whom it answers and refuses, and of what stands still when it is well."""

from __future__ import annotations

from dashboards.source.kit import Ask, Panel, timeline
from dashboards.source.queries import quiet, window

_OUTBOX_LATE_S = 120.0
"""From when on LedgerOutboxBehind tells of it."""
_HALF = 0.5
"""From when on LedgerWebhooksNearlyLost pages."""


def _any(*signals: str) -> str:
    """What processes of the ledger, whichever they are, tell by these metrics."""
    signal = signals[0] if len(signals) == 1 else "~" + "|".join(signals)
    return window("sentinel_value", service="~ledger-.*", stage="metrics", signal=signal)


def _rates(*signals: str) -> Ask:
    """A second, by metric and by what it tells apart; 0 where nothing of it has happened."""
    return Ask(quiet(f"sum by (signal, route) ({_any(*signals)})"), "{{signal}} {{route}}")


def told() -> list[Panel]:
    """Whether what is decided is told, and whether somebody hears it."""
    return [
        timeline(
            "Outbox",
            "Age of the oldest event that waits for the stream, and on the right how many wait. Above a million a cohort the oldest are dropped.",
            "s",
            Ask(f"max({_any('ledger.outbox.lag')})", "oldest"),
            Ask(f"max({_any('ledger.outbox.depth')})", "rows", unit="short"),
            width=8,
            limit=_OUTBOX_LATE_S,
        ),
        timeline(
            "Events not read",
            "By reader, what it has not read as a share of what the stream can hold. At 100 % it loses the oldest.",
            "percentunit",
            Ask(f"max by (route) ({_any('ledger.events.unread')})", "{{route}}"),
            width=8,
            limit=_HALF,
        ),
        timeline(
            "Events that nobody hears of",
            "A second: dropped by a full outbox, or let go by the stream before webhooks or analytics had read them. There must be none.",
            "cps",
            _rates("ledger.outbox.dropped", "ledger.webhooks.missed", "ledger.analytics.missed"),
            width=8,
        ),
    ]


def answered() -> list[Panel]:
    """Who answers questions, and who is turned away."""
    return [
        timeline(
            "Reads by database",
            "Questions a second, by the database that answered and why it was that one.",
            "reqps",
            Ask(quiet(f"sum by (route) ({_any('ledger.reads')})"), "{{route}}"),
            width=8,
        ),
        timeline(
            "The replica",
            "How late it is, and on the right whether the edge that sees it least can read it: 1 is yes.",
            "s",
            Ask(f"max({_any('ledger.replica.lag')})", "late"),
            Ask(f"min({_any('ledger.replica.up')})", "read", unit="none"),
            width=8,
        ),
        timeline(
            "Refused at the edge",
            "A second: no room, no request at all, an address that asks too often; and limits that were forgotten or decided without their lock.",
            "reqps",
            _rates(
                *("ledger.edge.refused", "ledger.edge.malformed", "ledger.edge.address_refused"),
                *("ledger.edge.limits_forgotten", "ledger.edge.limits_unlocked"),
            ),
            width=8,
        ),
        timeline(
            "Credentials refused",
            "Requests and handshakes a second, by why, and questions to the issuer for its keys.",
            "reqps",
            _rates("ledger.auth.refused", "ledger.auth.keys.asked"),
        ),
        timeline(
            "Tokens given out and refused",
            "By the ledger's own authorization server, a second.",
            "reqps",
            _rates(
                *("ledger.authorize.tokens.issued", "ledger.authorize.refused"),
                "ledger.authorize.dropped",
            ),
        ),
    ]


def kept() -> list[Panel]:
    """What moves on by itself: payments, exports, the archive, the witness, comparisons, telemetry."""
    return [
        timeline(
            "Payments that moved on",
            "A second, by the state they came into, and the code they came back with.",
            "cps",
            _rates("ledger.disbursements.moved"),
            width=8,
        ),
        timeline(
            "Exports ended and refused",
            "A second, by how they ended; refused are those that a tenant asked for and may not have.",
            "cps",
            _rates("ledger.exports.ended", "ledger.exports.refused"),
            width=8,
        ),
        timeline(
            "Files of the log in the archive",
            "A second, stored and failed. What fails is tried again, and those after it wait.",
            "cps",
            _rates("ledger.archive.stored", "ledger.archive.failed"),
            width=8,
        ),
        timeline(
            "Answers of the witness",
            "A second, by what it answered.",
            "cps",
            _rates("ledger.witness.answers"),
            width=8,
        ),
        timeline(
            "Passes that failed",
            "Comparisons of the books that could not be made to their end, a second.",
            "cps",
            _rates("ledger.reconcile.failed"),
            width=8,
        ),
        timeline(
            "Telemetry lost",
            "Spans and log records a second that did not arrive, by why. What Sentinel knows has holes then.",
            "cps",
            _rates("ledger.telemetry.lost"),
            width=8,
        ),
    ]
