"""What another system says, without what we told it in confidence.

A receiver that answers an error with the request it got puts our token and its own address, which is often a secret
too, into health, logs and terminals. What was sent is known, so it is cut out literally; shapes that betray themselves
go through `redact` after that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from sentinel.core.redact import redact

_SHOWN_AS = "[SECRET]"
_VALUE_CHARS_MIN = 4  # of less, every other word of an answer would be cut
_SEGMENT_CHARS_MIN = 6
_LONG_SEGMENT_CHARS_MIN = 16
_WORD = re.compile(r"[a-z_-]+|v[0-9]+")
_PLAIN_HEADERS = frozenset({"content-type", "user-agent"})


def secrets_of(
    url: str, headers: Mapping[str, str], credentials: Iterable[str]
) -> tuple[str, ...]:
    """What of a request must not be shown, longest first: values of headers, credentials, parts of the URL.

    Of the path, the whole of it and each part that is no plain word; of the query, the whole and every value.
    """
    parts = urlsplit(url)
    found = {value for value in credentials if value}
    found |= {value for name, value in headers.items() if name.lower() not in _PLAIN_HEADERS}
    found |= {
        value.partition(" ")[2] for name, value in headers.items() if name == "Authorization"
    }
    # As it was sent, and as a receiver reads it (where a plus is a space).
    found |= {parts.query, *(one.partition("=")[2] for one in parts.query.split("&"))}
    found |= {value for _, value in parse_qsl(parts.query)}
    segments = [one for one in parts.path.split("/") if _may_be_secret(one)]
    if segments:
        found |= {parts.path, *segments}
    found |= {unquote(one) for one in found}
    return tuple(
        sorted((one for one in found if len(one) >= _VALUE_CHARS_MIN), key=len, reverse=True)
    )


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text with every one of the secrets cut out, and redacted."""
    for secret in secrets:
        text = text.replace(secret, _SHOWN_AS)
    return redact(text)


def _may_be_secret(segment: str) -> bool:
    if len(segment) >= _LONG_SEGMENT_CHARS_MIN:
        return True
    return len(segment) >= _SEGMENT_CHARS_MIN and not _WORD.fullmatch(segment)
