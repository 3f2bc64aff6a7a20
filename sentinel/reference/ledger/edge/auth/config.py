"""What the edge believes, and on which addresses it may."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sentinel.reference.ledger.domain import UsageError
from sentinel.reference.ledger.wire.config import check_url, is_loopback, is_private_way

# Signatures by a private key only: with a shared secret, or none, whoever can check a token can make one.
ALGORITHMS: Final = ("ES256", "ES384", "PS256", "RS256", "Ed25519", "EdDSA")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerConfig:
    """An OIDC issuer whose access tokens are believed, and how its keys are kept.

    Attributes:
        url: the issuer, exactly as its tokens and its discovery document name it.
        audience: who tokens must be meant for.
        tenant_claim: the claim that names the tenant.
        algorithms: those that a signature may have.
        ca_file: authorities for the issuer's own certificate; the system's when None.
        leeway_s: how far the clocks of issuer and edge may be apart.
        refresh_s: age at which keys are asked for again, while the old ones go on being used.
        keys_max_age_s: age at which keys that could not be renewed are no longer used.
        retry_s: pause between two questions that remembered tokens cause, while the issuer does not answer.
        unknown_pause_s: at most one question for keys in this time, however many tokens name unknown ones.
        fetch_timeout_s: limit of one question.
        tokens_count_max: verified tokens that are remembered.
        remembered_s: how long one is, unless it expires before: then it is checked again.
    """

    url: str
    audience: str = "ledger"
    tenant_claim: str = "tenant"
    algorithms: tuple[str, ...] = ALGORITHMS
    ca_file: Path | None = None
    leeway_s: int = 5
    refresh_s: float = 300.0
    keys_max_age_s: float = 86_400.0
    retry_s: float = 10.0
    unknown_pause_s: float = 1.0
    fetch_timeout_s: float = 3.0
    tokens_count_max: int = 10_000
    remembered_s: float = 3600.0

    def __post_init__(self) -> None:
        """Refuse an issuer that anybody on the way could stand in for."""
        check_url(self.url, what="--issuer", schemes=("https", "http"))
        if not is_private_way(self.url):
            message = f"--issuer is {self.url!r}: https, unless it is on this machine's loopback"
            raise UsageError(message)
        if not self.audience or not self.tenant_claim:
            message = "--audience and --tenant-claim may not be empty"
            raise UsageError(message)
        forbidden = set(self.algorithms) - set(ALGORITHMS)
        if forbidden or not self.algorithms:
            message = f"no algorithm for tokens: {', '.join(sorted(forbidden)) or 'none given'}"
            raise UsageError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """The edge's own certificate, the authorities whose clients are believed (None: no client's), and what they have revoked.

    `client_crl_file` holds a revocation list of each of the authorities that issue clients' certificates.
    """

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_crl_file: Path | None = None
    poll_s: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a list of what nobody could show."""
        if self.client_crl_file is not None and self.client_ca_file is None:
            message = "a revocation list needs the authorities whose certificates it revokes"
            raise UsageError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthConfig:
    """The ways in; `insecure_tenant_header` believes whoever reaches the port."""

    issuer: IssuerConfig | None = None
    tls: TlsConfig | None = None
    insecure_tenant_header: bool = False

    def check_host(self, host: str) -> None:
        """Refuse an address that these ways in are not for.

        Raises:
            UsageError: nobody could come in, or too many could.
        """
        has_certificates = self.tls is not None and self.tls.client_ca_file is not None
        if self.issuer is None and not has_certificates and not self.insecure_tenant_header:
            message = "nobody could come in: give --issuer, --client-ca, or, to try it by hand, --insecure-tenant-header"
            raise UsageError(message)
        if is_loopback(host):
            return
        if self.insecure_tenant_header:
            message = f"--insecure-tenant-header is for loopback only, and --host is {host}"
            raise UsageError(message)
        if self.tls is None:
            message = f"--host is {host}: beyond loopback give --tls-cert and --tls-key"
            raise UsageError(message)
