"""Goal: parsed values lose their secrets by the names of fields and by what they hold, and nothing else.

Method: values in, values out; a value without a secret is the same object.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from sentinel.core.redact import Redactor, RedactPolicy, redact_fields, redact_value
from sentinel.core.redact.fields import DEPTH_MAX, VALUE_CHARS_MAX
from tests.support.canaries import CARDS, NAMES, SHAPED


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", ["zQ7canary9", 1234, 1.5, ["zQ7canary9"], {"a": {"b": 1}}])
def test_a_secret_name_hides_a_value_of_any_type(name: str, value: object) -> None:
    assert list(redact_fields({name: value}).values()) == ["[SECRET]"]  # type: ignore[attr-defined]


def test_names_that_only_look_like_it_keep_their_values() -> None:
    value = {
        "password_changed_at": "2026-11-22",
        "token_count": 5,
        "company": "a",
        "span": {"id": 3},
        "key": "route",
        "pinned": True,
        "password": None,
        "secret": "",
        "token": False,
        "amount_minor": 4111111111111111,
        "sequence": 4222222222222,
        "timestamp": 5555555555554444,
        "time": "4111111111111111",
        "created_at": "2026-11-22T17:00:00.123456789Z",
        "trace_id": "41111111111111114111111111111111",
        "spanId": "4111111111111111",
        "n": [1.5, 10**15, 4111111111111112, 1e300, -4111111111111111],
    }
    assert redact_fields(value) is value


def test_a_typed_name_is_believed_only_of_what_fits_its_type() -> None:
    """A name such as `timestamp` must not be a way round: only a stamp is let through by it."""
    value = {
        "timestamp": "paid with 4111111111111111",
        "trace_id": "4111-1111-1111-1111",
        "amount": "4111 1111 1111 1111",
    }
    assert redact_fields(value) == {
        "timestamp": "paid with [PAN]",
        "trace_id": "[PAN]",
        "amount": "[PAN]",
    }


@pytest.mark.parametrize("kind", CARDS)
def test_numbers_are_looked_at_too(kind: str) -> None:
    number = int(CARDS[kind])
    assert redact_fields({"n": [number]}) == {"n": ["[PAN]"]}
    if number < 2**53:
        assert redact_fields({"n": {"m": float(number)}}) == {"n": {"m": "[PAN]"}}


@pytest.mark.parametrize("kind", SHAPED)
def test_secrets_are_found_at_any_depth_and_in_names(kind: str) -> None:
    secret = SHAPED[kind]
    value = {"a": [{"b": [secret, 1]}], secret: 1, "z": "kept"}
    hidden = redact_fields(value)
    assert secret not in repr(hidden)
    assert "'kept'" in repr(hidden)


def test_what_is_nested_too_deeply_is_given_up() -> None:
    deep: Any = "4111111111111111"
    for _ in range(10_000):
        deep = [deep]
    hidden = redact_fields(deep)
    for _ in range(DEPTH_MAX):
        hidden = hidden[0]  # type: ignore[index]
    assert hidden == "[TOO-DEEP]"


def test_long_texts_are_cut_and_do_not_end_in_half_a_card() -> None:
    text = "x" * (VALUE_CHARS_MAX - 9) + "4111111111111111"
    hidden = redact_fields({"n": text})["n"]  # type: ignore[index]
    assert "4111" not in hidden
    assert hidden.endswith("[CUT]")


def test_other_types_are_taken_by_their_text() -> None:
    class Unshowable:
        def __str__(self) -> str:
            raise RuntimeError

    assert redact_fields([b"4111111111111111"]) == ["b'[PAN]'"]
    assert redact_fields([Unshowable()]) == "[REDACTION-ERROR]"


def test_a_policy_says_what_is_hidden_beyond() -> None:
    line = (
        "call +49 30 12345678 or (212) 555-0187, ssn 078-05-1120, 4111 1111 1111 1111, a@b.example"
    )
    key = b"k" * 16
    digest = hmac.new(key, b"a@b.example", hashlib.sha256).hexdigest()[:8]
    hidden = Redactor(RedactPolicy(phone=True, ssn=True, keep_last4=True, mail_key=key)).text(line)
    assert hidden == f"call [PHONE] or [PHONE], ssn [SSN], 411111******1111, [EMAIL:{digest}]"
    assert key.decode() not in repr(RedactPolicy(mail_key=key))


def test_own_names_are_compared_without_case_and_separators() -> None:
    redactor = Redactor(RedactPolicy(keys=frozenset({"Customer-Ref"})))
    assert redact_value({"customerRef": "x1"}, redactor) == {"customerRef": "[SECRET]"}
    for name in ("customer_ref", "Customer-Ref", "CUSTOMERREF", "customer ref"):
        assert redactor.text(f"for {name}=x1 z=1") == f"for {name}=[SECRET] z=1"
    for other in ("customer_reference=x1", "xcustomer_ref=x1"):
        assert redactor.text(other) == other


@pytest.mark.parametrize("keep_last4", [True, False])
def test_tracks_and_security_codes_are_kept_in_no_form(*, keep_last4: bool) -> None:
    redactor = Redactor(RedactPolicy(keep_last4=keep_last4))
    assert redactor.text("%B4111111111111111^CANARY/P^29121010000?") == "[TRACK]"
    assert redact_value({"cvv": 123}, redactor) == {"cvv": "[SECRET]"}
