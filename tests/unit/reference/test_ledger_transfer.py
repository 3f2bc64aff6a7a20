"""Goal: a request is accepted exactly when it is sound, and its identity is derived, not drawn.

Method: one valid body, changed in one place at a time.
"""

from __future__ import annotations

import pytest

from sentinel.reference.ledger.domain import (
    InvalidTransferError,
    PermanentError,
    parse_transfer,
    transaction_id,
)
from sentinel.reference.ledger.wire.envelope import Envelope, decode_envelope, encode_envelope

BODY: dict[str, object] = {
    "debit_account": "external:bank",
    "credit_account": "alice",
    "amount_minor": 1250,
    "currency": "EUR",
}


def test_a_valid_body_becomes_a_transfer() -> None:
    transfer = parse_transfer(tenant="shop", idempotency_key="k-1", body=BODY)
    assert (transfer.debit_account, transfer.credit_account) == ("external:bank", "alice")
    assert transfer.amount_minor == 1250


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"amount_minor": 0}, "invalid_field", "amount_minor"),
        ({"amount_minor": -5}, "invalid_field", "amount_minor"),
        ({"amount_minor": True}, "invalid_field", "amount_minor"),
        ({"amount_minor": 12.5}, "invalid_field", "amount_minor"),
        ({"amount_minor": "12"}, "invalid_field", "amount_minor"),
        ({"amount_minor": 2**53}, "invalid_field", "amount_minor"),
        ({"currency": "eur"}, "invalid_field", "currency"),
        ({"currency": "EURO"}, "invalid_field", "currency"),
        ({"currency": "EUR\n"}, "invalid_field", "currency"),
        ({"credit_account": "external:bank"}, "same_account", "credit_account"),
        ({"credit_account": ""}, "invalid_field", "credit_account"),
        ({"debit_account": "a b"}, "invalid_field", "debit_account"),
        ({"debit_account": "x" * 65}, "invalid_field", "debit_account"),
        ({"colour": "blue"}, "unknown_field", "colour"),
        ({"expires_in_s": 0}, "invalid_field", "expires_in_s"),
        ({"expires_in_s": None}, "invalid_field", "expires_in_s"),
        ({"expires_in_s": True}, "invalid_field", "expires_in_s"),
        ({"expires_in_s": 90 * 86_400 + 1}, "invalid_field", "expires_in_s"),
    ],
)
def test_a_wrong_field_is_named(change: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        parse_transfer(tenant="shop", idempotency_key="k", body={**BODY, **change})
    assert (caught.value.code, caught.value.field) == (code, field)


@pytest.mark.parametrize("missing", sorted(BODY))
def test_a_missing_field_is_named(missing: str) -> None:
    body = {name: value for name, value in BODY.items() if name != missing}
    with pytest.raises(InvalidTransferError) as caught:
        parse_transfer(tenant="shop", idempotency_key="k", body=body)
    assert caught.value.field == missing


@pytest.mark.parametrize(
    ("tenant", "key", "code"),
    [
        ("", "k", "invalid_tenant"),
        ("Shop", "k", "invalid_tenant"),
        ("a:b", "k", "invalid_tenant"),
        ("shop", "", "invalid_idempotency_key"),
        ("shop", "k" * 256, "invalid_idempotency_key"),
        ("shop", "a b", "invalid_idempotency_key"),
        ("shop", "k\r\nNats-Evil: 1", "invalid_idempotency_key"),
        ("shop", "ключ", "invalid_idempotency_key"),
    ],
)
def test_identity_is_checked(tenant: str, key: str, code: str) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        parse_transfer(tenant=tenant, idempotency_key=key, body=BODY)
    assert caught.value.code == code


@pytest.mark.parametrize("body", [None, [], "text", 5])
def test_a_body_that_is_no_object_is_refused(body: object) -> None:
    with pytest.raises(InvalidTransferError, match="JSON object"):
        parse_transfer(tenant="shop", idempotency_key="k", body=body)


def test_the_longest_key_is_accepted() -> None:
    transfer = parse_transfer(tenant="shop", idempotency_key="k" * 255, body=BODY)
    assert len(transfer.idempotency_key) == 255


def test_the_id_is_the_same_for_a_replay_and_another_for_another_tenant_or_key() -> None:
    first = transaction_id(tenant="shop", idempotency_key="k")
    assert first == transaction_id(tenant="shop", idempotency_key="k")
    assert first.version == 5
    others = {
        transaction_id(tenant="shop", idempotency_key="k2"),
        transaction_id(tenant="shop2", idempotency_key="k"),
    }
    assert first not in others
    assert len(others) == 2


def test_every_field_counts_in_the_fingerprint() -> None:
    changes: list[dict[str, object]] = [
        {},
        {"debit_account": "external:card"},
        {"credit_account": "bob"},
        {"amount_minor": 1251},
        {"currency": "USD"},
        {"expires_in_s": 60},
        {"expires_in_s": 61},
    ]
    marks = {
        parse_transfer(tenant="shop", idempotency_key="k", body={**BODY, **change}).fingerprint
        for change in changes
    }
    assert len(marks) == len(changes)


def test_an_envelope_survives_the_wire() -> None:
    transfer = parse_transfer(tenant="shop", idempotency_key="k", body=BODY)
    envelope = Envelope(asked=transfer, cohort=3, accepted_ns=1_700_000_000_000_000_001)
    assert decode_envelope(encode_envelope(envelope)) == envelope


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"{", b"", "not_json"),
        (b'"version":2', b'"version":1', "unknown_version"),
        (b'"amount_minor":1250', b'"amount_minor":-1', "invalid_field"),
        (b'"tenant":"shop"', b'"tenant":"other"', "foreign_id"),
        (b'"accepted_ns":5', b'"accepted_ns":"5"', "no_accepted_ns"),
        (b'"tenant":"shop"', b'"tenant":7', "no_identity"),
    ],
)
def test_a_message_that_makes_no_sense_is_refused_for_good(
    old: bytes, new: bytes, code: str
) -> None:
    transfer = parse_transfer(tenant="shop", idempotency_key="k", body=BODY)
    payload = encode_envelope(Envelope(asked=transfer, cohort=3, accepted_ns=5))
    assert old in payload
    with pytest.raises(PermanentError) as caught:
        decode_envelope(payload.replace(old, new))
    assert caught.value.code == code
