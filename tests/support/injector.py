"""Pods, reviews, and an injector in the test's own process."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import io
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from sentinel.admission.config import (
    AdmissionConfig,
    AuthorityConfig,
    ClusterConfig,
    ProbesConfig,
    ReconcileConfig,
    SidecarChoice,
    WebhookListenConfig,
)
from sentinel.app.admission.injector import Injector
from sentinel.runtime.clock import SystemClock
from sentinel.runtime.settings import Duration, FilePath
from tests.support.api_server import ApiServer
from tests.support.json_patch import apply_patch
from tests.support.surroundings import make_surroundings

HOST = "sentinel-admission.sentinel.svc"


def make_pod(
    *, annotations: dict[str, str] | None = None, name: str = "payments", **spec: Any
) -> dict[str, Any]:
    """A pod that asks for a sidecar, unless it is given other annotations."""
    asked = {"sentinel.dev/inject": "true"} if annotations is None else annotations
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "pay", "annotations": asked},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], **spec},
    }


def make_review(pod: object, *, uid: str = "1a2b", **request: Any) -> dict[str, Any]:
    """What an API server sends when a pod is made."""
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "pay",
            "operation": "CREATE",
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller"},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            **request,
        },
    }


def response_of(body: bytes, *, uid: str | None = None) -> dict[str, Any]:
    """The response of an answer, checked as an API server checks it."""
    review = json.loads(body)
    assert review["apiVersion"] == "admission.k8s.io/v1"
    assert review["kind"] == "AdmissionReview"
    response = review["response"]
    assert isinstance(response, dict)
    assert response["allowed"] is True
    assert uid is None or response["uid"] == uid
    assert ("patch" in response) == (response.get("patchType") == "JSONPatch")
    assert all(len(one) <= 256 and one.isprintable() for one in response.get("warnings", []))
    assert set(response) <= {
        "uid", "allowed", "patch", "patchType", "warnings", "auditAnnotations",
    }  # fmt: skip
    return response


def patched(pod: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """The pod an API server makes of it."""
    if "patch" not in response:
        return pod
    made = apply_patch(pod, json.loads(base64.b64decode(response["patch"])))
    assert isinstance(made, dict)
    return made


def cluster_config(api: ApiServer) -> ClusterConfig:
    """How that API server is asked."""
    return ClusterConfig(
        url=api.url,
        ca_file=FilePath(str(api.ca_file)),
        token_file=FilePath(str(api.token_file)),
        namespace_file=FilePath(str(api.namespace_file)),
        timeout=Duration(10.0),
    )


def injector_config(folder: Path, api: ApiServer | None, **more: Any) -> AdmissionConfig:
    """On free ports, with an authority of its own; with an API server, kept there."""
    authority = AuthorityConfig(folder=FilePath(str(folder / "tls")), namespace="sentinel")
    if api is None:
        authority = dataclasses.replace(authority, secret="", webhook="")
        more.setdefault("sidecar", SidecarChoice.NATIVE)
    return AdmissionConfig(
        **{
            "listen": WebhookListenConfig(port=0),
            "probes": ProbesConfig(port=0),
            "authority": authority,
            "cluster": ClusterConfig() if api is None else cluster_config(api),
            "reconcile": ReconcileConfig(enabled=api is not None),
            "stop_delay": Duration(0.0),
            **more,
        }
    )


@asynccontextmanager
async def running(config: AdmissionConfig) -> AsyncIterator[Injector]:
    """An injector that runs, and is stopped again."""
    injector = Injector(config, make_surroundings(SystemClock()), {})
    await injector.start()
    try:
        yield injector
    finally:
        await injector.stop()


class Caller:
    """Asks the webhook as an API server does: by its name in the cluster, trusting its authority and nobody else."""

    def __init__(self, session: aiohttp.ClientSession, url: str, trusted: bytes) -> None:
        self._session = session
        self._url = url
        self._tls = ssl.create_default_context(cadata=trusted.decode())

    async def post(self, data: bytes, *, query: str = "?timeout=5s") -> bytes:
        """The body of the answer, which must be a 200."""
        async with self._session.post(
            f"{self._url}{query}",
            data=io.BytesIO(data),
            ssl=self._tls,
            server_hostname=HOST,
            headers={"Content-Type": "application/json"},
        ) as reply:
            assert reply.status == 200
            assert reply.content_type == "application/json"
            return await reply.read()

    async def review(self, review: dict[str, Any]) -> dict[str, Any]:
        """The response to a review."""
        return response_of(
            await self.post(json.dumps(review).encode()), uid=review["request"]["uid"]
        )


@asynccontextmanager
async def calling(injector: Injector, trusted: bytes | Path) -> AsyncIterator[Caller]:
    """A caller of a running injector; `trusted` is the authority, or the folder of its TLS."""
    if isinstance(trusted, Path):
        trusted = await asyncio.to_thread((trusted / "tls/current/ca.crt").read_bytes)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield Caller(session, injector.webhook.url, trusted)
