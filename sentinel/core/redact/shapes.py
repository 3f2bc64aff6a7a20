"""Shapes that betray themselves wherever they stand: keys, tokens, addresses with a password, mail, account numbers."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

from sentinel.core.redact.checks import is_iban

_PEM = re.compile(
    r"-----?\s?BEGIN [A-Z0-9 ]{1,40}-----?.*?(?:-----?\s?END [A-Z0-9 ]{1,40}-----?|\Z)", re.DOTALL
)
# The header's JSON begins with a brace and a quote, a space or a line end. Two parts are enough: what was cut off
# still holds the claims.
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])((?:eyJ|eyA|ewo|ewk|ew0)[A-Za-z0-9_-]{5,})(?:\.[A-Za-z0-9_-]*){1,4}"
)
_CLOUD_MARKS = (
    "AKIA", "ASIA", "ABIA", "ACCA", "xox", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "k_live_",
    "k_test_", "whsec_", "AIza", "ya29.", "SG.", "npm_", "pypi-", "hvs.", "hvb.", "shpat_", "shpss_", "sk-", "dop_v1_",
    "sq0", "hooks.slack.com/", "AGE-SECRET-KEY-",
)  # fmt: skip
_CLOUD_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_.-]{20,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{10,}|whsec_[A-Za-z0-9+/=]{16,}|AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}"
    r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{40,}|hv[sb]\.[A-Za-z0-9_-]{20,}"
    r"|shp(?:at|ss)_[A-Fa-f0-9]{32}|sk-(?:[a-z]{2,8}-)?(?:[a-z0-9]{2,8}-)?[A-Za-z0-9_-]{20,}|dop_v1_[a-f0-9]{40,}"
    r"|sq0(?:atp|csp)-[A-Za-z0-9_-]{20,}|hooks\.slack\.com/services/[A-Za-z0-9/_-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{50,})"
)
_SEED = re.compile(r"(?<![A-Z0-9])S[UAONCX][A-Z2-7]{56}(?![A-Z0-9])")
_SCHEME = re.compile(
    r"\b(?P<key>bearer|basic)\s{1,3}(?P<value>[A-Za-z0-9._~+/=-]{6,})", re.IGNORECASE
)
_TELLING = re.compile(r"[0-9._~+/=]")
# Greedy up to the last `@` of the authority, because a password may hold one unescaped.
_USERINFO = re.compile(r"(?P<key>\b[A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/?#\"'<>\\]{1,256}@")
_MAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![^\W_])")
_MAIL_CUT = re.compile(r"[\w.%+-]{1,64}@[\w.-]{0,200}$")
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ .+_-]?[A-Za-z0-9]{4}){2,7}(?:[ .+_-]?[A-Za-z0-9]{1,4})?(?![A-Za-z0-9])"
)
_SEPARATORS = str.maketrans("", "", " .+_-")
_PHONE = re.compile(
    r"(?<![\w+.-])(?:\+[1-9][0-9]{0,2}[ .-]?(?:\([0-9]{1,4}\)[ .-]?)?[0-9]{1,4}(?:[ ./-]?[0-9]{2,4}){2,4}"
    r"|00[1-9][0-9]{8,13}|\([2-9][0-9]{2}\)[ .-]?[2-9][0-9]{2}[ .-]?[0-9]{4}|[2-9][0-9]{2}[.-][2-9][0-9]{2}[.-][0-9]{4})"
    r"(?![\w-])"
)
_SSN = re.compile(
    r"(?<![\w-])(?!000|666|9)[0-9]{3}([ -])(?!00)[0-9]{2}\1(?!0000)[0-9]{4}(?![\w-])"
)


def hide_pem(text: str) -> str:
    """PEM and SSH2 blocks, also one whose end was cut off."""
    return _PEM.sub("[PEM]", text)


def hide_jwt(text: str) -> str:
    """JSON web tokens, signed and encrypted, whose header decodes to one that names an algorithm."""
    return _JWT.sub(_jwt, text)


def hide_keys(text: str) -> str:
    """Keys of clouds and services, by the marks they carry."""
    for mark in _CLOUD_MARKS:
        if mark in text:
            text = _CLOUD_KEY.sub("[KEY]", text)
            break
    return text


def hide_seeds(text: str) -> str:
    """Seeds of NATS keys."""
    return _SEED.sub("[KEY]", text)


def hide_schemes(text: str) -> str:
    """`Bearer` and `Basic` with what looks like a credential rather than a word."""
    return _SCHEME.sub(_scheme, text)


def hide_userinfo(text: str) -> str:
    """User and password of URLs."""
    return _USERINFO.sub(r"\g<key>[USERINFO]@", text)


def hide_mail(text: str, key: bytes) -> str:
    """Mail addresses, told apart by their HMAC when there is a key."""
    if not key:
        return _MAIL.sub("[EMAIL]", text)
    return _MAIL.sub(lambda match: f"[EMAIL:{_digest(match.group(), key)}]", text)


def hide_cut_mail(text: str) -> str:
    """A mail address whose end was cut off."""
    return _MAIL_CUT.sub("[CUT]", text)


def hide_iban(text: str) -> str:
    """International account numbers: country, length and remainder."""
    return _IBAN.sub(_iban, text)


def hide_phones(text: str) -> str:
    """Phone numbers with a country's prefix, and those of North America as they are written there."""
    return _PHONE.sub("[PHONE]", text)


def hide_ssn(text: str) -> str:
    """United States social security numbers."""
    return _SSN.sub("[SSN]", text)


def _jwt(match: re.Match[str]) -> str:
    header = match.group(1)
    try:
        decoded = base64.urlsafe_b64decode(header + "=" * (-len(header) % 4))
    except (ValueError, binascii.Error):
        return match.group()
    return "[JWT]" if b'"alg"' in decoded else match.group()


def _scheme(match: re.Match[str]) -> str:
    value = match.group("value")
    if match.group("key").lower() == "basic":
        try:
            is_secret = b":" in base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
        except (ValueError, binascii.Error):
            is_secret = False
    else:
        is_secret = len(value) >= 16 or _TELLING.search(value.rstrip(".")) is not None
    return f"{match.group('key')} [SECRET]" if is_secret else match.group()


def _digest(mail: str, key: bytes) -> str:
    return hmac.new(key, mail.lower().encode(), hashlib.sha256).hexdigest()[:8]


def _iban(match: re.Match[str]) -> str:
    text = match.group()
    if is_iban(text.translate(_SEPARATORS).upper()):
        return "[IBAN]"
    # Words after an IBAN in groups of four may have been taken along; try without them, longest first.
    for end in range(len(text) - 1, 14, -1):
        if text[end] in " .+_-" and is_iban(text[:end].translate(_SEPARATORS).upper()):
            return "[IBAN]" + text[end:]
    return text
