"""Goal: no secret passes, in any of the shapes it comes in; ordinary numbers pass untouched.

Method: one line a shape, published test numbers, and for clean lines the shapes that look most like secrets.
"""

from __future__ import annotations

import random

import pytest

from sentinel.core.redact import FAILED, LINE_CHARS_MAX, redact
from sentinel.core.redact import cards as redact_cards
from sentinel.core.redact import text as redact_text
from sentinel.core.redact.checks import is_card_number, is_iban, passes_luhn

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"

SECRETS = [
    ("card 4111111111111111 refused", "4111111111111111"),
    ("card 4111 1111 1111 1111 refused", "4111 1111"),
    ("card 4111-1111-1111-1111.", "4111-1111"),
    ("amex 378282246310005", "378282246310005"),
    ("mc 5555555555554444 and 2223003122003222", "5555555555554444"),
    ("mc 5555555555554444 and 2223003122003222", "2223003122003222"),
    ("ref 12 4111 1111 1111 1111 77", "4111 1111"),
    (
        "\u0664\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661\u0661",
        "\u0664\u0661",
    ),
    ("card 4111\u00a01111\u00a01111\u00a01111", "1111"),
    ('{"n": 4111111111111111}', "4111111111111111"),
    ("n=4.111111111111111e15", "4.1111"),
    ("to DE89370400440532013000 today", "DE8937"),
    ("to DE89 3704 0044 0532 0130 00 today", "DE89 3704"),
    ("to gb82 west 1234 5698 7654 32", "gb82 west"),
    (f"token is {JWT}", JWT),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY-----", "MIIE"),
    ("-----BEGIN PRIVATE KEY-----\nMIIEvQ cut off", "MIIEvQ"),
    ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
    ("slack xoxb-1234567890-abcdefghij", "xoxb-1234567890"),
    ("git ghp_abcdefghijklmnopqrstuvwxyz0123456789", "ghp_abc"),
    ("Authorization: Bearer abc.def-ghi", "abc.def"),
    ("authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
    ('{"Authorization":"Bearer s3cr3t-value"}', "s3cr3t"),
    ("sent bearer abcdef123456 along", "abcdef123456"),
    ("postgres://app:hunter2@db:5432/ledger", "hunter2"),
    ("GET /x?token=abcdef&page=2", "abcdef"),
    ("mail jane.doe+x@example.co.uk bounced", "jane"),
    ("password=hunter2", "hunter2"),
    ("PassWord : 'two words'", "two words"),
    ('{"card_number": "4000 0000", "x": 1}', "4000"),
    ('{"cvv": 123}', "123"),
    ('{"pin": [1, 2, 3]}', "2, 3"),
    ('{"client-secret": {"a": "b"}}', '"b"'),
    ('{\\"api_key\\": \\"zzz\\"}', "zzz"),
    ("Cookie: session=abc123", "abc123"),
    ("iban=XX00", "XX00"),
]


@pytest.mark.parametrize(("line", "secret"), SECRETS, ids=[str(n) for n in range(len(SECRETS))])
def test_no_secret_passes(line: str, secret: str) -> None:
    assert secret in line
    assert secret not in redact(line)


def test_timestamps_are_not_cards() -> None:
    """One nanosecond timestamp in ten passes Luhn; masking those destroyed logs."""
    rng = random.Random(7)
    stamps = [str(1_790_000_000_000_000_000 + rng.randrange(10**15)) for _ in range(5000)]
    assert sum(passes_luhn(stamp) for stamp in stamps) > 300
    assert not any(is_card_number(stamp) for stamp in stamps)


def test_check_digits() -> None:
    assert is_iban("GB82WEST12345698765432")
    assert not is_iban("GB82WEST12345698765431")
    assert not is_iban("ZZ82WEST12345698765432")
    assert not is_card_number("411111111111111")


def test_what_surrounds_a_secret_stays() -> None:
    assert redact('{"pan":"4111111111111111","amount":1200}') == '{"pan":"[SECRET]","amount":1200}'
    assert redact("to DE89 3704 0044 0532 0130 00 paid") == "to [IBAN] paid"


def test_a_cut_text_does_not_end_in_half_a_card() -> None:
    text = "x" * (redact_text.LINE_CHARS_MAX - 10) + "4111111111111111"
    result = redact(text)
    assert result.endswith("[CUT]")
    assert "4111" not in result


def test_it_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(text: object, **_: object) -> str:
        msg = "a fault of ours"
        raise RuntimeError(msg)

    monkeypatch.setattr(redact_cards, "hide_cards", broken)
    assert redact("card 4111111111111111") == redact_text.FAILED


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "4",
            "a@",
            'pan="',
            "-----BEGIN A-----",
            "eyJ",
            "1 ",
            "4 ",
            "://",
            "DE12 ",
            "pan={",
            "\\",
        ),
        *(
            "%",
            "%4",
            "%41",
            "a",
            "a%",
            "Cookie: a=b; ",
            "authorization: a=b, ",
            "<a>",
            "<password>",
        ),
        *(
            "\\u0041",
            "4111-",
            "%B4111111111111111^",
            "4111111111111111=1234567",
            "eyJhbGciOiJIUzI1NiJ9.",
        ),
        *("bearer ", "a.", "/a", "?code=", "key key ", "\u200b", "1.", "aB", "password='"),
    ],
)
def test_a_hostile_megabyte_ends(unit: str) -> None:
    """A pattern that backtracks would not end before the test's time is up; one that fails says so in place of the text."""
    left = redact(unit * (1_000_000 // len(unit)))
    assert FAILED not in left
    # What stands in for a secret may be longer than it, and no more than that.
    assert 0 < len(left) <= 2 * LINE_CHARS_MAX
