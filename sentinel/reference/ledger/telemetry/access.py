"""Who was let in, who was not, and how the keys to tell were come by."""

from __future__ import annotations

from opentelemetry.metrics import Meter


class AccessSignals:
    """Counters of authentication."""

    def __init__(self, meter: Meter) -> None:
        self._accepted = meter.create_counter(
            "ledger.auth.accepted", unit="{request}", description="Requests whose caller is known."
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
