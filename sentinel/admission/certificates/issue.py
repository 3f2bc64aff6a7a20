"""A certificate authority for one webhook, and the serving certificate it signs; pure but for the randomness of keys.

The authority may sign for the webhook's own names and no others, so that whoever gets hold of its key can at most pose as
this webhook to an API server that was told to trust it for just that. Its successor is trusted beside it for as long as the
old one is good: replicas and API servers learn of the change one after another.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sentinel.errors import MalformedInputError

_BACKDATED = datetime.timedelta(hours=1)
"""Clocks of API servers may be behind."""
_AUTHORITIES_MAX = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetimes:
    """How long things are good, in seconds.

    Attributes:
        certificate_s: a serving certificate; at a third of that left it is made anew.
        authority_s: an authority; it is made anew when a serving certificate could outlive it.
    """

    certificate_s: float
    authority_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaterial:
    """All there is of one authority, as PEM.

    Attributes:
        authorities: certificates to trust, the one that signs first.
        authority_key: its key.
        certificate: the serving certificate.
        key: its key.
    """

    authorities: bytes
    authority_key: bytes
    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        # Two of these are secrets; the whole is one.
        return "KeyMaterial(***)"

    @property
    def signer(self) -> bytes:
        """The authority that signs, alone."""
        return _pem(_authorities(self.authorities)[0])

    @property
    def certificate_ends_s(self) -> float:
        """When the serving certificate ends (Unix)."""
        return _ends_s(_certificate(self.certificate))

    @property
    def authority_ends_s(self) -> float:
        """When the authority that signs ends (Unix)."""
        return _ends_s(_authorities(self.authorities)[0])


def issue(
    names: Sequence[str], *, lifetimes: Lifetimes, now_s: float, before: KeyMaterial | None = None
) -> KeyMaterial:
    """A serving certificate for these names, by the authority there was where that is still good, else by a new one.

    Args:
        names: DNS names, the first of which API servers ask for.
        lifetimes: how long they are good.
        now_s: Unix seconds.
        before: what was in use; its authority is kept, or trusted beside its successor.
    """
    trusted: list[x509.Certificate] = []
    authority: x509.Certificate | None = None
    key: ec.EllipticCurvePrivateKey | None = None
    if before is not None:
        trusted = [one for one in _authorities(before.authorities) if _ends_s(one) > now_s]
        if trusted and _ends_s(trusted[0]) >= now_s + lifetimes.certificate_s:
            authority, key = trusted[0], _key(before.authority_key)
            if _permitted(authority) != set(names):
                authority = None
    if authority is None or key is None:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _new_authority(names, key, lifetime_s=lifetimes.authority_s, now_s=now_s)
        trusted = [authority, *trusted][:_AUTHORITIES_MAX]
    own_key = ec.generate_private_key(ec.SECP256R1())
    certificate = _new_certificate(
        names, own_key, authority, key, lifetime_s=lifetimes.certificate_s, now_s=now_s
    )
    return KeyMaterial(
        authorities=b"".join(map(_pem, trusted)),
        authority_key=_key_pem(key),
        certificate=_pem(certificate),
        key=_key_pem(own_key),
    )


def why_renew(
    material: KeyMaterial, names: Sequence[str], *, lifetimes: Lifetimes, now_s: float
) -> str:
    """Why a new certificate is due, as a clause; "" while the one there is will do.

    Raises:
        MalformedInputError: it cannot be read, or its parts do not belong together.
    """
    authority, certificate = (
        _authorities(material.authorities)[0],
        _certificate(material.certificate),
    )
    _refuse_others_key(certificate, _key(material.key))
    _refuse_others_key(authority, _key(material.authority_key))
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        msg = "the certificate is not signed by the authority beside it"
        raise MalformedInputError(msg) from None
    if set(names) - _names(certificate):
        return "it is for another name"
    if now_s < certificate.not_valid_before_utc.timestamp():
        return "it is not valid yet"
    if _ends_s(certificate) - now_s < lifetimes.certificate_s / 3:
        return "it ends soon"
    return ""


def holds(bundle: bytes, authorities: bytes) -> bool:
    """Whether whoever trusts a bundle trusts all of these; a bundle that cannot be read holds nothing."""
    try:
        known = {one.fingerprint(hashes.SHA256()) for one in _authorities(bundle)}
    except MalformedInputError:
        return False
    return all(one.fingerprint(hashes.SHA256()) in known for one in _authorities(authorities))


def _new_authority(
    names: Sequence[str], key: ec.EllipticCurvePrivateKey, *, lifetime_s: float, now_s: float
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sentinel-admission authority")])
    permitted = x509.NameConstraints([x509.DNSName(one) for one in names], None)
    return (
        _builder(name, name, key.public_key(), lifetime_s=lifetime_s, now_s=now_s)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(permitted, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _new_certificate(
    names: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    *,
    lifetime_s: float,
    now_s: float,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sentinel-admission")])
    lifetime_s = min(lifetime_s, _ends_s(authority) - now_s)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
    return (
        _builder(name, authority.subject, key.public_key(), lifetime_s=lifetime_s, now_s=now_s)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(alternatives, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    *,
    lifetime_s: float,
    now_s: float,
) -> x509.CertificateBuilder:
    now = datetime.datetime.fromtimestamp(now_s, tz=datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(seconds=lifetime_s))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authorities(pem: bytes) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        found = []
    if not found:
        msg = "no certificate of an authority can be read"
        raise MalformedInputError(msg)
    return found


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        msg = "the certificate cannot be read"
        raise MalformedInputError(msg) from None


def _key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        msg = "a key cannot be read"
        raise MalformedInputError(msg)
    return key


def _refuse_others_key(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    if certificate.public_key() != key.public_key():
        msg = "a certificate and its key do not belong together"
        raise MalformedInputError(msg)


def _names(certificate: x509.Certificate) -> set[str]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    return set(found.value.get_values_for_type(x509.DNSName))


def _permitted(authority: x509.Certificate) -> set[str]:
    """The names an authority may sign for."""
    try:
        found = authority.extensions.get_extension_for_class(x509.NameConstraints)
    except x509.ExtensionNotFound:
        return set()
    return {one.value for one in found.value.permitted_subtrees or []}


def _ends_s(certificate: x509.Certificate) -> float:
    return certificate.not_valid_after_utc.timestamp()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
