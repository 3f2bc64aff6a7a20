"""Goal: the manifests for logs are what a cluster takes, one of them in a restricted namespace, and the configuration in them loads.

Method: kubernetes-validate strictly, the fields that Pod Security looks at, the loader that start-up uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from sentinel.app.config import load_config

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = ("logs-shared-folder.yaml", "logs-node.yaml")
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}  # fmt: skip


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


@pytest.mark.parametrize("version", ["1.29", "1.33"])
@pytest.mark.parametrize("name", FILES)
def test_a_cluster_takes_them(name: str, version: str) -> None:
    kinds = set()
    for document in documents(name):
        kubernetes_validate.validate(document, version, strict=True)
        kinds.add(document["kind"])
    assert {"ConfigMap", "Pod" if name == FILES[0] else "DaemonSet"} <= kinds


@pytest.mark.parametrize("name", FILES)
def test_their_configuration_loads(name: str, tmp_path: Path) -> None:
    (config,) = (each for each in documents(name) if each["kind"] == "ConfigMap")
    file = tmp_path / "sentinel.yaml"
    file.write_text(config["data"]["sentinel.yaml"])
    loaded = load_config(file, environment={})
    assert len(loaded.config.receivers.log_files.sources) == 1


def test_the_shared_folder_is_allowed_where_pods_are_restricted() -> None:
    (pod,) = (each["spec"] for each in documents(FILES[0]) if each["kind"] == "Pod")
    assert pod["securityContext"]["runAsNonRoot"] is True
    for volume in pod["volumes"]:
        assert set(volume) - {"name"} <= RESTRICTED_VOLUMES
    for container in (*pod["initContainers"], *pod["containers"]):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["runAsUser"] > 0
    mounts = {each["mountPath"]: each for each in pod["initContainers"][0]["volumeMounts"]}
    assert mounts["/var/log/app"]["readOnly"] is True


def test_the_host_is_only_read_except_for_the_store() -> None:
    (daemons,) = (each for each in documents(FILES[1]) if each["kind"] == "DaemonSet")
    pod = daemons["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    of_host = {volume["name"] for volume in pod["volumes"] if "hostPath" in volume}
    writable = {
        mount["name"]
        for mount in container["volumeMounts"]
        if mount["name"] in of_host and not mount.get("readOnly")
    }
    assert writable == {"sentinel-store"}
    assert not any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
