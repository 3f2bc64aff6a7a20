"""Goal: where a gateway in front ends TLS, the edge tells when that certificate ends, and the alert has its metric. Method: files of an authority of the test's own."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sentinel.reference.ledger.domain import UnreadableError
from sentinel.reference.ledger.edge.auth import watch_expiry
from sentinel.reference.ledger.operate.cli import run
from tests.support.ledger_certificates import Authority
from tests.support.ledger_servers import recorded

METRIC = "ledger.auth.certificate.expiry"


def test_the_end_of_the_gateways_certificate_is_told_and_follows_its_file(tmp_path: Path) -> None:
    authority, seen = Authority(tmp_path, "ours"), recorded("ledger-edge")
    served = tmp_path / "tls.crt"
    served.write_bytes(authority.issue("gateway", days=5)[0].read_bytes())
    watch_expiry(served, seen.telemetry)

    def left_days() -> float:
        return (seen.values(METRIC)[()] - time.time()) / 86_400

    assert 4.9 < left_days() <= 5
    served.write_bytes(authority.issue("renewed", days=90)[0].read_bytes())
    assert 89.9 < left_days() <= 90
    # Half a file says nothing, rather than something wrong.
    served.write_text("-----BEGIN CERTIFICATE-----\n")
    assert seen.values(METRIC) == {}


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_what_is_no_certificate_ends_the_start(content: str | None, tmp_path: Path) -> None:
    file = tmp_path / "tls.crt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UnreadableError, match="holds no certificate"):
        watch_expiry(file, recorded("ledger-edge").telemetry)


def test_an_edge_that_ends_tls_itself_has_no_gateways(tmp_path: Path) -> None:
    cert, key = (str(one) for one in Authority(tmp_path, "ours").issue("edge", server=True))
    servers = ["--nats-url", "nats://127.0.0.1:9", "--postgres-url", "postgresql://127.0.0.1:9/x"]
    own = ["--issuer", "https://issuer.example", "--tls-cert", cert, "--tls-key", key]
    assert run(["edge", *own, "--gateway-cert", cert, *servers]) == 2
