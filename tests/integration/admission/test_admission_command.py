"""Goal: the command runs as an operator runs it: checked before, followed while it runs, and gone without losing a review.

Method: `sentinel admission` as a process of its own, an API server over TLS, files that change, signals.
"""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import ApiServer, api_server
from tests.support.injector import make_pod, make_review, patched, response_of
from tests.support.servers import wait_until
from tests.support.sidecar_process import command, environment

pytestmark = pytest.mark.integration


class Running:
    """A running `sentinel admission`."""

    def __init__(self, process: subprocess.Popen[bytes], ready: dict[str, Any], log: Path) -> None:
        self.process = process
        self.webhook_url: str = ready["webhook_url"]
        self.probes_url: str = ready["probes_url"]
        self._log = log

    @property
    def log(self) -> str:
        """All that it has said."""
        return self._log.read_text()

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page for probes."""
        try:
            with urllib.request.urlopen(self.probes_url + path, timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def review(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The response to a review of a pod."""
        # By its address, which no certificate of a cluster names; who is believed is tested elsewhere.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        request = urllib.request.Request(  # loopback
            self.webhook_url, data=json.dumps(make_review(pod)).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=5, context=context) as reply:
            assert reply.status == 200
            return response_of(reply.read(), uid="1a2b")


def write_config(
    folder: Path, api: ApiServer, *, image: str = "sentinel:1", more: str = ""
) -> Path:
    path = folder / "admission.yaml"
    path.write_text(
        f"""
profiles: {{standard: {{image: "{image}"}}}}
listen: {{port: 0}}
probes: {{port: 0}}
stop_delay: 300ms
authority: {{folder: {folder / "tls"}}}
cluster: {{url: "{api.url}", ca_file: {api.ca_file}, token_file: {api.token_file}, namespace_file: {api.namespace_file}}}
{more}
"""
    )
    return path


@contextmanager
def running(config: Path) -> Iterator[Running]:
    ready, log = config.parent / "ready", config.parent / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command("admission", "--config", str(config), "--ready-file", str(ready)),
            env=environment(),
            cwd=config.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: ready.exists() or process.poll() is not None, what="the injector")
        assert process.poll() is None, log.read_text()
        yield Running(process, json.loads(ready.read_text()), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)


def image_of(injector: Running) -> str:
    pod = make_pod()
    [ours] = patched(pod, injector.review(pod))["spec"]["initContainers"]
    return str(ours["image"])


def test_it_follows_its_file_counts_pods_and_drains(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        api.pods = [{**make_pod(), "status": {"phase": "Running"}}]
        config = write_config(tmp_path, api)
        with running(config) as injector:
            assert injector.get("/-/ready") == (200, '{"ready":true,"waiting_for":{}}')
            assert image_of(injector) == "sentinel:1"
            # A change by content; a broken one and an empty one change nothing.
            write_config(tmp_path, api, image="sentinel:2")
            wait_until(lambda: image_of(injector) == "sentinel:2", what="the new image")
            write_config(tmp_path, api, image="not an image")
            wait_until(lambda: "refused" in injector.log, what="the fault to be told")
            config.write_text("# nothing\n")
            wait_until(lambda: "exactly one of tls and authority" in injector.log, what="the same")
            assert image_of(injector) == "sentinel:2"
            metrics = injector.get("/metrics")[1]
            assert "sentinel_config_last_reload_success 0.0" in metrics
            wait_until(
                lambda: (
                    'sentinel_admission_pods_missing{namespace="pay",reason="missed"} 1.0'
                    in injector.get("/metrics")[1]
                ),
                what="the pod without a sidecar",
            )
            assert 'sentinel_admission_form{form="native"} 1.0' in metrics
            assert (
                'sentinel_admission_ca_bundle_current{configuration="sentinel-admission"} 1.0'
                in metrics
            )
            # What only a sidecar has is not shown as 0.
            assert "sentinel_budget" not in metrics
            assert "sentinel_store" not in metrics
            assert "sentinel_build_info" not in metrics
            assert "sentinel_start_time_seconds" not in metrics
            injector.process.send_signal(signal.SIGHUP)
            wait_until(lambda: "Asked to look" in injector.log, what="the answer to SIGHUP")
            injector.process.send_signal(signal.SIGTERM)
            wait_until(
                lambda: injector.get("/-/ready")[0] == 503, what="not to be ready", every_s=0.01
            )
            assert "patch" in injector.review(make_pod())
            assert injector.process.wait(timeout=20) == 0
            assert "Stopped" in injector.log
            assert "Traceback" not in injector.log


def test_on_an_older_cluster_a_job_gets_none(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        api.version = {"major": "1", "minor": "27+"}
        with running(write_config(tmp_path, api)) as injector:
            pod = make_pod()
            names = [
                one["name"] for one in patched(pod, injector.review(pod))["spec"]["containers"]
            ]
            assert names == ["app", "sentinel"]
            response = injector.review(make_pod(restartPolicy="OnFailure"))
            assert "patch" not in response
            assert "is to end" in response["warnings"][0]


def ended(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        command("admission", *arguments),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_configuration_is_checked_without_asking_anybody(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text("tls: {cert_file: /mounted/later.crt, key_file: /mounted/later.key}\n")
    assert ended("--config", str(file), "--check") == (0, "ok\n")
    file.write_text("authority: {}\nprofiles: {standard: {store: 1}}\n")
    code, told = ended("--config", str(file), "--check")
    assert code == 1
    assert f"{file}:2: profiles.standard.store" in told
    assert ended("--config", str(tmp_path / "none"), "--check")[0] == 3


def test_a_certificate_that_is_not_there_ends_the_start_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "admission.yaml"
    file.write_text(
        f"sidecar: native\nlisten: {{port: 0}}\nprobes: {{port: 0}}\nreconcile: {{enabled: false}}\nstop_delay: 0s\n"
        f"tls: {{cert_file: {tmp_path / 'no.crt'}, key_file: {tmp_path / 'no.key'}}}\n"
    )
    code, told = ended("--config", str(file))
    assert code == 1
    assert "no.crt" in told
    assert "Traceback" not in told
