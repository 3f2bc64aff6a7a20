"""A client of nats-py that proves who we are as we mean it, and what it says in words that can be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sentinel.core.redact import redact
from sentinel.errors import ConfigError
from sentinel.runtime.distrust import distrust_of
from sentinel.runtime.http.client import ClientConfig, client_context
from sentinel.runtime.nats.config import NatsClientConfig
from sentinel.runtime.nats.nkey import Signer

if TYPE_CHECKING:
    from nats.aio.client import Client

_WORDS_MAX = 200


def tls_of(config: NatsClientConfig) -> Any:
    """What its TLS is verified by; ConfigError when a file cannot be used."""
    files = ClientConfig(
        ca_file=config.ca_file, cert_file=config.cert_file, key_file=config.key_file
    )
    return client_context(files)


def new_client(config: NatsClientConfig) -> Client:
    """A client that goes without TLS nowhere where something was said of TLS. Imports the library."""
    from nats.aio.client import Client

    wants_tls = config.wants_tls
    signer = _signer(config)
    is_key = signer is not None and bool(config.nkey_seed_file)

    class Ours(Client):
        def _connect_command(self) -> bytes:
            # What is sent next proves who we are; a server, or somebody between, that says nothing of TLS must not get it.
            if wants_tls and not self._server_info.get("tls_required"):
                msg = "the server offers no TLS, and this connection is not to go without"
                raise ConnectionError(msg)
            if is_key and signer is not None:
                # The library takes it from its own reading of a seed alone.
                self._public_nkey = signer.public()
            command: bytes = super()._connect_command()  # type: ignore[no-untyped-call, unused-ignore]
            return command

    return Ours()


def credentials(config: NatsClientConfig, tls: Any) -> dict[str, Any]:
    """The arguments of `connect` that prove who we are; files are read at each connection."""
    given: dict[str, Any] = {}
    signer = _signer(config)
    if signer is not None:
        # The library offers a signature only where it was given some user; with a signature the name is not sent.
        given = {"user": "sentinel", "signature_cb": signer.sign}
        if config.credentials_file:
            given["user_jwt_cb"] = signer.jwt
    elif config.password is not None:
        given = {"user": config.user, "password": config.password.reveal()}
    elif config.token is not None:
        given = {"token": config.token.reveal()}
    if tls is not True:
        given["tls"] = tls
    return given


def words(config: NatsClientConfig, error: Exception) -> str:
    """What went wrong, fit to be shown: no credentials, one line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if distrust := distrust_of(error):
        return distrust
    text = str(error) if not isinstance(error, ConfigError) else str(error.problems[0])
    for secret in (config.password, config.token):
        if secret is not None and secret.reveal():
            text = text.replace(secret.reveal(), "***")
    visible = "".join(one if one.isprintable() else " " for one in redact(text))
    return visible[:_WORDS_MAX] or type(error).__name__


def _signer(config: NatsClientConfig) -> Signer | None:
    if config.credentials_file:
        return Signer(config.credentials_file, setting="credentials_file")
    if config.nkey_seed_file:
        return Signer(config.nkey_seed_file, setting="nkey_seed_file")
    return None
