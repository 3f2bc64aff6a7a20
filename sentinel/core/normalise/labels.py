"""Text from outside becomes a label: decoded, redacted, without ids, bounded.

A label is the identity of a series and is shown to people, so it must neither grow with the number of customers
nor carry their data. These functions run once for each distinct place (the results are cached), not for each span.
"""

from __future__ import annotations

import re
from zlib import crc32

from sentinel.core.redact import redact

LABEL_CHARS_MAX = 160
"""Longer labels are cut; a longer route tells nobody more, and every series holds its labels for life."""

OTHER = "other"
"""Route of calls that name no route but a raw path."""

UNKNOWN_SERVICE = "unknown_service"

_DIGEST_CHARS = 9

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
_ID = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"  # a UUID
    r"|(?<![0-9A-Za-z])[0-9a-fA-F]{16,}(?![0-9A-Za-z])"  # a hash, a trace id
    r"|(?<![0-9A-Za-z_.])\d+(?![0-9A-Za-z_.])"  # a word of digits alone
    r"|\d{3,}"  # a longer run of digits inside a word, such as order-10293
)
_INBOX = re.compile(r"_INBOX\..*")


def text_of(raw: bytes) -> str:
    """Bytes as text; what is not UTF-8 becomes U+FFFD, because one bad string must not cost a batch."""
    return raw.decode("utf-8", "replace")


def label_of(text: str) -> str:
    r"""Text as a label: one line, without secrets, at most `LABEL_CHARS_MAX` characters.

    >>> label_of("GET  /v1/transactions/{id}\n")
    'GET /v1/transactions/{id}'
    """
    # Cut before redacting as well: redaction is linear but not free, and nothing beyond the cut is shown.
    cut = 4 * LABEL_CHARS_MAX
    one_line = " ".join(_CONTROL.sub(" ", text[:cut]).split())
    return redact(one_line, cut_end=len(text) > cut)[:LABEL_CHARS_MAX]


def list_label_of(text: str) -> str:
    """Parts with commas between as one label; one that is cut keeps a digest of the whole, so that two are not taken for one.

    >>> list_label_of("/v1/pay,method=GET")
    '/v1/pay,method=GET'
    """
    whole = ",".join(label_of(part) for part in text.split(","))
    if len(whole) <= LABEL_CHARS_MAX:
        return whole
    digest = f"{crc32(text.encode('utf-8', 'replace')):08x}"
    return f"{whole[: LABEL_CHARS_MAX - _DIGEST_CHARS]}~{digest}"


def without_ids(text: str) -> str:
    """Text with ids replaced by `{id}`.

    The rule, in order: UUIDs; words of 16 or more hexadecimal digits; words of digits alone; runs of three or more
    digits inside a word. A NATS inbox is an id from its second token on.

    >>> without_ids("order 8842 of acme-100293"), without_ids("v2 sync s3")
    ('order {id} of acme-{id}', 'v2 sync s3')
    >>> without_ids("publish _INBOX.Xy7.1")
    'publish _INBOX.{id}'
    """
    return _ID.sub("{id}", _INBOX.sub("_INBOX.{id}", text))


def looks_like_raw_path(name: str) -> bool:
    """Whether a span name carries a path as it was requested, rather than a route.

    >>> looks_like_raw_path("GET /users/42"), looks_like_raw_path("GET /users/{id}"), looks_like_raw_path("GET")
    (True, False, False)
    """
    path = next((word for word in name.split() if "/" in word), None)
    return path is not None and not any(mark in path for mark in "{<:*")
