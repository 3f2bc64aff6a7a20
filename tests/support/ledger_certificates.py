"""Authorities and certificates for the edge's mutual TLS: good ones, and each kind that is to be refused."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@dataclass(slots=True)
class Authority:
    """A certificate authority whose files lie in a folder."""

    folder: Path
    name: str
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def file(self) -> Path:
        """Its own certificate."""
        path = self.folder / f"{self.name}.pem"
        if not path.exists():
            constraints = x509.BasicConstraints(ca=True, path_length=0)
            made = self._builder(self.name, self.key, days=30)
            signed = made.add_extension(constraints, critical=True).sign(self.key, hashes.SHA256())
            path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return path

    def issue(
        self, name: str, *, uris: tuple[str, ...] = (), days: int = 1, server: bool = False
    ) -> tuple[Path, Path]:
        """A certificate and its key; `days` below 0 for one that has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names.append(
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")) if server else x509.DNSName(name)
        )
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        made = (
            self._builder(name, key, days=days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        cert_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file

    def revoke(self, path: Path, *files: tuple[Path, Path], days: int = 1) -> Path:
        """Write a list of these certificates as revoked; `days` below 0 for a list that is out of date."""
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name(self.name))
            .last_update(now - 10 * _DAY)
            .next_update(now + days * _DAY)
        )
        for cert_file, _ in files:
            serial = x509.load_pem_x509_certificate(cert_file.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            made = made.add_revoked_certificate(revoked.build())
        signed = made.sign(self.key, hashes.SHA256())
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return path

    def client(self, files: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """What a client that trusts this authority connects with, and shows when asked."""
        context = ssl.create_default_context(cafile=self.file)
        if files is not None:
            context.load_cert_chain(*files)
        return context

    def _builder(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, days: int
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(_name(self.name))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 10 * _DAY)
            .not_valid_after(now + days * _DAY)
        )
