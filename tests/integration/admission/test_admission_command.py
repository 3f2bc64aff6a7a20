"""Goal: the command runs as an operator runs it: checked before, followed while it runs, and gone without losing a review.

Method: `sentinel admission` as a process of its own, an API server over TLS, files that change, signals.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.api_server import api_server
from tests.support.injector import make_pod, patched
from tests.support.injector_process import (
    InjectorProcess,
    injector_process,
    write_admission_config,
)
from tests.support.servers import wait_until
from tests.support.sidecar_process import command, environment

pytestmark = pytest.mark.integration


def image_of(injector: InjectorProcess) -> str:
    pod = make_pod()
    [ours] = patched(pod, injector.review(pod))["spec"]["initContainers"]
    return str(ours["image"])


def test_it_follows_its_file_counts_pods_and_drains(tmp_path: Path) -> None:
    with api_server(tmp_path) as api:
        api.add_webhook(service="sentinel-admission", namespace="sentinel")
        api.pods = [{**make_pod(), "status": {"phase": "Running"}}]
        config = write_admission_config(tmp_path, api)
        with injector_process(config) as injector:
            assert injector.get("/-/ready") == (200, '{"ready":true,"waiting_for":{}}')
            assert image_of(injector) == "sentinel:1"
            # A change by content; a broken one and an empty one change nothing.
            write_admission_config(tmp_path, api, image="sentinel:2")
            wait_until(lambda: image_of(injector) == "sentinel:2", what="the new image")
            write_admission_config(tmp_path, api, image="not an image")
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
        with injector_process(write_admission_config(tmp_path, api)) as injector:
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
