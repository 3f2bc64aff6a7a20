"""Goal: `sentinel inject` handles every workload kind and tells every fault with its file and document.

Method: the command's own parser and function, on files; Kubernetes' schemas check what comes out.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from sentinel.cli import inject
from tests.support.json_patch import apply_patch

ROOT = Path(__file__).parents[3]
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"containers": [{"name": "app", "image": "app:1"}]},
}


def workload(kind: str) -> dict[str, Any]:
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": "Pod", **TEMPLATE}
    metadata = {"name": "payments"}
    selector = {"matchLabels": {"app": "a"}}
    if kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        spec: dict[str, Any] = {"selector": selector, "template": TEMPLATE}
        if kind == "StatefulSet":
            spec["serviceName"] = "payments"
        return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}
    never = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}
    job = {"template": never}
    if kind == "CronJob":
        job = {"schedule": "0 1 * * *", "jobTemplate": {"spec": {"template": never}}}  # type: ignore[dict-item]
    return {"apiVersion": "batch/v1", "kind": kind, "metadata": metadata, "spec": job}


def run(*argv: str) -> int:
    parser = argparse.ArgumentParser()
    inject.add_arguments(parser.add_subparsers().add_parser("inject"))
    arguments = parser.parse_args(["inject", *argv])
    code = arguments.run(arguments)
    assert isinstance(code, int)
    return code


def write(path: Path, *documents: object) -> str:
    # Through JSON, so that parts that documents share are written out and not as anchors.
    path.write_text(
        yaml.safe_dump_all(json.loads(json.dumps(documents)), sort_keys=False), encoding="utf-8"
    )
    return str(path)


@pytest.mark.parametrize(
    "kind",
    ["Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob"],
)
def test_every_kind_is_injected_and_stays_valid(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("-f", write(tmp_path / "in.yaml", workload(kind)), "--config-map", "sentinel") == 0
    out = capsys.readouterr().out
    document = yaml.safe_load(out)
    kubernetes_validate.validate(document, "1.33", strict=True)
    assert "restartPolicy: Always" in out
    assert run("-f", write(tmp_path / "again.yaml", document), "--config-map", "sentinel") == 0
    assert capsys.readouterr().out == out


def test_the_shipped_example_is_injected(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-f", str(ROOT / "deploy/pod.yaml")) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    kubernetes_validate.validate(document, "1.33", strict=True)


def test_several_documents_and_lists_keep_their_order_and_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s"},
        "spec": {"ports": [{"port": 80}]},
    }
    whole = {"apiVersion": "v1", "kind": "List", "items": [workload("Pod"), workload("Job")]}
    path = write(tmp_path / "in.yaml", service, None, whole, workload("Deployment"))
    assert run("-f", path) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [document["kind"] for document in documents] == ["Service", "List", "Deployment"]
    assert documents[0] == service
    specs = [
        documents[1]["items"][0]["spec"],
        documents[1]["items"][1]["spec"]["template"]["spec"],
    ]
    assert all(spec["initContainers"][0]["name"] == "sentinel" for spec in specs)
    assert run("-f", path, "-o", "json") == 0
    assert [item["kind"] for item in json.loads(capsys.readouterr().out)["items"]] == [
        "Service",
        "List",
        "Deployment",
    ]


def test_a_patch_is_a_line_for_each_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [workload("CronJob"), workload("Pod")]
    path = write(tmp_path / "in.yaml", *documents)
    assert run("-f", path, "-o", "patch") == 0
    lines = capsys.readouterr().out.splitlines()
    assert run("-f", path) == 0
    expected = list(yaml.safe_load_all(capsys.readouterr().out))
    patched = [
        apply_patch(document, json.loads(line))
        for document, line in zip(documents, lines, strict=True)
    ]
    assert patched == expected


def test_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = yaml.safe_dump(workload("Pod")).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert run("-f", "-", "--image", "mirror/sentinel:9") == 0
    assert "mirror/sentinel:9" in capsys.readouterr().out


def test_what_kubectl_reads_as_text_stays_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """YAML 1.1 makes ninety of 1:30 and a date of 2026-01-01; both would have broken the manifest in silence."""
    path = tmp_path / "in.yaml"
    path.write_text(
        "kind: Pod\nmetadata: {annotations: {window: 1:30, day: 2026-01-01, key: '0644'}}\n"
        "spec: {containers: [{name: a, args: [08:15, 0x1f, '1e3', ~, '']}]}\n"
    )
    assert run("-f", str(path)) == 0
    document = yaml.safe_load(capsys.readouterr().out)
    annotations = document["metadata"]["annotations"]
    assert annotations["window"] == "1:30"
    assert annotations["day"] == "2026-01-01"
    assert annotations["key"] == "0644"
    assert document["spec"]["containers"][0]["args"] == ["08:15", 31, "1e3", None, ""]


def test_a_pair_of_escapes_is_one_character_and_whole_numbers_of_64_bits_pass(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = {**workload("Pod"), "metadata": {"annotations": {"face": "\U0001f600"}}}
    document["spec"] = {**TEMPLATE["spec"], "activeDeadlineSeconds": 2**63 - 1}
    path = tmp_path / "pod.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert "\\ud83d\\ude00" in path.read_text("utf-8")
    assert run("-f", str(path)) == 0
    written = yaml.safe_load(capsys.readouterr().out)
    assert written["metadata"]["annotations"]["face"] == "\U0001f600"
    assert written["spec"]["activeDeadlineSeconds"] == 2**63 - 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Pod\nkind: Pod\n", "document 1: line 2: key 'kind' is there twice"),
        ("kind: A\n---\nkind: Pod\nspec: &a {}\n", "document 2: line 4: anchors and aliases"),
        ("kind: Pod\nspec: !!python/object:os.system {}\n", "document 1: line 2: the tag"),
        ("- 1\n", "document 1: not an object with a kind"),
        ("a: 1\n", "document 1: not an object with a kind"),
        ("kind: Pod\n1: 2\n", "document 1: line 2: a key is not text"),
        ("kind: [\n", "document 1: line"),
        ("kind: Pod\na: 0x" + "f" * 9000, "document 1: line 2: an integer of more than 64 bits"),
        ("kind: Pod\na: 1" + "0" * 9000, "document 1: line 2: an integer of more than 64 bits"),
        ("kind: Pod\na: -0x10000000000000000", "line 2: an integer of more than 64 bits"),
        ('kind: Pod\nmetadata: {name: "\\ud800"}\n', "line 2: text with half a surrogate pair"),
        ('kind: Pod\n"\\udc00": 1\n', "line 2: text with half a surrogate pair"),
        ("kind: " + "[" * 100, "nested deeper than 64"),
        ("kind: Pod\nspec: \x00", "document 1: "),
        ("kind: Pod\nspec: {containers: []}\n", "document 1: Pod (no name): spec.containers"),
        ("kind: Deployment\nmetadata: {name: x}\n", "Deployment x: spec.template is missing"),
        ("kind: CronJob\nspec: {jobTemplate: 3}\n", "spec.jobTemplate.spec.template is missing"),
        ("kind: List\nitems: 3\n", "items is not a list"),
        ("kind: List\nitems: [3]\n", "items[0] is not an object with a kind"),
        ("kind: Service\n", "no pod to inject was found"),
        ("", "no pod to inject was found"),
        (
            "kind: Pod\nmetadata: {name: x}\nspec: {hostNetwork: true, containers: [{name: a}]}\n",
            "Pod x: refused, because with hostNetwork",
        ),
    ],
)
def test_faults_are_told_with_file_and_document_and_nothing_is_written(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.yaml"
    path.write_text(text)
    good = write(tmp_path / "good.yaml", workload("Pod"))
    whole = [str(path)] if "no pod" in message else [str(path), good]
    assert run(*(argument for name in whole for argument in ("-f", name))) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    if "no pod" not in message:
        assert f"{path}: " in captured.err


def test_an_opted_out_pod_passes_with_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pod = workload("Pod")
    pod["metadata"] = {"name": "quiet", "annotations": {"sentinel.dev/inject": "false"}}
    assert run("-f", write(tmp_path / "in.yaml", pod, workload("Job"))) == 0
    captured = capsys.readouterr()
    assert next(iter(yaml.safe_load_all(captured.out))) == pod
    assert "document 1: warning: Pod quiet: left alone" in captured.err


def test_unreadable_and_misused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("-f", str(tmp_path / "absent.yaml")) == 3
    assert run("-f", write(tmp_path / "in.yaml", workload("Pod")), "--image", "a b") == 2
    (tmp_path / "bytes.yaml").write_bytes(b"kind: \xff")
    assert run("-f", str(tmp_path / "bytes.yaml")) == 1
    (tmp_path / "big.yaml").write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    assert run("-f", str(tmp_path / "big.yaml")) == 1
    err = capsys.readouterr().err
    assert "No such file" in err
    assert "image must be" in err
    assert "not UTF-8 at byte 6" in err
    assert "larger than 4194304 bytes" in err


def test_what_was_not_said_is_told_on_stderr_and_stays_out_of_the_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A newcomer applied the output as it was: the image was nowhere, and nobody would have been paged."""
    pod = str(ROOT / "deploy/pod.yaml")
    assert run("-f", pod) == 0
    out, err = capsys.readouterr()
    assert "give --image" in err
    assert "ConfigMap sentinel of the pods' namespace has to name their scorer" in err
    assert "warning" not in out
    said = ("-f", pod, "--image", "registry.example/sentinel:1")
    assert run(*said, "--config-map", "ours") == 0
    assert "ConfigMap ours of the pods' namespace has to name" in capsys.readouterr().err
    assert run(*said, "--role", "both") == 0
    assert "ConfigMap sentinel of the pods' namespace is meant" in capsys.readouterr().err
    assert run(*said, "--role", "both", "--config-map", "") == 0
    assert "runs on its defaults, which page nobody" in capsys.readouterr().err
    for role in ("collect", "both"):
        assert run(*said, "--config-map", "ours", "--role", role) == 0
        assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variable", "value", "heard"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", False),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318", True),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces", False),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://localhost:4318/v1/traces", True),
    ],
)
def test_a_container_that_sends_elsewhere_is_left_so_and_told(
    variable: str,
    value: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    heard: bool,
) -> None:
    """Its own endpoint was kept without a word: the pod had a sidecar that never heard anything."""
    pod = workload("Pod")
    env = [{"name": variable, "value": value}]
    pod["spec"] = {"containers": [{"name": "app", "image": "app:1", "env": env}]}
    assert run("-f", write(tmp_path / "in.yaml", pod)) == 0
    out, err = capsys.readouterr()
    kept = yaml.safe_load(out)["spec"]["containers"][0]["env"]
    assert env[0] in kept
    assert (f'container "app" sets {variable}' in err) is not heard
    assert run("-f", write(tmp_path / "again.yaml", yaml.safe_load(out))) == 0
    again, told_again = capsys.readouterr()
    assert again == out
    assert told_again.replace("again.yaml", "in.yaml") == err


def test_the_webhooks_configuration_says_what_is_put_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "admission.yaml"
    config.write_text(
        "authority: {}\ndefault_profile: lean\nprofiles:\n"
        "  lean: {image: mirror/sentinel:9, config_map: c, role: collect, memory_limit: 96Mi, memory_request: 64Mi}\n"
    )
    path = write(tmp_path / "in.yaml", workload("Deployment"))
    assert run("-f", path, "--config", str(config)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    [ours] = yaml.safe_load(captured.out)["spec"]["template"]["spec"]["initContainers"]
    assert ours["image"] == "mirror/sentinel:9"
    assert {"name": "SENTINEL_ROLE", "value": "collect"} in ours["env"]
    assert run("-f", path, "--config", str(config), "--image", "x") == 2
    assert run("-f", path, "--config", str(config), "--role", "both") == 2
    assert "leave out --role" in capsys.readouterr().err
    assert run("-f", path, "--config", str(config), "--profile", "none") == 2
    assert "default_profile must be one of profiles (lean)" in capsys.readouterr().err


def test_an_older_cluster_gets_a_container_and_its_jobs_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "in.yaml", workload("Deployment"), workload("CronJob"))
    assert run("-f", path, "--sidecar", "container") == 0
    captured = capsys.readouterr()
    deployment, job = yaml.safe_load_all(captured.out)
    names = [one["name"] for one in deployment["spec"]["template"]["spec"]["containers"]]
    assert names == ["app", "sentinel"]
    assert "sentinel" not in yaml.safe_dump(job)
    assert "is to end" in captured.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("data: {a: !!binary aGVsbG8=}", "the tag tag:yaml.org,2002:binary is not taken"),
        ("data: !!set {a, b}", "the tag tag:yaml.org,2002:set is not taken"),
        ("data: {a: 1.0e999}", "a number that is infinite or none"),
        ("data: {a: {{ .Values.a }}}", "render it first, such as by `helm template`"),
        ("metadata: {name: {{ .Release.Name }}-a}", "render it first"),
    ],
)
def test_what_json_cannot_say_and_templates_are_refused_by_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, told: str
) -> None:
    """Bytes and sets of Python ended `-o json` with a traceback, and stood in the YAML as a tag that Kubernetes refuses."""
    path = write(tmp_path / "a.yaml", workload("Pod"))
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(f"---\nkind: ConfigMap\n{text}\n")
    assert run("-f", path, "-o", "json") == inject.EXIT_WRONG
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err


def test_a_list_in_a_list_and_an_equals_sign_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pod in a List in a List went through without its sidecar, and without a word."""
    inner = {"apiVersion": "v1", "kind": "List", "items": [workload("Pod")]}
    path = write(tmp_path / "a.yaml", {"apiVersion": "v1", "kind": "List", "items": [inner]})
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("---\nkind: ConfigMap\ndata: {operator: =}\n")
    assert run("-f", path) == inject.EXIT_DONE
    lists, config = yaml.safe_load_all(capsys.readouterr().out)
    (pod,) = lists["items"][0]["items"]
    assert pod["spec"]["initContainers"][0]["name"] == "sentinel"
    assert config["data"] == {"operator": "="}
    for _ in range(9):
        inner = {"apiVersion": "v1", "kind": "List", "items": [inner]}
    assert run("-f", write(tmp_path / "b.yaml", inner)) == inject.EXIT_WRONG
    assert "nested deeper than 8" in capsys.readouterr().err


def test_another_kind_that_keeps_pods_is_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rollout = {**workload("Deployment"), "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout"}
    assert run("-f", write(tmp_path / "a.yaml", workload("Pod"), rollout)) == inject.EXIT_DONE
    assert "warning: Rollout payments: its pods get no sidecar" in capsys.readouterr().err


def test_nothing_of_a_manifest_reaches_the_terminal_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a\x1b[2J\nb"}}
    assert run("-f", write(tmp_path / "a.yaml", broken)) == inject.EXIT_WRONG
    assert "Deployment a\\x1b[2J\\nb: spec" in capsys.readouterr().err
