"""The tenant of a client certificate: a URI among its subject's alternative names."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Final

from sentinel.reference.ledger.domain import InvalidTransferError, check_tenant
from sentinel.reference.ledger.edge.auth.caller import (
    EVERYTHING,
    AuthRefusedError,
    Caller,
    Method,
    Reason,
)

PREFIX: Final = "urn:ledger:tenant:"


def caller_of(certificate: Mapping[str, Any], now_s: float) -> Caller:
    """Return who a verified certificate speaks for.

    Args:
        certificate: as `ssl` gives it, its chain checked when the connection began.
        now_s: Unix seconds; a connection may outlive its certificate.

    Raises:
        AuthRefusedError: it has expired since, or does not name exactly one tenant.
    """
    if ssl.cert_time_to_seconds(str(certificate["notAfter"])) <= now_s:
        raise AuthRefusedError(Reason.CERTIFICATE_EXPIRED)
    names = {
        value.removeprefix(PREFIX)
        for kind, value in certificate.get("subjectAltName", ())
        if kind == "URI" and value.startswith(PREFIX)
    }
    if len(names) != 1:
        raise AuthRefusedError(Reason.CERTIFICATE_WITHOUT_TENANT)
    (name,) = names
    try:
        check_tenant(name)
    except InvalidTransferError:
        raise AuthRefusedError(Reason.CERTIFICATE_WITHOUT_TENANT) from None
    return Caller(tenant=name, scopes=EVERYTHING, method=Method.CERTIFICATE)
