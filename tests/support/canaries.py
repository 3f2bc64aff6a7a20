"""Secrets that are nobody's, of each kind, and the ways in which they come.

For every test that asks whether anything of them is left somewhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

JWT = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
    "eyJzdWIiOiI5OTcxMzM3IiwibmFtZSI6IkNhbmFyeSJ9.c2lnbmF0dXJlLW9mLWNhbmFyeQ"
)
JWE = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aXZpdml2aXZpdg.Y2lwaGVydGV4dGNhbmFyeQ.dGFnZ3RhZ2c"

CARDS = {
    "visa": "4111111111111111",
    "visa13": "4222222222222",
    "visa19": "4000000000000000006",
    "mastercard": "5555555555554444",
    "mastercard2": "2223003122003222",
    "amex": "378282246310005",
    "discover": "6011111111111117",
    "diners": "30569309025904",
    "jcb": "3530111333300000",
    "unionpay": "6200000000000005",
    "maestro": "6759649826438453",
    "mir": "2200000000000004",
}

# What betrays itself wherever it stands, with the part of it that must be gone.
SHAPED = {
    **CARDS,
    "iban_de": "DE89370400440532013000",
    "iban_gb": "GB82WEST12345698765432",
    "iban_no": "NO9386011117947",
    "jwt": JWT,
    "jwe": JWE,
    "mail": "canary.person+x@example.co.uk",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "slack": "xoxb-1234567890-abcdefghij",
    "github": "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "gitlab": "glpat-abcdefghijklmnopqrst",
    "stripe": "sk_live_abcdefghijklmnop",
    "google": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
    "vault": "hvs.CAESIJabcdefghijklmnopqrstuv",
    "nkey": "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
    "url": "postgres://app:hunter2canary@db:5432/ledger",
}
GONE = {"url": "hunter2canary"}

# Names whose values go, whatever they are.
NAMES = (
    "password", "Password", "PASSWORD", "db_password", "user.password", "userPassword", "passwd", "pwd", "passphrase",
    "secret", "client_secret", "clientSecret", "client-secret", "token", "access_token", "accessToken", "refresh_token",
    "id_token", "session_token", "csrf-token", "api_key", "apiKey", "api-key", "X-Api-Key", "private_key", "secret_key",
    "aws_secret_access_key", "encryption_key", "pan", "card_number", "cardNumber", "card-no", "card number", "cc_number",
    "primary_account_number", "cvv", "cvv2", "cvc", "CVC2", "cid", "track1", "track_2", "track2_data", "pin", "ssn",
    "iban", "creditor_iban", "account_no", "account_number", "accountNumber", "otp", "security_code", "password2",
    "credentials", "Authorization", "proxy-authorization", "http.request.header.authorization", "Cookie", "Set-Cookie",
)  # fmt: skip

VALUE = "zQ7canary9"

SINGLE_FORMS: dict[str, Callable[[str, str], str]] = {
    "logfmt": lambda key, value: f"at=info {key}={value} status=200",
    "colon": lambda key, value: f"{key}: {value}",
    "json": lambda key, value: json.dumps({"a": 1, key: value, "z": [2]}),
    "json_spaced": lambda key, value: f'{{ "{key}" : "{value}" }}',
    "json_in_json": lambda key, value: json.dumps({"msg": json.dumps({key: value}), "z": "kept"}),
    "repr": lambda key, value: repr({key: value, "z": 1}),
    "query": lambda key, value: f"GET /v1/x?a=1&{key}={value}&b=2 HTTP/1.1",
    "quoted": lambda key, value: f'{key}="{value} and {value}" z=1',
    "arrow": lambda key, value: f"{key} => {value}",
    "header": lambda key, value: f"{key}: {value}\r\nHost: x",
    "xml": lambda key, value: f"<{key}>{value}</{key}>",
    "list": lambda key, value: json.dumps({key: [value, {"deep": value}], "z": 1}),
    "object": lambda key, value: json.dumps({key: {"a": {"b": value}, "c": value}, "z": 1}),
}


def escaped(text: str) -> str:
    """Every character as JSON may write it."""
    return "".join(f"\\u{ord(char):04x}" for char in text)


def percent(text: str) -> str:
    """Every character as a URL may write it."""
    return "".join(f"%{byte:02X}" for byte in text.encode())


DISGUISES: dict[str, Callable[[str], str]] = {
    "bare": lambda secret: secret,
    "sentence": lambda secret: f"payment of {secret} was declined",
    "quotes": lambda secret: f'"{secret}"',
    "brackets": lambda secret: f"[{secret}],({secret})",
    "json": lambda secret: json.dumps({"note": secret, "n": 1}),
    "json_in_json": lambda secret: json.dumps({"m": json.dumps({"note": f"x {secret} y"})}),
    "logfmt": lambda secret: f'level=info note="{secret}" n=1',
    "query": lambda secret: f"/pay?x={secret}&y=2",
    "quoted_url": lambda secret: f"/pay?x={quote(secret, safe='')}&y=2",
    "percent": lambda secret: f"/pay?x={percent(secret)}&y=2",
    "base64": lambda secret: f"blob {base64.b64encode(f'id {secret} x'.encode()).decode()} end",
    "base64url": lambda secret: (
        f"v={base64.urlsafe_b64encode(secret.encode()).decode().rstrip('=')};"
    ),
    "escaped": lambda secret: f'{{"n":"{escaped(secret)}"}}',
    "exception": lambda secret: f"ValueError: bad input: {secret!r}",
    "tabs": lambda secret: f"a\t{secret}\tb",
    "lines": lambda secret: f"a\n{secret}\nb",
}

CARD_DISGUISES: dict[str, Callable[[str], str]] = {
    "spaces": lambda digits: _grouped(digits, " "),
    "dashes": lambda digits: _grouped(digits, "-"),
    "no_break_space": lambda digits: _grouped(digits, "\u00a0"),
    "thin_space": lambda digits: _grouped(digits, "\u2009"),
    "en_dash": lambda digits: _grouped(digits, "\u2013"),
    "zero_width": lambda digits: "\u200b".join(digits),
    "soft_hyphen": lambda digits: _grouped(digits, "\u00ad"),
    "one_by_one": lambda digits: " ".join(digits),
    "arabic": lambda digits: _script(digits, 0x0660),
    "devanagari": lambda digits: _script(digits, 0x0966),
    "full_width": lambda digits: _script(digits, 0xFF10),
    "json_number": lambda digits: f'{{"n":{digits},"m":1}}',
    "float": lambda digits: f'{{"n":{digits}.0}}',
    "letters": lambda digits: f"PAN{digits}X",
    "after_count": lambda digits: f"12 {_grouped(digits, ' ')} 7",
    "url_path": lambda digits: f"GET /cards/{digits}/limits",
    "track1": lambda digits: f"%B{digits}^CANARY/P^29121010000?",
    "track2": lambda digits: f";{digits}=29121010000012345?",
}


def _grouped(digits: str, mark: str) -> str:
    if len(digits) == 15:
        return mark.join((digits[:4], digits[4:10], digits[10:]))
    return mark.join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _script(digits: str, zero: int) -> str:
    return "".join(chr(zero + int(digit)) for digit in digits)
