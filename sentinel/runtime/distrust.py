"""Why another system's certificate was not believed: an expired one is renewed, an unknown one is trusted by `ca_file`.

The libraries wrap what OpenSSL found, each in its own way, and their texts quote addresses. Here it is a few words.
"""

from __future__ import annotations

import ssl

EXPIRED = "certificate expired"
NOT_YET = "certificate not valid yet"
OTHER_NAME = "certificate is for another name"
UNKNOWN = "certificate not trusted"

_BY_CODE = {9: NOT_YET, 10: EXPIRED, 62: OTHER_NAME, 64: OTHER_NAME}
"""X509_V_ERR_* of OpenSSL; all others are of a chain that ends in nobody who is trusted."""

_BY_TEXT = (
    ("certificate has expired", EXPIRED),
    ("certificate is not yet valid", NOT_YET),
    ("hostname verification check failed", OTHER_NAME),
    ("hostname mismatch", OTHER_NAME),
    ("ip address mismatch", OTHER_NAME),
    ("certificate_verify_failed", UNKNOWN),
)


def distrust_of(error: BaseException) -> str:
    """Why, in a few words; "" when the error is not about a certificate.

    >>> distrust_of(ConnectionRefusedError())
    ''
    """
    # aiohttp keeps what it wraps under either name.
    for name in ("certificate_error", "os_error"):
        inner = getattr(error, name, None)
        if isinstance(inner, BaseException) and inner is not error:
            return distrust_of(inner)
    code = getattr(error, "verify_code", 0)
    if isinstance(error, ssl.SSLCertVerificationError) and code:
        return _BY_CODE.get(code, UNKNOWN)
    return distrust_in(str(error)) if isinstance(error, OSError) else ""


def distrust_in(text: str) -> str:
    """As `distrust_of`, where a library has nothing but its text.

    >>> distrust_in("Ssl handshake failed: CERTIFICATE_VERIFY_FAILED: certificate has expired")
    'certificate expired'
    """
    lowered = text.lower()
    return next((words for sign, words in _BY_TEXT if sign in lowered), "")
