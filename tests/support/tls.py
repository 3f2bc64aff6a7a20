"""Certificates made for a test, by openssl: good ones, and each kind that must not be believed."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.skips import require_binary

OURS = "IP:127.0.0.1,DNS:localhost"
_PAST = ("20200101000000Z", "20200102000000Z")
_FUTURE = ("20400101000000Z", "20410101000000Z")
_CA = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
"""


def make_certificate(
    directory: Path, name: str, *, days: int = 1, names: str = OURS
) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, or for other names, and its key; returns their files."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    _openssl("req", "-x509", *_new_key(name, names, key), "-days", str(days), "-out", str(cert))
    return cert, key


def issue_certificate(
    directory: Path, name: str, authority: tuple[Path, Path], *, names: str = OURS
) -> tuple[Path, Path]:
    """A certificate that an authority signed, with the authority's behind it in the file, and its key."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    signer = ["-CA", str(authority[0]), "-CAkey", str(authority[1])]
    # Of a self-signed one it is the default that it is an authority's.
    plain = ["-addext", "basicConstraints=critical,CA:FALSE"]
    _openssl("req", "-x509", *signer, *_new_key(name, names, key), *plain, "-days", "1", "-out", str(cert))  # fmt: skip
    cert.write_text(cert.read_text() + authority[0].read_text())
    return cert, key


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key; `authorities` trusts it and all of its likes, so that only its fault keeps it out."""

    cert: Path
    key: Path
    authorities: Path

    def server_context(self) -> ssl.SSLContext:
        """To listen with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context


def identities(directory: Path) -> dict[str, Identity]:
    """One that is good, and those that are not to be believed, by why not."""
    made = {
        "good": make_certificate(directory, "good"),
        "certificate expired": _dated(directory, "expired", *_PAST),
        "certificate not valid yet": _dated(directory, "early", *_FUTURE),
        "certificate is for another name": make_certificate(
            directory, "elsewhere", names="DNS:elsewhere.example"
        ),
    }
    authorities = directory / "authorities.crt"
    authorities.write_text("".join(cert.read_text() for cert, _ in made.values()))
    return {why: Identity(cert, key, authorities) for why, (cert, key) in made.items()}


def _dated(directory: Path, name: str, begins: str, ends: str) -> tuple[Path, Path]:
    """A self-signed certificate of other days than these: `openssl ca` takes dates, `openssl req` only a number of days."""
    cert, key, asked = (directory / f"{name}.{ending}" for ending in ("crt", "key", "csr"))
    folder = directory / f"{name}-ca"
    folder.mkdir()
    (folder / "index.txt").write_text("")
    (folder / "serial").write_text("01\n")
    (folder / "ca.cnf").write_text(_CA.format(folder=folder))
    _openssl("req", *_new_key(name, OURS, key), "-out", str(asked))
    _openssl(
        "ca", "-batch", "-selfsign", "-notext", "-config", str(folder / "ca.cnf"), "-keyfile", str(key), "-in", str(asked),
        "-startdate", begins, "-enddate", ends, "-out", str(cert),
    )  # fmt: skip
    return cert, key


def _new_key(name: str, names: str, key: Path) -> list[str]:
    return [
        "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
        "-addext", f"subjectAltName={names}", "-keyout", str(key),
    ]  # fmt: skip


def _openssl(*arguments: str) -> None:
    subprocess.run(  # the arguments are the test's own
        [require_binary("openssl"), *arguments], check=True, capture_output=True, timeout=30
    )
