"""Certificates made for a test, by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.skips import require_binary


def make_certificate(directory: Path, name: str, *, days: int = 1) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key; returns their files."""
    openssl = require_binary("openssl")
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(  # the arguments are the test's own
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-days", str(days), "-subj", f"/CN={name}",
            "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
            "-keyout", str(key), "-out", str(cert),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )  # fmt: skip
    return cert, key
