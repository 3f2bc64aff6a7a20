"""Tells the API server to trust the authority: its certificates become the `caBundle` of the webhook configuration.

Whoever applies the manifest again takes the bundle away, so it is looked at again and again. Only the webhooks that lead to
our Service are touched, and only when they are still the ones that were looked at.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from sentinel.admission.certificates.issue import holds
from sentinel.admission.cluster import JSON_PATCH, Cluster
from sentinel.errors import MalformedInputError

_PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


async def have_trusted(
    cluster: Cluster, *, webhook: str, service: str, namespace: str, authorities: bytes
) -> bool:
    """Have every webhook of a configuration that leads to the Service trust these authorities; True when one did not.

    Raises:
        RetryableError, RefusedError: it cannot be read or changed.
        MalformedInputError: it has no webhook that leads to the Service.
    """
    async with cluster.session() as session:
        configuration = await session.get(f"{_PATH}/{webhook}")
        operations = _operations(
            configuration, service=service, namespace=namespace, authorities=authorities
        )
        if operations:
            await session.ask(
                "PATCH", f"{_PATH}/{webhook}", content=operations, content_type=JSON_PATCH
            )
    return bool(operations)


def _operations(
    configuration: dict[str, Any], *, service: str, namespace: str, authorities: bytes
) -> list[dict[str, Any]]:
    webhooks = configuration.get("webhooks")
    operations: list[dict[str, Any]] = []
    ours = 0
    for index, one in enumerate(webhooks if isinstance(webhooks, list) else []):
        client = one.get("clientConfig") if isinstance(one, dict) else None
        target = client.get("service") if isinstance(client, dict) else None
        if not isinstance(target, dict) or not isinstance(client, dict):
            continue
        if (target.get("namespace"), target.get("name")) != (namespace, service):
            continue
        ours += 1
        if holds(_decoded(client.get("caBundle")), authorities):
            continue
        operations += [
            # Another order of the list since then would have another webhook trust us.
            {"op": "test", "path": f"/webhooks/{index}/name", "value": one.get("name")},
            {
                "op": "add",
                "path": f"/webhooks/{index}/clientConfig/caBundle",
                "value": base64.b64encode(authorities).decode("ascii"),
            },
        ]
    if not ours:
        msg = f"no webhook of the configuration leads to the Service {service} of {namespace}"
        raise MalformedInputError(msg)
    return operations


def _decoded(bundle: object) -> bytes:
    try:
        return base64.b64decode(bundle, validate=True) if isinstance(bundle, str) else b""
    except (binascii.Error, ValueError):
        return b""
