"""Secrets in other clothes: base64, percent signs, backslash escapes. One level is taken off, and no more.

A text is only changed when what stands behind the encoding holds a secret.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{18,}={0,2}")
_BASE64_CHARS_MAX = 16_384
_URL_SAFE = str.maketrans("-_", "+/")
_PROBE_CHARS = 16
_HEX = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
# Whole words, each looked at once: a pattern that looks for the sign inside one would try every place of a long word.
_WORD = re.compile(r"[^\s\"'<>]+")
_PERCENT_RUN = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_UNSAFE = re.compile(r"[\s\"'<>%\\\x00-\x1f\x7f]")
_ESCAPE = re.compile(r"\\{1,2}(?:u00([2-7][0-9A-Fa-f])|x([2-7][0-9A-Fa-f])|u(0[0-9A-Fa-f]{3}))")
# What an escape may be turned into without changing the text around it.
_HARMLESS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 -_.@:=/+")

Hide = Callable[[str], str]


def hide_base64(text: str, hide: Hide) -> str:
    """Runs of base64 that decode to text with a secret in it become `[BASE64]`."""

    def run(match: re.Match[str]) -> str:
        whole = match.group()
        if _holds_secret(whole, hide):
            return "[BASE64]"
        if "/" in whole:
            # A slash may belong to a path rather than to the alphabet.
            parts = whole.split("/")
            hidden = ["[BASE64]" if _holds_secret(part, hide) else part for part in parts]
            return "/".join(hidden)
        return whole

    return _BASE64.sub(run, text)


def hide_percent(text: str, hide: Hide) -> str:
    """Words with percent signs, whose secrets are hidden; the rest of the word is encoded as far as it must be."""

    def word(match: re.Match[str]) -> str:
        if "%" not in match.group():
            return match.group()
        plain = _PERCENT_RUN.sub(_percent_run, match.group())
        hidden = hide(plain.replace("+", " "))
        if hidden == plain.replace("+", " "):
            return match.group()
        return _UNSAFE.sub(lambda one: f"%{ord(one.group()):02X}", hidden)

    return _WORD.sub(word, text)


def hide_escapes(text: str, hide: Hide) -> str:
    r"""Text with `\u0034` and `\x34`: read as the characters they stand for, if that shows a secret."""
    plain = _ESCAPE.sub(_escape, text)
    if plain == text:
        return text
    hidden = hide(plain)
    return text if hidden == plain else hidden


def _holds_secret(run: str, hide: Hide) -> bool:
    if len(run) < 18 or len(run) > _BASE64_CHARS_MAX or _HEX.fullmatch(run):
        return False
    body = run.rstrip("=").translate(_URL_SAFE)
    try:
        # The first bytes tell whether it is text at all; nearly nothing is.
        if not base64.b64decode(body[:_PROBE_CHARS]).isascii():
            return _holds_wide_text(body, hide)
        whole = base64.b64decode(body + "=" * (-len(body) % 4))
    except (ValueError, binascii.Error):
        return False
    return _shows_secret(whole, hide)


def _holds_wide_text(body: str, hide: Hide) -> bool:
    """As `_holds_secret`, for text that begins with other than ASCII."""
    try:
        whole = base64.b64decode(body + "=" * (-len(body) % 4))
        whole.decode()
    except (ValueError, binascii.Error):
        return False
    return _shows_secret(whole, hide)


def _shows_secret(whole: bytes, hide: Hide) -> bool:
    text = whole.decode("utf-8", "replace")
    return hide(text) != text


def _percent_run(match: re.Match[str]) -> str:
    return bytes.fromhex(match.group().replace("%", "")).decode("utf-8", "replace")


def _escape(match: re.Match[str]) -> str:
    code = match[1] or match[2] or match[3]
    char = chr(int(code, 16))
    # Digits of other scripts are escaped in JSON too.
    return char if char in _HARMLESS or (not char.isascii() and char.isdigit()) else match.group()
