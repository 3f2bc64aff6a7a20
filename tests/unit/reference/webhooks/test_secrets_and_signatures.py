"""Goal: secrets are sealed to one process, and signatures are those of Standard Webhooks.

Method: the specification's own example, a second opinion by another library, and files as people get them wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sentinel.reference.ledger.domain import LedgerError, PermanentError, UnreadableError
from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.webhooks.addresses import AddressPolicy
from sentinel.reference.ledger.domain.webhooks.asked import (
    Signature,
    parse_endpoint,
    parse_rotation,
)
from sentinel.reference.ledger.domain.webhooks.message import CHOOSABLE, EventType, make_event
from sentinel.reference.ledger.webhooks.signing import signature_headers
from sentinel.reference.ledger.wire.webhook_secrets import (
    Opener,
    Sealer,
    make_key_files,
    new_secret,
)


def test_the_specifications_example_is_signed_as_it_says() -> None:
    headers = signature_headers(
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp_s=1614265330,
        body=b'{"test": 2432232314}',
        secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_each_secret_signs_in_its_own_way() -> None:
    shared, pair = new_secret(Signature.HMAC), new_secret(Signature.ED25519)
    body = '{"ü":1}'.encode()
    headers = signature_headers(
        message_id="m", timestamp_s=7, body=body, secrets=[shared.secret, pair.secret]
    )
    first, second = headers["webhook-signature"].split(" ")
    key = b64decode(shared.secret.removeprefix("whsec_"))
    assert 24 <= len(key) <= 64
    assert (
        first == "v1," + b64encode(hmac.new(key, b"m.7." + body, hashlib.sha256).digest()).decode()
    )
    assert pair.public_key is not None
    public = Ed25519PublicKey.from_public_bytes(b64decode(pair.public_key.removeprefix("whpk_")))
    public.verify(b64decode(second.removeprefix("v1a,")), b"m.7." + body)


def test_a_secret_of_another_kind_signs_nothing_and_is_not_shown() -> None:
    with pytest.raises(ValueError, match="begins with") as caught:
        signature_headers(message_id="m", timestamp_s=7, body=b"", secrets=["hunter2"])
    assert "hunter2" not in str(caught.value)
    assert "whsec_" not in repr(new_secret(Signature.HMAC))


def test_the_edge_seals_and_only_the_sender_opens_also_after_its_key_changed(
    tmp_path: Path,
) -> None:
    private, public = tmp_path / "private", tmp_path / "public"
    make_key_files(private=private, public=public)
    sealed = Sealer.of_file(public).seal("whsec_x")
    assert b"whsec_x" not in sealed
    assert Opener.of_file(private).open(sealed) == "whsec_x"
    old = private.read_text()
    make_key_files(private=private, public=public)
    assert private.read_text() == old
    private.unlink()
    make_key_files(private=private, public=public)
    assert Opener.of_file(private).open(sealed) is None
    private.write_text(private.read_text() + old)
    make_key_files(private=private, public=public)
    assert Opener.of_file(private).open(sealed) == "whsec_x"
    assert Opener.of_file(private).open(Sealer.of_file(public).seal("new")) == "new"


def test_files_that_hold_no_keys_are_refused(tmp_path: Path) -> None:
    private, public = tmp_path / "private", tmp_path / "public"
    make_key_files(private=private, public=public)
    with pytest.raises(UnreadableError, match="cannot read"):
        Sealer.of_file(tmp_path / "none")
    with pytest.raises(LedgerError, match="something else") as caught:
        Sealer.of_file(private)
    assert private.read_text().strip() not in str(caught.value)
    private.chmod(0o640)
    with pytest.raises(UnreadableError, match="chmod 600"):
        Opener.of_file(private)
    public.write_text("")
    with pytest.raises(LedgerError, match="no key"):
        Sealer.of_file(public)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], ""),
        ({}, "url"),
        ({"url": 5}, "url"),
        ({"url": "http://example.com/"}, "url"),
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": "https://example.com/", "secret": "mine"}, "secret"),
        ({"url": "https://example.com/", "event_types": []}, "event_types"),
        ({"url": "https://example.com/", "event_types": ["everything"]}, "event_types"),
        ({"url": "https://example.com/", "event_types": [[]]}, "event_types"),
        ({"url": "https://example.com/", "signature": "v2"}, "signature"),
        ({"url": "https://example.com/", "signature": []}, "signature"),
        ({"url": "https://example.com/", "description": "a\nb"}, "description"),
        ({"url": "https://example.com/", "description": "x" * 201}, "description"),
    ],
)
def test_what_is_wrong_with_a_registration_is_named(body: object, field: str) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        parse_endpoint(body, AddressPolicy())
    assert caught.value.field == field


def test_a_registration_says_what_it_leaves_out() -> None:
    asked = parse_endpoint({"url": "https://example.com/"}, AddressPolicy())
    assert (asked.event_types, asked.signature) == (CHOOSABLE, Signature.HMAC)
    assert parse_rotation(None) == 86_400
    assert parse_rotation({"overlap_s": 0}) == 0
    wrong_bodies: list[object] = [
        *({"overlap_s": wrong} for wrong in (-1, True, 10**9, "5")),
        {"x": 1},
        [],
    ]
    for wrong in wrong_bodies:
        with pytest.raises(InvalidTransferError):
            parse_rotation(wrong)


def test_a_body_says_what_happened_and_is_bounded() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    kept = {"kind": EventType.REJECTED, "tenant": "t", "cohort": 0, "occurred_at": moment}
    event = make_event(event_id=uuid.UUID(int=1), data={"reason": "insufficient_funds"}, **kept)  # type: ignore[arg-type]
    assert (
        event.body
        == b'{"type":"transaction.rejected","timestamp":"2026-01-02T03:04:05Z","data":{"reason":"insufficient_funds"}}'
    )
    with pytest.raises(PermanentError, match="bytes"):
        make_event(event_id=uuid.UUID(int=1), data={"x": "x" * 65536}, **kept)  # type: ignore[arg-type]
