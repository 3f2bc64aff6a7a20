"""What a user may set about a connection to NATS as a client."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from sentinel.runtime.settings import ByteSize, Duration, FilePath, Secret, setting

_TOKEN = re.compile(r"[^\s.*>]{1,128}\Z")
_SUBJECT = re.compile(r"[^\s.*>]{1,64}(\.[^\s.*>]{1,64}){0,8}\Z")
_SERVERS_MAX = 32
_SCHEMES = {"nats", "tls"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsClientConfig:
    """Where NATS is, and how to prove who we are."""

    urls: tuple[str, ...] = setting(
        (),
        help="Client addresses, `nats://host:4222` or `tls://host:4222`; tried in turn, for ever. Without any there is no connection.",
    )
    user: str = setting("", help="User name.")
    password: Secret | None = setting(None, help="Its password.")
    token: Secret | None = setting(None, help="A token, instead of a user.")
    credentials_file: FilePath = setting(
        FilePath(""), help="A `.creds` file: the user's JWT and seed. Read at each connection."
    )
    nkey_seed_file: FilePath = setting(
        FilePath(""), help="A file with an NKey seed (`SU...`). Read at each connection."
    )
    ca_file: FilePath = setting(
        FilePath(""), help="PEM file of the authority to trust; empty for the system's own."
    )
    cert_file: FilePath = setting(
        FilePath(""), help="PEM file of our own certificate, for mutual TLS."
    )
    key_file: FilePath = setting(FilePath(""), help="PEM file of its key.")
    tls_first: bool = setting(
        False,  # noqa: FBT003  # a default
        help="Shake hands before the server says anything, as `handshake_first` of the server demands.",
    )
    connect_timeout: Duration = setting(Duration(3.0), help="Longest time to connect.")
    reconnect_max: Duration = setting(
        Duration(30.0), help="Longest wait between two attempts to connect; they never end."
    )

    def __post_init__(self) -> None:
        if len(self.urls) > _SERVERS_MAX:
            msg = f"at most {_SERVERS_MAX} urls"
            raise ValueError(msg)
        for url in self.urls:
            check_client_url(url)
        ways = (self.user, self.token, self.credentials_file, self.nkey_seed_file)
        if sum(bool(one) for one in ways) > 1:
            msg = "give one of user, token, credentials_file and nkey_seed_file"
            raise ValueError(msg)
        if bool(self.user) != (self.password is not None):
            msg = "user and password belong together"
            raise ValueError(msg)
        if bool(self.cert_file) != bool(self.key_file):
            msg = "cert_file and key_file belong together"
            raise ValueError(msg)
        if not 0.1 <= self.connect_timeout <= 30.0:
            msg = "connect_timeout must be between 100ms and 30s"
            raise ValueError(msg)
        if not 0.1 <= self.reconnect_max <= 600.0:
            msg = "reconnect_max must be between 100ms and 10m"
            raise ValueError(msg)

    @property
    def wants_tls(self) -> bool:
        """Whether something was said of TLS, so that it is never gone without."""
        files = self.ca_file or self.cert_file
        return bool(files) or self.tls_first or any(u.startswith("tls:") for u in self.urls)


@dataclass(frozen=True, slots=True, kw_only=True)
class NatsStreamConfig(NatsClientConfig):
    """A JetStream stream that windows go through."""

    stream: str = setting(
        "SENTINEL_WINDOWS",
        help="Name of the stream, one a scorer; made when it is missing, with the file storage and limits below.",
    )
    subject: str = setting(
        "sentinel.windows",
        help="Its subject; a collector publishes below it, under the digest of its name.",
    )
    max_age: Duration = setting(
        Duration(86_400.0), help="How long a stream that is made keeps windows that nobody takes."
    )
    max_bytes: ByteSize = setting(
        ByteSize(256 << 20),
        help="Most bytes of a stream that is made; beyond it publishing is refused, and windows wait at collectors.",
    )
    replicas: int = setting(1, help="Copies of a stream that is made, 1 to 5.")

    def __post_init__(self) -> None:
        NatsClientConfig.__post_init__(self)
        if not _TOKEN.match(self.stream):
            msg = "stream must not have blanks, dots, * or >"
            raise ValueError(msg)
        if not _SUBJECT.match(self.subject):
            msg = "subject must be words with dots between, without blanks, * and >"
            raise ValueError(msg)
        if self.max_age < 60.0 or self.max_bytes < 1 << 20 or not 1 <= self.replicas <= 5:
            msg = "max_age must be at least 1m, max_bytes at least 1MiB, and replicas 1 to 5"
            raise ValueError(msg)


def check_client_url(url: str) -> None:
    """Raise ValueError for what is no client address, or carries credentials."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        msg = f"not a URL: {error}"
        raise ValueError(msg) from None
    if parts.username is not None or parts.password is not None:
        msg = "a URL must not carry credentials; use user and password_file, token_file, credentials_file or nkey_seed_file"
        raise ValueError(msg)
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0:
        msg = "a client address must start with nats:// or tls://"
        raise ValueError(msg)
    if parts.path.strip("/") or parts.query or parts.fragment:
        msg = "a client address has no path"
        raise ValueError(msg)
