"""`sentinel admission` as a process of its own, on free ports."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.api_server import ApiServer
from tests.support.injector import make_review, response_of
from tests.support.servers import wait_until
from tests.support.sidecar_process import command, environment


class InjectorProcess:
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


def write_admission_config(
    folder: Path, api: ApiServer, *, image: str = "sentinel:1", more: str = ""
) -> Path:
    """A file with free ports, an authority in the folder, and that API server."""
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
def injector_process(config: Path) -> Iterator[InjectorProcess]:
    """Started and ready; killed at the end when it still runs."""
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
        yield InjectorProcess(process, json.loads(ready.read_text()), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)
