"""Goal: a Prometheus behind TLS and a password is read with files of the configuration, and without the right ones it is said what is missing.

Method: Debian's Prometheus with a web configuration of its own; the command as a process; a query that needs no data.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.servers import require_binary, running_process, wait_until
from tests.support.sidecar_process import command, environment
from tests.support.tls import make_certificate

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PASSWORD = "let-me-in-please"
HASH = "$2b$04$rPcoMTY.GccbYLulCcq71eSjC9/1XTel4cI6DYWw9DH7f7WmEqlHq"
LISTENING = re.compile(rb"Listening on.*?address=127\.0\.0\.1:(\d+)")


def backfilled(folder: Path, url: str, client: str) -> subprocess.CompletedProcess[bytes]:
    config = folder / "sentinel.yaml"
    query = "{signal: traffic, query: 'vector(2)', route: all}"
    config.write_text(
        f"scrapers:\n  prometheus_queries:\n    - {{name: main, url: '{url}', queries: [{query}], client: {client}}}\n"
    )
    words = ("baseline", "backfill", "--config", str(config), "--weeks", "1", "--step", "5m")
    return subprocess.run(
        command(*words, "--dry-run", "-o", "json"),
        capture_output=True,
        timeout=60,
        env=environment(),
    )


def test_a_server_behind_tls_and_a_password(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "prometheus")
    web = tmp_path / "web.yml"
    web.write_text(
        f"tls_server_config: {{cert_file: {cert}, key_file: {key}}}\nbasic_auth_users: {{reader: '{HASH}'}}\n"
    )
    (tmp_path / "prometheus.yml").write_text("{}\n")
    secret, wrong = tmp_path / "password", tmp_path / "wrong"
    for path, text in ((secret, PASSWORD), (wrong, "another-password")):
        path.write_text(text)
        path.chmod(0o600)
    argv = [require_binary("prometheus"), f"--config.file={tmp_path / 'prometheus.yml'}"]
    argv += [f"--storage.tsdb.path={tmp_path / 'data'}", "--web.listen-address=127.0.0.1:0"]
    argv += [f"--web.config.file={web}"]
    log = tmp_path / "prometheus.log"
    with running_process(argv, log=log):
        wait_until(lambda: bool(LISTENING.search(log.read_bytes())), what="Prometheus")
        found = LISTENING.search(log.read_bytes())
        assert found is not None
        url = f"https://127.0.0.1:{int(found[1])}"
        known = f"ca_file: {cert}, basic_username: reader, basic_password_file"
        good = backfilled(tmp_path, url, f"{{{known}: {secret}}}")
        assert good.returncode == 0, good.stderr.decode()
        told = json.loads(good.stdout)
        assert (told["series_count"], told["window_count"]) == (1, 7 * 288)
        refused = backfilled(tmp_path, url, f"{{{known}: {wrong}}}")
        assert refused.returncode == 1
        assert b"credentials are missing or wrong" in refused.stderr
        unknown = backfilled(tmp_path, url, "{}")
        assert unknown.returncode == 3
        assert b"certificate" in unknown.stderr.lower()
        for said in (good, refused, unknown):
            assert PASSWORD.encode() not in said.stdout + said.stderr
            assert b"another-password" not in said.stdout + said.stderr
