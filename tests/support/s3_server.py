"""An S3 endpoint on loopback: moto, whose buckets have locks, versions and rules, though it does not act on all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from moto.server import ThreadedMotoServer

from sentinel.reference.ledger.wire.s3 import Archive, ArchiveConfig


@contextmanager
def s3_server() -> Iterator[str]:
    """A server that runs while the block does; its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture
def archive_file(s3_url: str, tmp_path: Path) -> Path:
    """The description of an archive of its own, with keys in a file."""
    keys = tmp_path / "keys"
    keys.write_text(
        "[default]\naws_access_key_id = AKIATESTTESTTESTTEST\naws_secret_access_key = topsecret\n"
    )
    file = tmp_path / "archive.json"
    file.write_bytes(
        orjson.dumps(
            {
                "endpoint_url": s3_url,
                "bucket": f"ledger-{uuid4().hex[:12]}",
                "prefix": "one/",
                "credentials_file": str(keys),
            }
        )
    )
    return file


@pytest.fixture
def archive(archive_file: Path) -> Archive:
    """An archive that is set up and empty."""
    found = Archive(ArchiveConfig(**orjson.loads(archive_file.read_bytes())))
    found.set_up()
    return found
