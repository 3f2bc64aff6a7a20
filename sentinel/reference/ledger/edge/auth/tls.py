"""The edge's TLS: client certificates are asked for, checked when shown, and counted when refused.

A certificate is optional, for callers with a token have none; one that is shown and not good ends the
handshake, so the refusal cannot be answered in HTTP and is counted here. Files are read again when their
content changes: new connections get the new ones, and a half-written file leaves the old ones in use.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sentinel.reference.ledger.domain import UnreadableError
from sentinel.reference.ledger.edge.auth.caller import Reason
from sentinel.reference.ledger.edge.auth.config import TlsConfig
from sentinel.reference.ledger.telemetry import Event, Telemetry

_CRL: Final = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----\n?", re.DOTALL)
_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED
_REVOKED: Final = 23  # X509_V_ERR_CERT_REVOKED
_FOREIGN: Final = frozenset(
    {2, 18, 19, 20, 21}
)  # no issuer found, self-signed, nothing to verify by
_UNCHECKED: Final = frozenset(
    {3, 5, 6, 8, 11, 12, 15, 16, 33}
)  # there is no revocation list of its issuer, or it is out of date, or another's


class ServerTls:
    """Contexts made from files; `context` is given to the listener once and follows the files."""

    def __init__(
        self,
        config: TlsConfig,
        *,
        telemetry: Telemetry,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        """Store the files' names; `now_s` is Unix time."""
        self._config = config
        self._telemetry = telemetry
        self._digest = b""
        self._expires_s: float | None = None
        self._crl_expires_s: float | None = None
        self._is_crl_late_told = False
        self._now_s = now_s
        self.context = _Current(ssl.PROTOCOL_TLS_SERVER)
        telemetry.observe_expiry(lambda: self._expires_s, lambda: self._crl_expires_s)

    def load(self) -> None:
        """Read the files.

        Raises:
            UnreadableError: one is missing, or is no certificate, or the key is another's.
        """
        digest, current = self._digests(), self._made()
        crl_file = self._config.client_crl_file
        crl_expires_s = _crl_expires_s(crl_file) if crl_file is not None else None
        self._digest, self.context.current = digest, current
        self._expires_s = _ends_s(self._config.cert_file)
        self._crl_expires_s, self._is_crl_late_told = crl_expires_s, False
        self.tell_of_late_crl()

    def is_current(self, connection: ssl.SSLObject | None) -> bool:
        """Say whether a connection began with the files that are in use; what is no TLS did."""
        return connection is None or connection.context is self.context.current

    async def watch(self) -> None:
        """Read the files again whenever their content changes, for ever."""
        while True:
            await asyncio.sleep(self._config.poll_s)
            self.reload()
            self.tell_of_late_crl()

    def tell_of_late_crl(self) -> None:
        """Log, once, that a revocation list is out of date: from then on no client's certificate is believed."""
        ends_s = self._crl_expires_s
        if ends_s is None or self._is_crl_late_told or self._now_s() <= ends_s:
            return
        self._is_crl_late_told = True
        self._telemetry.error(
            Event.AUTH_CRL_EXPIRED,
            "The revocation list of clients' certificates is out of date: no certificate is believed until there is a new one",
            file=str(self._config.client_crl_file),
        )

    def reload(self) -> bool:
        """Read the files again if their content has changed; say whether new ones are in use."""
        try:
            if self._digests() == self._digest:
                return False
            self.load()
        except UnreadableError as error:
            self._telemetry.warning(
                Event.AUTH_TLS_FAILED, f"New TLS files are not used, the old ones stay: {error}"
            )
            return False
        self._telemetry.info(Event.AUTH_TLS_RELOADED, "New TLS files are in use")
        return True

    def _files(self) -> list[Path]:
        given = (
            self._config.cert_file,
            self._config.key_file,
            self._config.client_ca_file,
            self._config.client_crl_file,
        )
        return [file for file in given if file is not None]

    def _digests(self) -> bytes:
        digest = hashlib.sha256()
        for file in self._files():
            try:
                digest.update(hashlib.sha256(file.read_bytes()).digest())
            except OSError as error:
                message = f"cannot read {file}: {error.strerror}"
                raise UnreadableError(message) from error
        return digest.digest()

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # A session that is taken up again is not checked again: its certificate may have expired.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        file = self._config.cert_file
        try:
            context.load_cert_chain(file, self._config.key_file)
            if self._config.client_ca_file is not None:
                file = self._config.client_ca_file
                context.load_verify_locations(file)
                context.verify_mode = ssl.CERT_OPTIONAL
            if self._config.client_crl_file is not None:
                file = self._config.client_crl_file
                context.load_verify_locations(file)
                # Of the certificate that is shown: an authority between it and the root is cut off by its own file.
                context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        except OSError as error:
            # Only what kind of error: a library's text may quote the file, and one holds a key.
            message = f"{file} cannot be used: {error.strerror or type(error).__name__}"
            raise UnreadableError(message) from error
        context.sslobject_class = _counted(self._telemetry)
        return context


def watch_expiry(file: Path, telemetry: Telemetry) -> None:
    """Export when a certificate ends with which somebody else ends TLS; its file is read each time, for it is renewed.

    Raises:
        UnreadableError: it is no certificate.
    """
    if _ends_s(file) is None:
        message = f"{file} holds no certificate that can be read"
        raise UnreadableError(message)
    telemetry.observe_expiry(lambda: _ends_s(file), lambda: None)


def _ends_s(file: Path) -> float | None:
    """Return when a certificate in a file ends, which nothing in `ssl` tells of one's own; None if it is an odd one."""
    # Late: an edge without TLS needs no library for certificates.
    from cryptography import x509

    try:
        own = x509.load_pem_x509_certificate(file.read_bytes())
    except (OSError, ValueError):
        return None  # OpenSSL took it: no reason to refuse what works
    return own.not_valid_after_utc.timestamp()


def _crl_expires_s(file: Path) -> float | None:
    """Return when the first of the lists in a file is out of date; None when none of them says.

    Raises:
        UnreadableError: there is no list in it.
    """
    from cryptography import x509

    try:
        text = file.read_bytes()
        lists = [x509.load_pem_x509_crl(one) for one in _CRL.findall(text)]
    except (OSError, ValueError) as error:
        message = f"{file} cannot be used: {type(error).__name__}"
        raise UnreadableError(message) from error
    if not lists:
        message = f"{file} holds no revocation list"
        raise UnreadableError(message)
    ends = [one.next_update_utc for one in lists]
    return min((end.timestamp() for end in ends if end is not None), default=None)


class _Current(ssl.SSLContext):
    """Stands before the context of the day, so that a listener needs no restart for a new one."""

    current: ssl.SSLContext

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection with the files that are in use now."""
        return self.current.wrap_bio(*args, **kwargs)


def _counted(telemetry: Telemetry) -> type[ssl.SSLObject]:
    """Return the kind of connection that counts the certificates it refuses."""

    class Counted(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except ssl.SSLCertVerificationError as error:
                telemetry.access.refused(_reason(error.verify_code))
                raise

    return Counted


def _reason(verify_code: int) -> Reason:
    if verify_code == _EXPIRED:
        return Reason.CERTIFICATE_EXPIRED
    if verify_code == _REVOKED:
        return Reason.CERTIFICATE_REVOKED
    if verify_code in _UNCHECKED:
        return Reason.CERTIFICATE_UNCHECKED
    return Reason.CERTIFICATE_FOREIGN if verify_code in _FOREIGN else Reason.CERTIFICATE_REFUSED
