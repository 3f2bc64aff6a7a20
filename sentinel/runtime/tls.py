"""TLS from files: for what listens, read again when they change; never a fall back to plain.

Python's own errors name neither the file nor the setting; `load_pair` and `load_authorities` name both, for
what listens and for what calls out.
"""

from __future__ import annotations

import ssl
from calendar import timegm
from dataclasses import dataclass, replace
from pathlib import Path

from sentinel.errors import ConfigError, ConfigProblem
from sentinel.runtime.component import Surroundings
from sentinel.runtime.settings import Duration, FilePath, setting

_PEM_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Where the certificate and its key are; TLS 1.2 is the least that is spoken."""

    cert_file: FilePath = setting(
        FilePath(""), help="PEM file with the certificate and its chain."
    )
    key_file: FilePath = setting(FilePath(""), help="PEM file with the private key.")
    client_ca_file: FilePath = setting(
        FilePath(""),
        help="PEM file with authorities; when set, clients must show a certificate of theirs.",
    )
    reload_interval: Duration = setting(
        Duration(10.0), help="How often the files are looked at for a change."
    )

    def __post_init__(self) -> None:
        if not self.cert_file or not self.key_file:
            msg = "TLS needs both cert_file and key_file"
            raise ValueError(msg)
        if not 0.1 <= self.reload_interval <= 86_400:
            msg = "reload_interval must be between 100ms and 1d"
            raise ValueError(msg)


class ServerTls:
    """A live TLS context that follows its files.

    A change is tried on a context of its own first: loading a certificate without its key into the live
    one would break every handshake from then on. A bad change is counted and the last good pair stays.
    """

    def __init__(self, config: TlsConfig, surroundings: Surroundings, *, listener: str) -> None:
        self._config = config
        self._surroundings = surroundings
        self._listener = listener
        self._seen = self._marks()
        self.context = server_context(config)
        self._pair = self._read_pair()
        self._note_expiry()

    @property
    def pair(self) -> tuple[bytes, bytes]:
        """Key and certificate chain in use, as PEM, for servers that do not take a context."""
        return self._pair

    def read_client_authorities(self) -> bytes | None:
        """The authorities clients' certificates must come from, as PEM; None when none is asked for."""
        if not self._config.client_ca_file:
            return None
        return Path(self._config.client_ca_file).read_bytes()

    async def follow(self) -> None:
        """Look at the files for ever and take every good change."""
        while True:
            await self._surroundings.clock.sleep(self._config.reload_interval)
            self.reload_if_changed()

    def reload_if_changed(self) -> bool:
        """Take the files anew when they changed; True when a new pair is in use."""
        marks = self._marks()
        if marks == self._seen or None in marks:
            return False
        self._seen = marks
        try:
            # Where a link leads to now, so that what was tried is what is taken, though the link be switched in between.
            tried = replace(
                self._config,
                cert_file=FilePath(str(Path(self._config.cert_file).resolve())),
                key_file=FilePath(str(Path(self._config.key_file).resolve())),
            )
            server_context(tried)
            load_pair(self.context, tried.cert_file, tried.key_file)
            self._pair = self._read_pair()
        except (ConfigError, OSError) as error:
            self._surroundings.metrics.count(
                "sentinel_tls_reloads_total", listener=self._listener, result="kept_old"
            )
            self._surroundings.logger.error(  # noqa: TRY400  # the reason is enough
                "Changed TLS files cannot be used, the last good ones stay",
                extra={"listener": self._listener, "reason": str(error)},
            )
            return False
        self._note_expiry()
        self._surroundings.metrics.count(
            "sentinel_tls_reloads_total", listener=self._listener, result="taken"
        )
        self._surroundings.logger.info("TLS files reloaded", extra={"listener": self._listener})
        return True

    def _read_pair(self) -> tuple[bytes, bytes]:
        return Path(self._config.key_file).read_bytes(), Path(self._config.cert_file).read_bytes()

    def _marks(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_mark(Path(name)) for name in (self._config.cert_file, self._config.key_file))

    def _note_expiry(self) -> None:
        try:
            expires_s = certificate_expiry_s(Path(self._config.cert_file).read_text("ascii"))
        except (OSError, ValueError) as error:
            self._surroundings.logger.warning(
                "Expiry of the TLS certificate cannot be read",
                extra={"listener": self._listener, "reason": str(error)},
            )
            return
        self._surroundings.metrics.set(
            "sentinel_tls_certificate_expiry_timestamp_seconds",
            expires_s,
            listener=self._listener,
        )


def server_context(config: TlsConfig) -> ssl.SSLContext:
    """A context for listening, from the files as they are now.

    Raises:
        ConfigError: a file cannot be used; its `path` is the name of the setting.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_pair(context, config.cert_file, config.key_file)
    if config.client_ca_file:
        load_authorities(context, "client_ca_file", config.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def pinned_context(config: TlsConfig) -> ssl.SSLContext:
    """A context for asking the server that serves with these files, under whatever name or address it is reached.

    Its very certificate is trusted and nothing else, so no name has to be in it: whoever shows it holds its key.

    Raises:
        ConfigError: the certificate cannot be read.
    """
    _look_at("cert_file", config.cert_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        # The first of the file: those behind it are authorities, which others have certificates of too.
        whole, _, _ = Path(config.cert_file).read_text("ascii").partition(_PEM_END)
        context.load_verify_locations(cadata=f"{whole}{_PEM_END}\n")
    except (OSError, ValueError) as error:
        message = f"{config.cert_file!r} has no certificate: {_why(error)}"
        raise ConfigError([ConfigProblem(path="cert_file", message=message)]) from error
    return context


def load_pair(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    """Take a certificate and its key into a context; ConfigError at `cert_file` or `key_file` when they are of no use."""
    _look_at("cert_file", cert_file)
    _look_at("key_file", key_file)
    try:
        # Without a password OpenSSL would ask for one at the terminal, and wait.
        context.load_cert_chain(cert_file, key_file, password=lambda: "")
    except (OSError, ValueError) as error:
        message = f"{cert_file!r} and {key_file!r} are no certificate with its key: {_why(error)}"
        raise ConfigError([ConfigProblem(path="cert_file", message=message)]) from error


def load_authorities(context: ssl.SSLContext, setting: str, file: str) -> None:
    """Trust the authorities of a file; ConfigError at `setting` when it has none."""
    _look_at(setting, file)
    try:
        context.load_verify_locations(cafile=file)
    except (OSError, ValueError) as error:
        message = f"the file {file!r} has no certificates to trust: {_why(error)}"
        raise ConfigError([ConfigProblem(path=setting, message=message)]) from error


def _look_at(setting: str, file: str) -> None:
    """Whether a file can be read, because the errors of TLS itself do not say which could not."""
    path = Path(file)
    try:
        if not path.is_file() and path.exists():
            message = f"{file!r} is not a file"
            raise ConfigError([ConfigProblem(path=setting, message=message)])
        path.open("rb").close()
    except (OSError, ValueError) as error:
        message = f"the file {file!r} cannot be read: {_why(error)}"
        raise ConfigError([ConfigProblem(path=setting, message=message)]) from error


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


def _mark(path: Path) -> tuple[int, int, int] | None:
    # Secrets in Kubernetes change by swapping a link, so the inode is part of the mark.
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def certificate_expiry_s(pem: str) -> int:
    """When the first certificate of a PEM text ends (Unix seconds); ValueError when it cannot be read.

    The standard library shows a certificate's dates only after a handshake; X.509 keeps them at a fixed
    place: Certificate > TBSCertificate > [version], serial, algorithm, issuer, validity > notAfter.
    """
    begin = pem.find("-----BEGIN CERTIFICATE-----")
    end = pem.find(_PEM_END, max(begin, 0))
    if begin < 0 or end < 0:
        msg = "no certificate in the PEM text"
        raise ValueError(msg)
    der = ssl.PEM_cert_to_DER_cert(pem[begin : end + len(_PEM_END)] + "\n")
    _, body, _ = _element(der, 0)
    _, position, _ = _element(der, body)
    tag, _, after = _element(der, position)
    if tag == 0xA0:
        position = after
    for _ in range(3):
        _, _, position = _element(der, position)
    _, position, _ = _element(der, position)
    _, _, position = _element(der, position)
    tag, start, after = _element(der, position)
    text = der[start:after].decode("ascii")
    if tag == 0x17:  # UTCTime has two digits of the year; X.509 reads 50-99 as 1950-1999
        text = ("19" if text[:2] >= "50" else "20") + text
    parts = [text[:4], *(text[at : at + 2] for at in range(4, 14, 2))]
    return timegm((*(int(part) for part in parts), 0, 0, 0))


def _element(der: bytes, position: int) -> tuple[int, int, int]:
    """Tag, start of the content and end of the element at `position`."""
    try:
        tag, length, start = der[position], der[position + 1], position + 2
    except IndexError:
        msg = "the certificate ends too early"
        raise ValueError(msg) from None
    if length & 0x80:
        size = length & 0x7F
        length = int.from_bytes(der[start : start + size], "big")
        start += size
    if start + length > len(der):
        msg = "the certificate ends too early"
        raise ValueError(msg)
    return tag, start, start + length
