"""Goal: what a cluster's scorer begins with is what its users are told: shadow, a past where one is asked for, commands that work.

Method: both ways rendered by their own programs; arguments by the program's own grammar, configurations by its loader, notes by Helm.
"""

from __future__ import annotations

import base64
import copy
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from sentinel.app.config import Mode, SentinelConfig, load_config
from sentinel.cli.main import build_parser
from tests.support.cluster_manifests import (
    CHART,
    ISSUER,
    KUBERNETES,
    KUSTOMIZE,
    ROOT,
    Document,
    by_identity,
    helm,
    kustomized,
    read_all,
    templated,
    tool,
)
from tests.support.pod_security import violations

SERVER = {
    "name": "main",
    "url": "http://prometheus.monitoring.svc:9091",
    "queries": [{"name": "calls", "signal": "traffic", "query": "sum by (service) (rate(c[5m]))"}],
}
PAST = {"scorer": {"backfill": {"enabled": True, "servers": [SERVER]}}}


def own_overlay(folder: Path, *components: str, more: str = "", **files: str) -> list[Document]:
    """The overlay of a user, made beside ours, with these components."""
    for name in ("deploy/kustomize", "deploy/kong"):
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    own = folder / "deploy/kustomize/overlays/own"
    own.mkdir()
    listed = "".join(f"  - ../../components/{name}\n" for name in components)
    (own / "kustomization.yaml").write_text(
        f"resources: [../cluster]\ncomponents:\n{listed}{more}"
        "generatorOptions: {disableNameSuffixHash: true}\n"
    )
    for name, text in files.items():
        (own / f"{name}.yaml").write_text(text)
    command = [tool("kubectl"), "kustomize", str(own)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return read_all(done.stdout)


def with_past(folder: Path) -> list[Document]:
    more = (
        "configMapGenerator:\n"
        "  - {name: sentinel-scorer-backfill, namespace: sentinel, files: [past.yaml]}\n"
    )
    past = yaml.safe_dump({"scrapers": {"prometheus_queries": [SERVER]}})
    return own_overlay(folder, "backfill", more=more, past=past)


def scorer_of(documents: Sequence[Document]) -> Document:
    [found] = [one for one in documents if one["kind"] == "StatefulSet"]
    spec: Document = found["spec"]["template"]["spec"]
    return spec


def loaded(documents: Sequence[Document], folder: Path, volume: str) -> SentinelConfig:
    """What Sentinel reads at /etc/sentinel of the volume, certificates and tokens replaced by ones that are there."""
    secrets = [d["data"] for d in templated() if d["kind"] == "Secret" and "data" in d]
    folder.mkdir(exist_ok=True)
    for name, encoded in {key: value for data in secrets for key, value in data.items()}.items():
        (folder / name).write_bytes(base64.b64decode(encoded))
    [mounted] = [one for one in scorer_of(documents)["volumes"] if one["name"] == volume]
    names = (
        [one["configMap"]["name"] for one in mounted["projected"]["sources"]]
        if "projected" in mounted
        else [mounted["configMap"]["name"]]
    )
    target = folder / f"of-{volume}"
    target.mkdir()
    for document in documents:
        if document["kind"] == "ConfigMap" and document["metadata"]["name"] in names:
            for name, text in document["data"].items():
                for inside in ("/etc/sentinel-tls", "/etc/sentinel-tokens"):
                    text = text.replace(inside, str(folder))
                assert not (target / name).exists(), name
                (target / name).write_text(text)
    return load_config(target, environment={}).config


def notes(values: dict[str, Any]) -> str:
    command = [tool("helm"), "install", "sentinel", str(CHART), "--namespace", "sentinel"]
    command += ["--dry-run=client", "--values", "-"]
    done = subprocess.run(command, input=yaml.safe_dump(values), capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    return done.stdout.partition("\nNOTES:\n")[2]


def test_a_first_installation_pages_nobody(tmp_path: Path) -> None:
    for way, documents in (("kustomize", kustomized("cluster")), ("chart", templated())):
        config = loaded(documents, tmp_path / way, "config")
        assert config.mode is Mode.SHADOW
        # All that is needed to page is there but the word.
        assert config.senders.alertmanager.urls
    assert "NOBODY IS PAGED YET" in notes({})
    assert "--set scorer.mode=live" in notes({})


def test_the_notes_say_who_is_believed_and_what_the_audit_waits_for() -> None:
    told = notes({"ledger": {"enabled": True, "edge": {"insecureTenantHeader": True}}})
    assert "THE LEDGER BELIEVES EVERYBODY" in told
    assert (
        "kubectl -n ledger-witness logs sentinel-ledger-witness-0 -c key > witness.key.pub" in told
    )
    told = notes(
        {
            "ledger": {
                "enabled": True,
                "edge": ISSUER,
                "audit": {"enabled": False},
                "exports": {"enabled": False},
            }
        }
    )
    assert "BELIEVES" not in told
    assert "witness" not in told


@pytest.mark.parametrize("values", [{"mode": "live"}, {"config": {"mode": "live"}}])
def test_pages_go_out_when_it_is_said(values: dict[str, Any], tmp_path: Path) -> None:
    documents = templated({"scorer": values})
    assert loaded(documents, tmp_path, "config").mode is Mode.LIVE
    told = notes({"scorer": values})
    assert "NOBODY" not in told
    assert "Pages go to http://alertmanager-operated.monitoring.svc:9093" in told


def test_the_component_live_lets_pages_out(tmp_path: Path) -> None:
    [container] = scorer_of(own_overlay(tmp_path, "live"))["containers"]
    given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
    file = tmp_path / "sentinel.yaml"
    file.write_text(
        (KUSTOMIZE / "base/scorer/sentinel.yaml").read_text().partition("receivers:")[0]
    )
    assert load_config(file, environment={}).config.mode is Mode.SHADOW
    assert load_config(file, environment=given).config.mode is Mode.LIVE


def test_both_ways_put_the_same_container_before_the_scorer(tmp_path: Path) -> None:
    ours, theirs = scorer_of(with_past(tmp_path)), scorer_of(templated(PAST))
    assert ours["initContainers"] == theirs["initContainers"]
    by_name = {one["name"]: one for one in ours["volumes"]}
    assert {name for name in by_name if name != "past"} == {
        one["name"] for one in theirs["volumes"] if one["name"] != "past"
    }
    assert "initContainers" not in scorer_of(templated())
    [container] = theirs["initContainers"]
    [scorer] = theirs["containers"]
    assert container["image"] == scorer["image"]
    assert container["resources"] == scorer["resources"]
    # It has the scorer's store, and whatever the scorer's configuration names.
    mounts = {one["mountPath"]: one["name"] for one in container["volumeMounts"]}
    assert mounts | {"/etc/sentinel": "config"} == {
        one["mountPath"]: one["name"] for one in scorer["volumeMounts"]
    }
    assert violations(theirs) == []
    for documents in (with_past(tmp_path / "again"), templated(PAST)):
        for document in documents:
            if document["kind"] in ("StatefulSet", "ConfigMap", "NetworkPolicy"):
                for version in KUBERNETES[::4]:
                    kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("way", ["kustomize", "list", "file", "live queries"])
def test_it_asks_whom_it_was_told_and_stores_where_the_scorer_looks(
    way: str, tmp_path: Path
) -> None:
    values = copy.deepcopy(PAST)
    if way == "file":
        # As `sentinel discover` writes it: more than the queries.
        text = yaml.safe_dump({"mode": "live", "scrapers": {"prometheus_queries": [SERVER]}})
        values["scorer"]["backfill"]["servers"] = text
    if way == "live queries":
        live = {**SERVER, "name": "live", "url": "http://other:9092"}
        values["scorer"]["config"] = {"scrapers": {"prometheus_queries": [live]}}
    documents = with_past(tmp_path / "own") if way == "kustomize" else templated(values)
    past = loaded(documents, tmp_path / "past", "past")
    scorer = loaded(documents, tmp_path / "scorer", "config")
    asked = [one.name for one in past.scrapers.prometheus_queries]
    assert asked == (["live", "main"] if way == "live queries" else ["main"])
    # For the past alone: a second voice about the sidecars' series would be heard while it runs.
    assert [one.name for one in scorer.scrapers.prometheus_queries] == asked[:-1]
    assert past.store == scorer.store
    assert past.mode is Mode.SHADOW
    if way != "kustomize":
        [policy] = [d for d in documents if d["kind"] == "NetworkPolicy" and d["metadata"]["name"] == "sentinel-scorer"]  # fmt: skip
        out = [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]]
        assert 9091 in out
        assert (9092 in out) is (way == "live queries")


def test_the_program_takes_its_arguments() -> None:
    values = copy.deepcopy(PAST)
    values["scorer"]["backfill"] |= {"weeks": 6, "within": "2h"}
    [container] = scorer_of(templated(values))["initContainers"]
    args = build_parser().parse_args(container["args"])
    assert (args.weeks, args.within, args.before_run) == (6, 7200, True)
    assert args.config == Path("/etc/sentinel")


def test_others_to_ask_restart_the_scorer() -> None:
    def annotations(values: dict[str, Any]) -> Any:
        [found] = [one for one in templated(values) if one["kind"] == "StatefulSet"]
        return found["spec"]["template"]["metadata"].get("annotations")

    other = copy.deepcopy(PAST)
    other["scorer"]["backfill"]["servers"] = [{**SERVER, "url": "http://other:9090"}]
    assert annotations({}) is None
    assert annotations(PAST) != annotations(other)


def test_a_past_that_nobody_can_be_asked_for_is_refused() -> None:
    for servers, told in (
        ([], "scorer.backfill has nobody to ask"),
        ("mode: live\n", "is a file without scrapers.prometheus_queries"),
        ([{"name": "main", "url": "prometheus:9090", "queries": []}], "/scorer/backfill/servers/0/url"),
    ):  # fmt: skip
        done = helm(values={"scorer": {"backfill": {"enabled": True, "servers": servers}}})
        assert done.returncode != 0
        assert told in done.stderr, done.stderr
    for key, value in (
        ("within", "2d"),
        ("within", "1441m"),
        ("within", "0s"),
        ("weeks", 0),
        ("mode", "live"),
    ):
        done = helm(values={"scorer": {"backfill": {key: value}}})
        assert done.returncode != 0, key


@pytest.mark.parametrize("values", [{}, PAST, {"scorer": {"mode": "live"}}], ids=["first", "past", "live"])  # fmt: skip
def test_the_notes_name_commands_that_there_are(values: dict[str, Any]) -> None:
    """Each that is typed in the scorer's pod: into its container, and by the program's own grammar."""
    told = notes(values)
    typed = [shlex.split(line) for line in told.splitlines() if " exec " in line]
    assert len(typed) >= 2
    for words in typed:
        assert words[:7] == ["kubectl", "-n", "sentinel", "exec", "sentinel-scorer-0", "-c", "sentinel"]  # fmt: skip
        words = words[words.index("--") + 1 :]
        assert words.pop(0) == "sentinel"
        args = build_parser().parse_args([one for one in words if one not in (">", "past.yaml")])
        # Its page wants a certificate to be trusted and a token, which its configuration has.
        assert args.command == "discover" or args.config == Path("/etc/sentinel")
    assert ("logs sentinel-scorer-0 -c backfill" in told) is (values is PAST)


def test_the_scorers_certificate_is_for_whoever_asks_in_its_pod(tmp_path: Path) -> None:
    [tls] = [d for d in templated() if d["kind"] == "Secret" and d["metadata"]["name"].endswith("scorer-tls")]  # fmt: skip
    (tmp_path / "tls.crt").write_bytes(base64.b64decode(tls["data"]["tls.crt"]))
    command = ["openssl", "x509", "-in", str(tmp_path / "tls.crt"), "-noout", "-ext", "subjectAltName"]  # fmt: skip
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    documents = (ROOT / "docs/components/deploy.md").read_text()
    for name in ("DNS:sentinel-scorer.sentinel.svc", "DNS:localhost"):
        assert name in told
        assert name in documents
    assert "IP Address:127.0.0.1" in told
    assert "IP:127.0.0.1" in documents


def test_cert_manager_is_the_same_in_both_ways(tmp_path: Path) -> None:
    """The component against the chart's value, object for object; and in another namespace no word of the old one."""
    ours = by_identity(own_overlay(tmp_path, "cert-manager"), namespace="sentinel")
    theirs = by_identity(templated({"injector": {"certManager": True}}), namespace="sentinel")
    # Two files in the component's ConfigMap would be two configurations.
    assert set(ours["ConfigMap sentinel/sentinel-admission"]["data"]) == {"admission.yaml"}
    made = {one for one in theirs if one.startswith("Secret sentinel/sentinel-scorer-")}
    assert set(ours) - {"Namespace -/sentinel"} == set(theirs) - made
    for identity in sorted(set(theirs) - made):
        assert ours[identity] == theirs[identity], identity
    for name in ("own", "cluster"):
        file = tmp_path / f"deploy/kustomize/overlays/{name}/kustomization.yaml"
        file.write_text(
            "namespace: watch\n" + file.read_text().replace("namespace: sentinel\n", "")
        )
    command = [tool("kubectl"), "kustomize", str(tmp_path / "deploy/kustomize/overlays/own")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    moved = by_identity(read_all(done.stdout), namespace="?")
    assert moved["Certificate watch/sentinel-admission"]["spec"]["dnsNames"] == [
        "sentinel-admission.watch.svc",
        "sentinel-admission.watch.svc.cluster.local",
    ]
    assert "Issuer watch/sentinel-admission" in moved
    webhook = moved["MutatingWebhookConfiguration -/sentinel-admission"]
    assert webhook["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == "watch/sentinel-admission"  # fmt: skip
