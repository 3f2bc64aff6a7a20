"""Secrets out of text: logs, labels, annotations, error messages, our own logs.

The order matters: cut first, because a pattern over a hostile megabyte holds everything up; then named values, which are
replaced whatever they hold; then shapes that betray themselves; then what is encoded. If anything here fails, the text
is given up rather than let through.

Most texts hold no secret, so each step is asked for only when a cheap sign of it is there: a word, or a run of classes in
the text's skeleton (every letter an `a`, every digit a `0`). A sign may be wrong one way only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from sentinel.core.redact import cards, encoded, named, shapes
from sentinel.core.redact.keys import NAME_CHARS_MAX, KeyKind, kind_of
from sentinel.core.redact.policy import DEFAULT_POLICY, RedactPolicy

LINE_CHARS_MAX = 65_536
FAILED = "[REDACTION-ERROR]"

_KINDS_MAX = 8192
_CLEAN_MAX = 8192
_CLEAN_CHARS_MAX = 64
_TAIL_CHARS = 320

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CLASSES = bytes(
    0x30 if 0x30 <= code <= 0x39 else 0x61 if code in _LETTERS else 0x20 for code in range(256)
)
# Of base64's alphabet, `h` where it may be hexadecimal: ids are the longest words of most lines, and are no base64.
_BASE64_CLASSES = bytes(
    0x68 if code in b"0123456789abcdef-" else 0x61 if code in _LETTERS or code in b"+/_" else 0x20
    for code in range(256)
)
_BETWEEN_DIGITS = b" \t-._+/|"
_CARD_RUN = b"0" * (
    cards.CARD_DIGITS_MIN - 1
)  # a float may have lost the last one, when that was a zero
_BASE64_CHARS_MIN = 18

_ODD = re.compile(
    "[^\\W\\D0-9]|[\u00a0\u00ad\u1680\u180e\u2000-\u200f\u2010-\u2015\u202f\u205f\u2060\u2212\u3000\ufe58\ufe63\ufeff\uff0d]"
)
_NOTHING_WIDE = frozenset("\u00ad\u180e\u200b\u200c\u200d\u200e\u200f\u2060\ufeff")
# What is too short or too plain to be a secret of any built-in kind: a few signs, an address of the network, a path of
# short words with one number in it.
_INNOCENT = re.compile(
    r"[A-Za-z0-9 _./,()\[\]{}+*#-]{0,11}|[0-9]{1,3}(?:\.[0-9]{1,3}){3}"
    r"|(?:/[A-Za-z_{}.-]{1,12}|/v[0-9]){0,8}(?:/[0-9]{1,11})?(?:/[A-Za-z_{}.-]{1,12}){0,8}"
)
_TRAILING_DIGITS = re.compile(r"(?:[0-9][ -]?){5,}[0-9][ -]?$")
_TRAILING_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]{1,4}){1,8}$")
_LEADING_DIGITS = re.compile(r"^[ -]?(?:[0-9][ -]?){5,}[0-9]")


class Redactor:
    """Takes secrets out of texts and values by one policy; remembers, within bounds, what it found clean.

    May be used by several threads: what it remembers are whole entries, and a lost one is found again.
    """

    def __init__(self, policy: RedactPolicy = DEFAULT_POLICY) -> None:
        self.policy = policy
        self._own = [(one.compiled(), f"[{one.name}]") for one in policy.own]
        self._own_keys = frozenset(_bare(key) for key in policy.keys)
        self._own_names = named.pattern_of(policy.keys)
        self._kinds: dict[str, KeyKind] = {}
        self._clean: set[str] = set()
        self._trusts_innocent = not (policy.own or policy.phone or policy.ssn)

    def text(self, text: str, *, cut_start: bool = False, cut_end: bool = False) -> str:
        """The text with secrets replaced by what they were, such as `[PAN]`.

        Never raises: a text that cannot be judged becomes `FAILED`. Text beyond `LINE_CHARS_MAX` is cut off.

        Args:
            text: anything.
            cut_start: it is the later part of something longer, so that a run of digits at its beginning may be the
                second half of a card number.
            cut_end: it is the earlier part of something longer.
        """
        if not (cut_start or cut_end) and (
            text in self._clean or (self._trusts_innocent and _INNOCENT.fullmatch(text))
        ):
            return text
        try:
            hidden = self._hidden(text, cut_start=cut_start, cut_end=cut_end)
        except Exception:  # noqa: BLE001 - fail closed: whatever went wrong, the text must not pass
            return FAILED
        if hidden == text and len(text) <= _CLEAN_CHARS_MAX:
            if len(self._clean) >= _CLEAN_MAX:
                self._clean.clear()
            self._clean.add(text)
        return hidden

    def parts(self, parts: Sequence[str]) -> str:
        """One text of the parts it was split into, such as the partial lines of a container's log.

        What is split between two parts is only seen when they are joined, so they are joined first.
        """
        return self.text("".join(parts))

    def kind_of(self, name: str) -> KeyKind:
        """What a name says of its value, remembered."""
        kind = self._kinds.get(name)
        if kind is None:
            kind = kind_of(name)
            if self._own_keys and _bare(name) in self._own_keys:
                kind = KeyKind.SECRET
            if len(self._kinds) >= _KINDS_MAX:
                self._kinds.clear()
            self._kinds[name[:NAME_CHARS_MAX]] = kind
        return kind

    def _hidden(self, text: str, *, cut_start: bool, cut_end: bool) -> str:
        if len(text) > LINE_CHARS_MAX:
            text, cut_end = text[:LINE_CHARS_MAX], True
        plain = text if text.isascii() else _ODD.sub(_plain, text)
        hidden = self._without_secrets(plain, decode=True)
        if cut_end:
            hidden = _without_tail(hidden)
        if cut_start:
            hidden = _LEADING_DIGITS.sub("[CUT]", hidden)
        # Untouched when nothing was hidden: a dash that is not ASCII is somebody's spelling.
        return text if hidden == plain else hidden

    def _decoded(self, text: str) -> str:
        return self._without_secrets(text[:LINE_CHARS_MAX], decode=False)

    def _without_secrets(self, text: str, *, decode: bool) -> str:
        raw = text.encode("utf-8", "surrogatepass")
        skeleton = raw.translate(_CLASSES)
        if decode:
            if "%" in text:
                text = encoded.hide_percent(text, self._decoded)
            if "\\" in text:
                text = encoded.hide_escapes(text, self._decoded)
        text = self._by_name(text)
        text = self._by_shape(text)
        text = self._by_digits(text, raw, skeleton)
        for pattern, shown in self._own:
            text = pattern.sub(shown, text)
        if decode and _may_hold_base64(raw):
            text = encoded.hide_base64(text, self._decoded)
        return text

    def _by_name(self, text: str) -> str:
        if ":" in text or "=" in text:
            text = named.hide_named(text, self.kind_of, own=self._own_names)
            if "code=" in text:
                text = named.hide_codes(text)
        if "<" in text and ">" in text:
            text = named.hide_elements(text, self.kind_of)
        return text

    def _by_shape(self, text: str) -> str:
        lowered = text.lower()
        if "begin " in lowered:
            text = shapes.hide_pem(text)
        if "bearer" in lowered or "basic" in lowered:
            text = shapes.hide_schemes(text)
        if "eyj" in lowered or "eya" in lowered or "ew" in lowered:
            text = shapes.hide_jwt(text)
        text = shapes.hide_keys(text)
        if "S" in text:
            text = shapes.hide_seeds(text)
        if "@" in text:
            if "://" in text:
                text = shapes.hide_userinfo(text)
            text = shapes.hide_mail(text, self.policy.mail_key)
        return text

    def _by_digits(self, text: str, raw: bytes, skeleton: bytes) -> str:
        # What was hidden since the skeleton was made can only have taken digits away.
        if _CARD_RUN in raw.translate(_CLASSES, _BETWEEN_DIGITS):
            text = cards.hide_cards(text, keep_last4=self.policy.keep_last4)
        if b" aa00" in skeleton or skeleton.startswith(b"aa00"):
            text = shapes.hide_iban(text)
        if self.policy.ssn:
            text = shapes.hide_ssn(text)
        if self.policy.phone:
            text = shapes.hide_phones(text)
        return text


def _may_hold_base64(raw: bytes) -> bool:
    words = [
        word for word in raw.translate(_BASE64_CLASSES).split() if len(word) >= _BASE64_CHARS_MIN
    ]
    return any(b"a" in word for word in words)


def _bare(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())


def _plain(match: re.Match[str]) -> str:
    """A digit of another script as its ASCII digit, a special space or dash as the plain one, no width as nothing."""
    char = match.group()
    if char.isdigit():
        return str(unicodedata.digit(char))
    if char in _NOTHING_WIDE:
        return ""
    return " " if unicodedata.category(char) in ("Zs", "Cf") else "-"


def _without_tail(text: str) -> str:
    """The text without what its cut end may be half of: a card number, an account number, a mail address."""
    # Only the tail is looked at: the patterns are tied to the end, and would try every digit of the line.
    head, tail = text[:-_TAIL_CHARS], text[-_TAIL_CHARS:]
    if "@" in tail:
        tail = shapes.hide_cut_mail(tail)
    return head + _TRAILING_IBAN.sub("[CUT]", _TRAILING_DIGITS.sub("[CUT]", tail))
