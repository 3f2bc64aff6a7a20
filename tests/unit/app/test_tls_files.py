"""Goal: no file that TLS needs is found missing or useless later than when the configuration is read.

Method: configurations that name files which are not there, are no PEM, or do not belong together; certificates
are made by openssl.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.app.config import load_config
from sentinel.errors import ConfigError, ConfigProblem
from tests.support.tls import make_certificate


def problems(tmp_path: Path, text: str) -> list[ConfigProblem]:
    """What is wrong with a configuration."""
    file = tmp_path / "sentinel.yaml"
    file.write_text(text)
    try:
        load_config(file)
    except ConfigError as error:
        return list(error.problems)
    return []


def test_every_missing_file_is_named_with_its_setting_and_line(tmp_path: Path) -> None:
    """`check config` once accepted a missing authority; at run time pages waited for ever without a name."""
    found = problems(
        tmp_path,
        """
senders:
  alertmanager:
    urls: [https://127.0.0.1:9093]
    client:
      ca_file: /nope/alertmanager.pem
  webhooks:
    - url: https://127.0.0.1:1/
      client: {cert_file: /nope/own.pem, key_file: /nope/own.key}
receivers:
  otlp_grpc:
    listen:
      tls:
        cert_file: /nope/server.pem
        key_file: /nope/server.key
""",
    )
    told = {problem.path: (problem.line, problem.message) for problem in found}
    assert told == {
        "receivers.otlp_grpc.listen.tls.cert_file": (
            14,
            "the file '/nope/server.pem' cannot be read: No such file or directory",
        ),
        "senders.alertmanager.client.ca_file": (
            6,
            "the file '/nope/alertmanager.pem' cannot be read: No such file or directory",
        ),
        "senders.webhooks[0].client.cert_file": (
            9,
            "the file '/nope/own.pem' cannot be read: No such file or directory",
        ),
    }
    assert all(problem.file == str(tmp_path / "sentinel.yaml") for problem in found)


def test_files_that_are_no_pem_or_no_pair_are_refused(tmp_path: Path) -> None:
    cert, _ = make_certificate(tmp_path, "one")
    _, other_key = make_certificate(tmp_path, "other")
    text = tmp_path / "text.pem"
    text.write_text("not a certificate")
    for settings, setting, reason in (
        (f"ca_file: {text}", "ca_file", "has no certificates to trust"),
        (f"ca_file: {tmp_path}", "ca_file", "is not a file"),
        (f"cert_file: {cert}, key_file: {other_key}", "cert_file", "key values mismatch"),
        (f"cert_file: {text}, key_file: {other_key}", "cert_file", "are no certificate"),
    ):
        client = f"senders: {{alertmanager: {{client: {{{settings}}}}}}}"
        [problem] = problems(tmp_path, client)
        assert problem.path == f"senders.alertmanager.client.{setting}"
        assert reason in problem.message


@pytest.mark.parametrize("section", ["web", "receivers.otlp_http", "receivers.otlp_grpc"])
def test_files_that_can_be_used_are_accepted(tmp_path: Path, section: str) -> None:
    cert, key = make_certificate(tmp_path, "server")
    tls = f"{{cert_file: {cert}, key_file: {key}, client_ca_file: {cert}}}"
    text = f"listen: {{tls: {tls}}}"
    for name in reversed(section.split(".")):
        text = f"{name}: {{{text}}}"
    client = f"{{ca_file: {cert}, cert_file: {cert}, key_file: {key}}}"
    assert problems(tmp_path, f"{text}\nsenders: {{alertmanager: {{client: {client}}}}}") == []
