"""The manifests as a cluster would get them: rendered by kubectl's Kustomize and by Helm, and what both have in common.

Both programs are looked for beside the Python that runs the tests first (`make deploy-tools` puts them there), then on PATH.
"""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
KUSTOMIZE = ROOT / "deploy/kustomize"
CHART = ROOT / "deploy/chart"
OVERLAYS = (
    *("cluster", "monitored"),
    *("ledger", "ledger-keda", "ledger-trial", "ledger-witness", "ledger-monitored"),
)
ISSUER = {"issuer": "https://issuer.example"}
"""Who may come in to the ledger's edge: without saying so, nothing is rendered."""
KUBERNETES = tuple(f"1.{minor}" for minor in range(29, 38))
CLUSTER_WIDE = {
    "ClusterRole",
    "ClusterRoleBinding",
    "MutatingWebhookConfiguration",
    "Namespace",
}

Document = dict[str, Any]

_POD_PATHS: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
}
# What only one of the two ways writes, and means nothing to the cluster.
_OWN_LABELS = {
    "app.kubernetes.io/version",
    "app.kubernetes.io/part-of",
    "app.kubernetes.io/managed-by",
    "helm.sh/chart",
}


def tool(name: str) -> str:
    """The path of kubectl or Helm; skips the test when it is nowhere, which fails the run with CI=true."""
    beside = Path(sys.prefix) / "bin" / name
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (make deploy-tools)")
    return path


@functools.cache
def _kustomized(overlay: str) -> str:
    command = [tool("kubectl"), "kustomize", str(KUSTOMIZE / "overlays" / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kustomized(overlay: str) -> list[Document]:
    """The objects of one overlay, by the Kustomize that is in kubectl."""
    return read_all(_kustomized(overlay))


def read_all(text: str) -> list[Document]:
    """The objects of a text of many; by libyaml where there is one, for boards are long."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [document for document in yaml.load_all(text, Loader=loader) if document]


def helm(
    *arguments: str, values: Mapping[str, Any] | None = None, release: str = "sentinel"
) -> subprocess.CompletedProcess[str]:
    """Run `helm template` of the chart, with values on its standard input."""
    command = [tool("helm"), "template", release, str(CHART), "--namespace", "sentinel"]
    command += ["--values", "-", *arguments]
    return subprocess.run(
        command, input=json.dumps(values or {}), capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip


def templated(
    values: Mapping[str, Any] | None = None, *arguments: str, release: str = "sentinel"
) -> list[Document]:
    """The objects of the chart with these values, by Helm itself."""
    return read_all(_templated(json.dumps(values or {}), arguments, release))


@functools.cache
def _templated(values: str, arguments: tuple[str, ...], release: str) -> str:
    done = helm(*arguments, values=json.loads(values), release=release)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pods(documents: Sequence[Document]) -> Iterator[tuple[str, Document]]:
    """Every pod that the objects make, with the name of what makes it."""
    for document in documents:
        path = _POD_PATHS.get(document["kind"])
        if path is None:
            continue
        pod: Document = document
        for key in path:
            pod = pod[key]
        yield f"{document['kind']}/{document['metadata']['name']}", pod


def by_identity(documents: Sequence[Document], *, namespace: str) -> dict[str, Document]:
    """Objects by kind, namespace and name, as a cluster holds them: defaults of namespace, embedded YAML read.

    So that the two ways can be compared: comments and the order of keys in a ConfigMap are no difference, nor are labels
    that say which tool wrote it.
    """
    found: dict[str, Document] = {}
    for document in documents:
        held = json.loads(json.dumps(document))
        metadata = held["metadata"]
        if held["kind"] not in CLUSTER_WIDE:
            metadata.setdefault("namespace", namespace)
        metadata["labels"] = {
            key: value
            for key, value in metadata.get("labels", {}).items()
            if key not in _OWN_LABELS
        }
        if held["kind"] == "ConfigMap":
            held["data"] = _joined({key: _read(key, text) for key, text in held["data"].items()})
        identity = f"{held['kind']} {metadata.get('namespace', '-')}/{metadata['name']}"
        assert identity not in found, f"twice: {identity}"
        found[identity] = held
    return found


def _joined(data: dict[str, Any]) -> dict[str, Any]:
    """A folder of Sentinel's files as the one that it reads them for: Kustomize adds files, the chart writes into one."""
    if "sentinel.yaml" not in data:
        return data
    whole: dict[str, Any] = {}
    for part in data.values():
        _add(part, whole)
    return {"sentinel.yaml": whole}


def _add(part: dict[str, Any], whole: dict[str, Any]) -> None:
    for key, value in part.items():
        if isinstance(value, dict) and isinstance(whole.get(key), dict):
            _add(value, whole[key])
        else:
            # As Sentinel's own reading has it: a value is in one file only.
            assert key not in whole, key
            whole[key] = value


def _read(key: str, text: str) -> Any:
    if key.endswith(".json"):
        return json.loads(text)
    return yaml.safe_load(text) if key.endswith((".yaml", ".yml")) else text
