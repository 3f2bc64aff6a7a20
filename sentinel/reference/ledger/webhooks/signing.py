"""The signatures of one attempt: each secret that is valid signs the same content, and the receiver needs to know one of them.

HMAC-SHA256 (`v1`) is Standard Webhooks' own library, Ed25519 (`v1a`) is PyNaCl.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime

from nacl.signing import SigningKey
from standardwebhooks import Webhook

from sentinel.reference.ledger.domain.webhooks.message import signed_content
from sentinel.reference.ledger.wire.webhook_secrets import HMAC_PREFIX, PRIVATE_PREFIX


def signature_headers(
    *, message_id: str, timestamp_s: int, body: bytes, secrets: Sequence[str]
) -> dict[str, str]:
    """Return the three headers.

    Args:
        message_id: the same for every attempt.
        timestamp_s: Unix seconds of this attempt, by which a receiver tells an old one that somebody sends again.
        body: what is sent.
        secrets: `whsec_…` or `whsk_…`, the newest first.

    Raises:
        ValueError: a secret is of no known kind.
    """
    signatures = [_sign(secret, message_id, timestamp_s, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signatures),
    }


def _sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    if secret.startswith(HMAC_PREFIX):
        moment = datetime.fromtimestamp(timestamp_s, tz=UTC)
        return Webhook(secret).sign(message_id, moment, body.decode())
    if secret.startswith(PRIVATE_PREFIX):
        seed = b64decode(secret.removeprefix(PRIVATE_PREFIX), validate=True)[:32]
        content = signed_content(message_id, timestamp_s, body)
        return "v1a," + b64encode(SigningKey(seed).sign(content).signature).decode()
    message = "a secret begins with whsec_ or whsk_"
    raise ValueError(message)
