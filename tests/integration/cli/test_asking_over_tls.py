"""Goal: a person in the scorer's pod asks it by its configuration: its address, its certificate and its token, none of them typed.

Method: a real `sentinel run` that listens everywhere with TLS and tokens, by a certificate that has neither localhost nor 127.0.0.1 in it,
as installations of before have; the commands as processes of their own.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sentinel.cli.asking import sidecar_of
from tests.support.nats_servers import free_ports
from tests.support.sidecar_process import command, environment, sidecar_process
from tests.support.tls import issue_certificate, make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

READ, ADMIN = "read-0123456789abcdef", "admin-0123456789abcdef"


@dataclass(frozen=True)
class Scorer:
    """A running one.

    Attributes:
        folder: of its files; `config` of its configuration.
        port: of its pages.
    """

    folder: Path
    port: int

    @property
    def config(self) -> str:
        """Its folder of files."""
        return str(self.folder / "config")


def written(folder: Path, *, port: int, cert: Path, key: Path, tokens: str) -> None:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config/sentinel.yaml").write_text(
        "mode: shadow\n"
        "receivers: {otlp_http: {listen: {port: 0}}, otlp_grpc: {enabled: false}}\n"
        f"store: {{directory: {folder}/store, max_bytes: 16MiB}}\n"
        f"web: {{listen: {{address: 0.0.0.0, port: {port},"
        f" tls: {{cert_file: {cert}, key_file: {key}}}, tokens: {{{tokens}}}}}}}\n"
    )


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scorer]:
    folder = tmp_path_factory.mktemp("scorer")
    [port] = free_ports(1)
    authority = make_certificate(folder, "authority", names="DNS:authority")
    cert, key = issue_certificate(folder, "scorer", authority, names="DNS:sentinel-scorer")
    for name, token in (("read", READ), ("admin", ADMIN)):
        (folder / name).write_text(token)
        (folder / name).chmod(0o600)
    tokens = f"read_file: {folder}/read, admin_file: {folder}/admin"
    written(folder, port=port, cert=cert, key=key, tokens=tokens)
    with sidecar_process(folder / "config"):
        yield Scorer(folder, port)


def asked(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*words), env=environment(), capture_output=True, text=True, timeout=30, check=False)  # fmt: skip


def test_what_is_open_and_whether_it_is_ready(scorer: Scorer) -> None:
    listed = asked("incidents", "--config", scorer.config, "-o", "json")
    assert listed.returncode == 0, listed.stderr
    assert json.loads(listed.stdout) == []
    ready = asked("check", "ready", "--config", scorer.config)
    assert ready.returncode == 0, ready.stdout
    told = " ".join(ready.stdout.split())
    assert f"runs at https://localhost:{scorer.port} and is ready" in told
    assert "taken by another program" not in told
    assert "used by another process" not in told
    for one in (listed, ready):
        assert READ not in one.stdout + one.stderr
        assert ADMIN not in one.stdout + one.stderr


def test_what_changes_something_shows_the_token_that_may(scorer: Scorer) -> None:
    word = asked("baseline", "exclude", "abcd", "--config", scorer.config)
    # It was let in, and there is no such incident.
    assert "there is no incident" in word.stderr
    args = argparse.Namespace(config=Path(scorer.config), url=None, ca_file=None)
    meant = sidecar_of(args)
    assert (meant.read_token, meant.admin_token) == (READ, ADMIN)
    assert READ not in repr(meant)


def test_without_its_configuration_it_is_told_what_to_give(scorer: Scorer, tmp_path: Path) -> None:
    url = f"https://127.0.0.1:{scorer.port}"
    strange = asked("incidents", "--url", url)
    assert strange.returncode == 3
    assert "Trust its authority with --ca-file, or its own certificate with --config." in strange.stderr  # fmt: skip
    # Its name is not in the certificate: an authority is no reason to believe another name.
    cert = str(scorer.folder / "authority.crt")
    other = asked("incidents", "--url", url, "--ca-file", cert)
    assert other.returncode == 3
    assert "not trusted" in other.stderr
    none = asked("incidents", "--url", url, "--config", str(tmp_path / "none.yaml"))
    assert none.returncode == 3
    lacking = asked("incidents", "--url", url, "--ca-file", str(tmp_path / "none.crt"))
    assert lacking.returncode == 3
    assert "--ca-file: the file" in lacking.stderr


def test_an_authority_and_a_token_of_files_are_taken_for_the_configurations(
    tmp_path: Path,
) -> None:
    """A certificate for this machine too, as the chart makes it now."""
    [port] = free_ports(1)
    authority = make_certificate(tmp_path, "authority", names="DNS:authority")
    cert, key = issue_certificate(tmp_path, "both", authority, names="DNS:sentinel-scorer,DNS:localhost,IP:127.0.0.1")  # fmt: skip
    (tmp_path / "read").write_text(READ)
    (tmp_path / "read").chmod(0o600)
    written(tmp_path, port=port, cert=cert, key=key, tokens=f"read_file: {tmp_path}/read")
    url = f"https://localhost:{port}"
    with sidecar_process(tmp_path / "config"):
        untold = asked("incidents", "--url", url, "--ca-file", str(authority[0]))
        assert untold.returncode == 1
        assert "give --token-file, or --config" in untold.stderr
        told = asked("incidents", "--url", url, "--ca-file", str(authority[0]), "--token-file", str(tmp_path / "read"))  # fmt: skip
        assert told.returncode == 0, told.stderr
        # Another certificate stands in its place, by the same authority and of a key that it does not hold: that one is not it.
        shutil.copytree(tmp_path / "config", tmp_path / "elsewhere")
        fake, fake_key = issue_certificate(tmp_path, "fake", authority)  # fmt: skip
        text = (tmp_path / "elsewhere/sentinel.yaml").read_text()
        text = text.replace(str(cert), str(fake)).replace(str(key), str(fake_key))
        (tmp_path / "elsewhere/sentinel.yaml").write_text(text)
        wrong = asked("incidents", "--config", str(tmp_path / "elsewhere"))
        assert wrong.returncode == 3
        assert "not trusted" in wrong.stderr
        # Nor is the token of a configuration with TLS shown in the clear.
        clear = asked("incidents", "--config", str(tmp_path / "config"), "--url", f"http://localhost:{port}")  # fmt: skip
        assert clear.returncode == 3
