"""The gist of a line of text: what stays when numbers, ids and quoted values are taken out, redacted.

It is what lines of free text are told apart by, so it must not carry anybody's data and must be the same for the same
statement of a program. It is cut first: a hostile line costs no more than a long one.
"""

from __future__ import annotations

import re

from sentinel.core.redact.in_force import redact

GIST_CHARS_MAX = 200
"""Of a longer line the beginning says what it is about."""

_GISTS_MAX = 2048
_TEXT_CHARS_MAX = 256
_VARYING = re.compile(r"[0-9a-fA-F]*[0-9][0-9a-fA-F]*|'[^']*'|\"[^\"]*\"")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_PLAIN = re.compile("[^0-9'\"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*")
_JOINED = re.compile(r"\*(?:[-.:,/_T]{0,2}\*)+Z?")


def without_what_varies(text: str) -> str:
    """What stays of a line when its numbers, ids and quoted values are taken out, on one line.

    >>> without_what_varies("transfer 8842 failed after 0.3 s: 'timeout'")
    'transfer * failed after * s: *'
    >>> without_what_varies("peer 10.0.0.7:5432 of 6f1c2a9e-0c1d-4a5b-8e7f-001122334455 is gone")
    'peer * of * is gone'
    """
    text = text[:GIST_CHARS_MAX]
    if _PLAIN.fullmatch(text) is None:
        text = _JOINED.sub("*", _VARYING.sub("*", _CONTROL.sub(" ", text)))
    return " ".join(text.split())


class Gists:
    """Texts to their gists, remembered; bounded in number and size, for one thread at a time."""

    def __init__(self) -> None:
        self._by_text: dict[str, str] = {}
        self._by_shape: dict[str, str] = {}

    def of(self, text: str) -> str:
        """The gist of a text; redacted once for all texts that differ in what varies alone."""
        gist = self._by_text.get(text)
        if gist is not None:
            return gist
        shape = without_what_varies(text)
        gist = self._by_shape.get(shape)
        if gist is None:
            if len(self._by_shape) >= _GISTS_MAX:
                self._by_shape.clear()
            gist = self._by_shape[shape] = redact(shape, cut_end=len(text) > GIST_CHARS_MAX)[
                :GIST_CHARS_MAX
            ]
        if len(text) <= _TEXT_CHARS_MAX:
            if len(self._by_text) >= _GISTS_MAX:
                self._by_text.clear()
            self._by_text[text] = gist
        return gist
