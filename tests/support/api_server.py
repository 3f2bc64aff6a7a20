"""An API server as far as the injector asks one: the HTTP and JSON of Kubernetes over TLS, with state in memory.

What it says is what the real one says in these cases, by Kubernetes' API conventions: Status objects with reason and code,
`resourceVersion` that moves with each write and refuses a stale one, lists in pages with `continue`, JSON Patch that is
applied whole or not at all, 401 without the token and 403 without the right.
"""

from __future__ import annotations

import base64
import copy
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.support.json_patch import apply_patch
from tests.support.tls import make_certificate

TOKEN = "token-of-the-service-account"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


@dataclass
class ApiServer:
    """The state of a cluster, and what was asked of it.

    Attributes:
        url, ca_file, token_file, namespace_file: what a pod is given.
        objects: by path, as stored.
        pods: in the order of the list.
        version: what /version says.
        asked: method and path with query of each request that was let in.
        refused: paths (a beginning is enough) that the service account has no right to.
        broken: paths that are answered with this status, once for each entry.
        forgets_pages: how many times a `continue` is told to be gone.
        now_s: its clock (Unix), which each answer tells; None for the machine's.
    """

    url: str = ""
    ca_file: Path = Path()
    token_file: Path = Path()
    namespace_file: Path = Path()
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    version: dict[str, Any] = field(
        default_factory=lambda: {"major": "1", "minor": "33", "gitVersion": "v1.33.1"}
    )
    asked: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    broken: list[tuple[str, int]] = field(default_factory=list)
    forgets_pages: int = 0
    now_s: Callable[[], float] | None = None
    lock: Lock = field(default_factory=Lock)
    _version_count: int = 0

    def answer(
        self, method: str, target: str, body: bytes, content_type: str
    ) -> tuple[int, dict[str, Any]]:
        """Status and object."""
        self.asked.append(f"{method} {target}")
        parts = urlsplit(target)
        path, query = parts.path, {key: one[0] for key, one in parse_qs(parts.query).items()}
        for index, (beginning, status) in enumerate(self.broken):
            if path.startswith(beginning):
                del self.broken[index]
                return status_object(status, "InternalError", "etcdserver: request timed out")
        if any(path.startswith(one) for one in self.refused):
            return status_object(403, "Forbidden", f"User cannot {method.lower()} {path}")
        if path == "/version":
            return 200, self.version
        if path == "/api/v1/pods" and method == "GET":
            return self._list(query)
        content: Any = json.loads(body) if body else {}
        match method:
            case "GET":
                if path not in self.objects:
                    return status_object(404, "NotFound", f"{path} not found")
                return 200, self.objects[path]
            case "POST":
                made = f"{path}/{content['metadata']['name']}"
                if made in self.objects:
                    return status_object(409, "AlreadyExists", f"{made} already exists")
                return 201, self.store(made, content)
            case "PUT":
                stored = self.objects[path]["metadata"]["resourceVersion"]
                if content["metadata"].get("resourceVersion") != stored:
                    return status_object(409, "Conflict", "the object has been modified")
                return 200, self.store(path, content)
            case "PATCH":
                assert content_type == "application/json-patch+json", content_type
                try:
                    patched = patched_with_tests(self.objects[path], content)
                except AssertionError as error:
                    return status_object(
                        422, "Invalid", f"the server rejected our request: {error}"
                    )
                return 200, self.store(path, patched)
        return status_object(405, "MethodNotAllowed", method)

    def store(self, path: str, value: dict[str, Any]) -> dict[str, Any]:
        """Keep an object under a new resourceVersion."""
        self._version_count += 1
        kept = copy.deepcopy(value)
        kept["metadata"]["resourceVersion"] = str(self._version_count)
        self.objects[path] = kept
        return kept

    def add_webhook(
        self, *, service: str, namespace: str, name: str = "sentinel-admission"
    ) -> str:
        """A configuration with a webhook of somebody else's before ours; its path."""
        path = f"{WEBHOOKS}/{name}"
        self.store(
            path,
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": name},
                "webhooks": [
                    {
                        "name": "other.example.com",
                        "clientConfig": {"service": {"name": "other", "namespace": "x"}},
                    },
                    {
                        "name": "inject.sentinel.dev",
                        "clientConfig": {"service": {"name": service, "namespace": namespace}},
                    },
                ],
            },
        )
        return path

    def bundle(self, path: str, index: int = 1) -> bytes | None:
        """What a webhook is told to trust."""
        text = self.objects[path]["webhooks"][index]["clientConfig"].get("caBundle")
        return None if text is None else base64.b64decode(text)

    def _list(self, query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        start = 0
        if "continue" in query:
            if self.forgets_pages:
                self.forgets_pages -= 1
                return status_object(410, "Expired", "The provided continue parameter is too old")
            start = int(base64.b64decode(query["continue"]).decode())
        end = start + int(query["limit"])
        wanted = query.get("fieldSelector", "").split(",")
        pods = [
            pod
            for pod in self.pods
            if f"status.phase!={pod.get('status', {}).get('phase', '')}" not in wanted
        ]
        metadata: dict[str, Any] = {"resourceVersion": "7"}
        if end < len(pods):
            metadata["continue"] = base64.b64encode(str(end).encode()).decode()
            metadata["remainingItemCount"] = len(pods) - end
        return 200, {
            "kind": "PodList",
            "apiVersion": "v1",
            "metadata": metadata,
            "items": pods[start:end],
        }


def status_object(code: int, reason: str, message: str) -> tuple[int, dict[str, Any]]:
    """A refusal, as Kubernetes writes it."""
    return code, {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def patched_with_tests(document: dict[str, Any], operations: list[dict[str, Any]]) -> Any:
    """A JSON Patch with its `test` operations; AssertionError when one does not hold."""
    current: Any = document
    for operation in operations:
        if operation["op"] != "test":
            current = apply_patch(current, [operation])
            continue
        found: Any = current
        for token in operation["path"].split("/")[1:]:
            found = found[int(token)] if isinstance(found, list) else found[token]
        assert found == operation["value"], operation["path"]
    return current


@contextmanager
def api_server(folder: Path, *, namespace: str = "sentinel") -> Iterator[ApiServer]:
    """One that runs on loopback, with the files of a service account in a folder."""
    cert, key = make_certificate(folder, "api-server")
    state = ApiServer(
        ca_file=cert, token_file=folder / "token", namespace_file=folder / "namespace"
    )
    state.token_file.write_text(TOKEN)
    state.namespace_file.write_text(namespace)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            with state.lock:
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    status, content = status_object(401, "Unauthorized", "Unauthorized")
                else:
                    status, content = state.answer(
                        self.command, self.path, body, self.headers.get("Content-Type", "")
                    )
                data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = handle_any  # noqa: N815  # names of the base class

        def date_time_string(self, timestamp: float | None = None) -> str:
            """What the header Date says."""
            return super().date_time_string(timestamp if state.now_s is None else state.now_s())

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    state.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
