"""Who was let in, who was not, and how the keys to tell were come by."""

from __future__ import annotations

from opentelemetry.metrics import Meter

from sentinel.reference.ledger.telemetry.tally import Tally


class AccessSignals:
    """Counters of authentication."""

    def __init__(self, meter: Meter) -> None:
        self._accepted = Tally(
            meter,
            "ledger.auth.accepted",
            unit="{request}",
            description="Requests whose caller is known.",
        )
        self._refused = meter.create_counter(
            "ledger.auth.refused",
            unit="{request}",
            description="Requests, and TLS handshakes, whose credentials were refused.",
        )
        self._asked = meter.create_counter(
            "ledger.auth.keys.asked",
            unit="{request}",
            description="Questions to the issuer for its keys; held_back are those that came too soon after another.",
        )
        self._forgotten = meter.create_counter(
            "ledger.auth.tokens.forgotten",
            unit="{token}",
            description="Verified tokens that were forgotten before they expired, for want of room.",
        )

        self._issued = meter.create_counter(
            "ledger.authorize.tokens.issued", unit="{token}", description="Tokens given out."
        )
        self._grants_refused = meter.create_counter(
            "ledger.authorize.refused",
            unit="{request}",
            description="Requests to the authorization server that were refused.",
        )
        self._dropped = meter.create_counter(
            "ledger.authorize.dropped",
            unit="{item}",
            description="Codes and consents that were forgotten before their time, for want of room.",
        )

    def accepted(self, method: str) -> None:
        """Count a request whose caller is known, by how it is."""
        self._accepted.add(1, {"ledger.auth.method": method})

    def refused(self, reason: str) -> None:
        """Count credentials that were refused."""
        self._refused.add(1, {"ledger.auth.reason": reason})

    def keys_asked(self, outcome: str) -> None:
        """Count a question for keys: `ok`, `failed` or `held_back`."""
        self._asked.add(1, {"ledger.auth.outcome": outcome})

    def token_forgotten(self) -> None:
        """Count a token that made room for another."""
        self._forgotten.add(1)

    def token_issued(self, grant: str) -> None:
        """Count a token that the authorization server gave."""
        self._issued.add(1, {"ledger.auth.grant": grant})

    def grant_refused(self, reason: str) -> None:
        """Count a request that the authorization server refused."""
        self._grants_refused.add(1, {"ledger.auth.reason": reason})

    def dropped(self, what: str) -> None:
        """Count a `code` or `consent` that made room for another."""
        self._dropped.add(1, {"ledger.auth.item": what})
