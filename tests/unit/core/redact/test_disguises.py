"""Goal: each kind of secret is found in every form in which logs carry it.

Method: the product of kinds and forms, from `tests.support.canaries`. A secret counts as gone when neither it nor its
digits can be read from what is left, whatever stands between them.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from urllib.parse import unquote

import pytest

from sentinel.core.redact import redact
from tests.support.canaries import (
    CARD_DISGUISES,
    CARDS,
    DISGUISES,
    GONE,
    NAMES,
    SHAPED,
    SINGLE_FORMS,
    VALUE,
)

_RUN = re.compile(r"[A-Za-z0-9+/_-]{12,}")


def readable(text: str) -> str:
    """All that a reader could make of it: digits as ASCII, separators gone, and each encoding undone."""
    found = [text, unquote(text), re.sub(r"\\+u00(..)", lambda m: chr(int(m[1], 16)), text)]
    for run in _RUN.findall(text):
        body = run.replace("-", "+").replace("_", "/")
        found.append(base64.b64decode(body + "=" * (-len(body) % 4)).decode("utf-8", "replace")
                     if len(body) % 4 != 1 else "")  # fmt: skip
    plain = "".join(
        str(unicodedata.digit(char)) if char.isdigit() else char for char in "\n".join(found)
    )
    return plain + "\n" + re.sub(r"[^0-9A-Za-z\n]", "", plain)


@pytest.mark.parametrize("kind", SHAPED)
def test_a_shape_is_found_in_every_form(kind: str) -> None:
    secret = SHAPED[kind]
    gone = GONE.get(kind, secret)
    for form, dress in DISGUISES.items():
        line = dress(secret)
        assert gone in readable(line), (kind, form, "the test itself does not see it")
        assert gone not in readable(redact(line)), (kind, form, line, redact(line))


@pytest.mark.parametrize("kind", CARDS)
def test_a_card_is_found_however_its_digits_are_written(kind: str) -> None:
    digits = CARDS[kind]
    for form, dress in CARD_DISGUISES.items():
        line = dress(digits)
        assert digits in readable(line), (kind, form, "the test itself does not see it")
        assert digits not in readable(redact(line)), (kind, form, line, redact(line))


@pytest.mark.parametrize("name", NAMES)
def test_a_named_value_goes_whatever_it_is(name: str) -> None:
    for form, write in SINGLE_FORMS.items():
        if form == "xml" and " " in name:
            continue
        line = write(name, VALUE)
        assert VALUE not in redact(line), (form, line, redact(line))


@pytest.mark.parametrize(
    "line",
    [
        "Authorization: Bearer zQ7canary9",
        "authorization: Basic dXNlcjp6UTdjYW5hcnk5",
        'Authorization: Digest username="u", realm="r", nonce="n", response="zQ7canary9", opaque="zQ7canary9"',
        "Authorization: AWS4-HMAC-SHA256 Credential=zQ7canary9/20261122/eu/s3, SignedHeaders=host, Signature=zQ7canary9",
        "proxy-authorization: Negotiate zQ7canary9==",
        "Cookie: a=zQ7canary9; b=zQ7canary9; session=zQ7canary9",
        "Set-Cookie: sid=zQ7canary9; Path=/; HttpOnly",
        '{"headers":{"cookie":["a=zQ7canary9; b=zQ7canary9"]}}',
        "https://zQ7canary9:zQ7canary9@example.com/path",
        "nats://zQ7canary9@10.0.0.1:4222",
        "amqp://user:pa@zQ7canary9@host/vhost",
        "/callback?code=zQ7canary9zQ7canary9&state=1",
        "https://acc.blob.core.windows.net/c?sv=2020&sig=zQ7canary9%3D&se=1",
        "X-Amz-Signature=zQ7canary9 X-Amz-Security-Token=zQ7canary9",
        "AccountKey=zQ7canary9==;EndpointSuffix=core.windows.net",
        "password=(zQ7canary9)",
        "token: Bearer zQ7canary9",
        '{"password": "with \\" quote zQ7canary9", "z": 1}',
        "password='zQ7canary9",
        '<user><password type="text">zQ7canary9</password></user>',
        "%7B%22password%22%3A%22zQ7canary9%22%7D",
        '{\\\\\\"secret\\\\\\": \\\\\\"zQ7canary9\\\\\\"}',
        "-----BEGIN OPENSSH PRIVATE KEY-----\\nzQ7canary9\\n-----END OPENSSH PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nzQ7canary9",
    ],
)
def test_what_headers_and_urls_carry_goes(line: str) -> None:
    hidden = redact(line)
    assert "zQ7canary9" not in hidden, hidden
    assert "dXNlcjp6UTdjYW5hcnk5" not in hidden


def test_what_stands_round_a_secret_stays() -> None:
    assert redact('{"note":"4111111111111111","z":"kept"}') == '{"note":"[PAN]","z":"kept"}'
    assert redact("/pay?x=canary%40example.com&y=2") == "/pay?x=[EMAIL]&y=2"
    assert redact('{"pin":{"a":[1,{"b":2}]},"z":1}') == '{"pin":[SECRET],"z":1}'
    assert redact("password=hunter2) retry") == "password=[SECRET]) retry"
    assert redact("caf\u00e9 \u2013 no. 5\u00a0000") == "caf\u00e9 \u2013 no. 5\u00a0000"


CLEAN = [
    "seq 1790000000123456789 at 1790000000123 took 0.41111111111111112 s",
    "time=1790000000123456789 observed=1790000000123456 offset=9007199254740993",
    "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7",
    "span_id=4111111111111111 parent_span_id=5555555555554444",
    '{"spanId":"4111111111111111","traceId":"41111111111111114111111111111111"}',
    '{"amount_minor":4111111111111111,"sequence":4222222222222,"timestamp":5555555555554444}',
    "trace 5fe4e12e1c97b317a3e9ffb4111111111111111a and ab4111111111111111cdef0123456789",
    "uuid 41111111-1111-4111-8abc-123456789012 and 12345678-4111-1111-1111-1111abcdef12",
    "posted 129900 EUR from acc-1002 to acc-2093, balance 1,299,000.00",
    "rate 12.5/s p95=0.0123 n=1024 errors=0",
    "2026-11-22T17:00:00.123456Z INFO batch 512 of 10240",
    "2026-11-22 17:00:00,123 1790000000 1790000001 1790000002",
    "lock wait 5000 ms on relation 16384 of database 16385, lsn 16/B374D848",
    "opinion spinning company author uuid 0e7a7a3e-52f5-4a93-a2cc-6a2d5a1d1111",
    "GET /v1/transfers/{id} 200",
    "10.0.0.1 - - [22/Nov/2026:17:00:00 +0000] \"GET /a?page=2 HTTP/1.1\" 200 1234 \"-\" \"curl/8.0\"",
    "password_changed_at=2026-11-22 token_count=5 total_tokens=1234 pinned=true key=route:7 cache_key=a:b",
    "basic information about bearer services; Basic authentication failed",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "image registry/ledger@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "versions 1.2.3.4 2026.11.22 and 4111.1111.1111.1112",
    "sentinel_component_received_total{component=\"receivers.otlp_http\"} 5",
    "at com.example.ledger.PostingServiceImplementation.post(PostingService.java:123)",
    "C:\\Users\\u0041\\x41 path",
    "<a>text</a> if a < b and c > d",
    "phone +49 30 1234567 ssn 078-05-1120",
    "",
]  # fmt: skip


@pytest.mark.parametrize("line", CLEAN)
def test_ordinary_lines_pass_untouched(line: str) -> None:
    assert redact(line) == line
