"""Goal: several pods that would each decide alone are refused by `sentinel inject`, whatever says that there are several.

Method: the command's own parser and function, on files; nothing may be printed where something is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.cli.test_inject_command import run, workload, write

ALONE = ("--role", "both", "--config-map", "sentinel", "--image", "sentinel:1")


def scaled(kind: str, **spec: Any) -> dict[str, Any]:
    document = workload(kind)
    document["spec"] = {**document["spec"], **spec}
    return document


def autoscaler(*, kind: str = "Deployment", count: Any = 5, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": "by-load", **({"namespace": namespace} if namespace else {})}
    target = {"apiVersion": "apps/v1", "kind": kind, "name": "payments"}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": count},
    }


def scaled_object(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "by-backlog"},
        "spec": {"scaleTargetRef": {"name": "payments"}, "triggers": [], **spec},
    }


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert run(*argv) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nothing was written" in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (scaled("Deployment", replicas=2), "Deployment payments: spec.replicas is 2"),
        (scaled("StatefulSet", replicas=3), "StatefulSet payments: spec.replicas is 3"),
        (scaled("ReplicaSet", replicas=10), "ReplicaSet payments: spec.replicas is 10"),
        (scaled("Deployment", replicas="2"), "Deployment payments: spec.replicas is no whole"),
        (scaled("Deployment", replicas=True), "Deployment payments: spec.replicas is no whole"),
        (workload("DaemonSet"), "DaemonSet payments: kind DaemonSet has a pod on every node"),
        (scaled("Job", parallelism=4), "Job payments: spec.parallelism is 4"),
        (
            scaled(
                "CronJob",
                jobTemplate={
                    "spec": {
                        **workload("CronJob")["spec"]["jobTemplate"]["spec"],
                        "parallelism": 2,
                    }
                },
            ),
            "CronJob payments: spec.jobTemplate.spec.parallelism is 2",
        ),
    ],
)
def test_a_workload_of_several_pods_is_refused_unless_told(
    document: dict[str, Any], field: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}}
    path = write(tmp_path / "in.yaml", service, document)
    told = refused(capsys, "-f", path, *ALONE)
    assert f"{path}: document 2: {field}" in told
    assert "with role both, which profile standard has, each pod would page" in told
    # Inside a List it is the same one.
    listed = write(tmp_path / "list.yaml", {"kind": "List", "items": [document]})
    assert f"{listed}: document 1: {field}" in refused(capsys, "-f", listed, *ALONE)
    assert run("-f", path, *ALONE, "--each-replica-scores") == 0
    out = capsys.readouterr().out
    assert "SENTINEL_EACH_REPLICA_SCORES" in out
    # Who collects needs to be told nothing.
    assert run("-f", path) == 0
    assert "SENTINEL_EACH_REPLICA_SCORES" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "document",
    [
        workload("Pod"),
        workload("Deployment"),
        scaled("Deployment", replicas=None),
        scaled("Deployment", replicas=1),
        scaled("StatefulSet", replicas=0),
        scaled("Job", completions=9),
        workload("CronJob"),
    ],
)
def test_one_pod_may_decide_alone(
    document: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-f", write(tmp_path / "in.yaml", document), *ALONE) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "- name: SENTINEL_ROLE" in captured.out
    assert "value: both" in captured.out


@pytest.mark.parametrize("place", ["before", "after", "in another file", "in a List"])
def test_an_autoscaler_anywhere_in_the_input_says_that_there_may_be_several(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, scaler = workload("Deployment"), autoscaler()
    match place:
        case "before":
            files = [write(tmp_path / "in.yaml", scaler, one)]
        case "after":
            files = [write(tmp_path / "in.yaml", one, scaler)]
        case "in a List":
            files = [write(tmp_path / "in.yaml", one, {"kind": "List", "items": [scaler]})]
        case _:
            files = [write(tmp_path / "in.yaml", one), write(tmp_path / "scaler.yaml", scaler)]
    named = [argument for name in files for argument in ("-f", name)]
    told = refused(capsys, *named, *ALONE)
    number = 2 if place == "before" else 1
    assert (
        f"{files[0]}: document {number}: Deployment payments: spec.maxReplicas is 5"
        " in HorizontalPodAutoscaler by-load"
    ) in told
    assert run(*named, *ALONE, "--each-replica-scores") == 0
    assert run(*named) == 0


@pytest.mark.parametrize(
    ("scaler", "is_refused"),
    [
        (autoscaler(count=1), False),
        (autoscaler(kind="StatefulSet"), False),
        (autoscaler(namespace="shop"), True),
        (autoscaler(count="many"), True),
        (scaled_object(), True),
        (scaled_object(maxReplicaCount=1), False),
        (scaled_object(maxReplicaCount=4), True),
        (scaled_object(scaleTargetRef={"name": "others"}), False),
        ({"kind": "HorizontalPodAutoscaler", "spec": 3}, False),
    ],
)
def test_what_scales_another_or_to_one_only_is_no_reason(
    scaler: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    is_refused: bool,
) -> None:
    path = write(tmp_path / "in.yaml", workload("Deployment"), scaler)
    if is_refused:
        assert " in " in refused(capsys, "-f", path, *ALONE)
    else:
        assert run("-f", path, *ALONE) == 0
    elsewhere = workload("Deployment")
    elsewhere["metadata"] = {"name": "payments", "namespace": "pay"}
    path = write(tmp_path / "in.yaml", elsewhere, autoscaler(namespace="shop"))
    assert run("-f", path, *ALONE) == 0


def test_only_what_is_injected_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = scaled("Deployment", replicas=3)
    template = document["spec"]["template"]
    document["spec"]["template"] = {
        **template,
        "metadata": {**template["metadata"], "annotations": {"sentinel.dev/inject": "false"}},
    }
    assert run("-f", write(tmp_path / "in.yaml", document, workload("Pod")), *ALONE) == 0
    assert "left alone" in capsys.readouterr().err


def test_the_telling_is_for_who_decides_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "in.yaml", workload("Pod"))
    assert run("-f", path, "--each-replica-scores") == 2
    assert "each_replica_scores goes with role both" in capsys.readouterr().err
    assert run("-f", path, "--config-map", "") == 2
    assert "role collect needs config_map" in capsys.readouterr().err


@pytest.mark.parametrize(("start", "is_numbered"), [(None, True), (0, True), (1, False)])
def test_pods_of_a_stateful_set_know_their_number(
    start: int | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    is_numbered: bool,
) -> None:
    ordinals = {} if start is None else {"ordinals": {"start": start}}
    path = write(tmp_path / "in.yaml", scaled("StatefulSet", **ordinals))
    assert run("-f", path, *ALONE) == 0
    [ours] = yaml.safe_load(capsys.readouterr().out)["spec"]["template"]["spec"]["initContainers"]
    named = {"name": "SENTINEL_REPLICA_NAME", "value": "$(POD_NAME)"}
    assert (named in ours["env"]) is is_numbered
