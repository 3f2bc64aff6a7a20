"""Goal: each process of the ledger is started with words it knows, sees its own secrets alone, and reaches what it must and no more.

Method: what Kustomize, the chart and Compose make is read as data; commands by the ledger's own grammar, addresses by the guard that the
sender of webhooks has in itself.
"""

from __future__ import annotations

import functools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from sentinel.reference.ledger.domain.webhooks.addresses import (
    AddressPolicy,
    RefusedAddressError,
    judge_address,
)
from sentinel.reference.ledger.operate.cli import build_parser
from sentinel.reference.ledger.operate.heartbeat import HEARTBEAT_VARIABLE
from sentinel.reference.ledger.wire.roles import Role
from tests.support.cluster_manifests import (
    ISSUER,
    OVERLAYS,
    ROOT,
    Document,
    by_identity,
    kustomized,
    pods,
    read_all,
    templated,
    tool,
)

INSECURE = "--insecure-tenant-header"
WAYS = ("ledger-monitored", "ledger-trial", "chart", "chart, less", "chart, archive")
ARCHIVE: dict[str, Any] = {"enabled": True, "spool": {"claim": "sentinel-ledger-spool"}}
LESS: dict[str, Any] = {
    "enabled": True,
    "replica": {"enabled": True},
    "edge": {"insecureTenantHeader": True, "gatewayCertSecret": "ingress-tls"},
    "tenants": ["acme=enterprise", "demo"],
    "webhooks": {"ports": [443, 8443], "deniedNetworks": ["198.51.0.0/16", "2a00:1450::/32"]},
    "audit": {"enabled": False},
    "exports": {"enabled": False},
    "witness": {"enabled": False},
    "analytics": {"enabled": False},
    "reconcile": {"everySeconds": 300},
    "disburse": {
        "railUrl": "https://rail.example:10443",
        "keysSecret": "rail",
        "railCaConfigMap": "rail-ca",
    },
}


@functools.cache
def rendered(way: str) -> list[Document]:
    if way == "chart":
        return templated({"ledger": {"enabled": True, "edge": ISSUER}})
    if way == "chart, less":
        return templated({"ledger": LESS})
    if way == "chart, archive":
        return templated({"ledger": {"enabled": True, "edge": ISSUER, "archive": ARCHIVE}})
    return kustomized(way)


def containers(way: str) -> Iterator[tuple[str, Document, Document]]:
    """Component, pod and container of everything that runs the ledger's image."""
    for _, pod in pods(rendered(way)):
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            if container["image"].startswith("sentinel-ledger"):
                yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod, container


def commands() -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Every command, with what is put in the place of its variables."""
    for way in WAYS:
        for component, _, container in containers(way):
            yield f"{way}: {component} {container['name']}", container["args"], {"$(LEDGER_ISSUER)": ISSUER["issuer"]}  # fmt: skip
    services = {
        name: service
        for file in ("compose", "archive")
        for name, service in yaml.safe_load((ROOT / f"deploy/compose/{file}.yaml").read_text())["services"].items()
    }  # fmt: skip
    for name, service in services.items():
        if service.get("image", "").startswith("sentinel-ledger"):
            for said in (f"--issuer={ISSUER['issuer']}", INSECURE):
                arguments = [said if one.startswith("${") else one for one in service["command"]]
                yield f"compose: {name}", arguments, {}


def test_every_command_is_one_that_the_ledger_knows() -> None:
    seen = set()
    for where, arguments, variables in commands():
        try:
            options = build_parser().parse_args([variables.get(one, one) for one in arguments])
        except SystemExit:
            pytest.fail(f"{where}: {arguments}")
        seen.add(options.command.__qualname__)
    assert len(seen) >= 10


@pytest.mark.parametrize("way", WAYS)
def test_every_file_that_is_named_is_mounted(way: str) -> None:
    for component, pod, container in containers(way):
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        shown: set[PurePosixPath] = set()
        for mount in container["volumeMounts"]:
            volume = volumes.get(mount["name"], {})
            for item in (volume.get("secret") or volume.get("configMap", {})).get("items", []):
                shown.add(PurePosixPath(mount["mountPath"]) / item["path"])
        values = [one["value"] for one in container.get("env", []) if "value" in one]
        named = {PurePosixPath(one) for one in [*container["args"], *values] if one.startswith("/etc/")}  # fmt: skip
        # And nothing is mounted that is not named: no process sees another's secrets.
        assert named == shown, f"{component} {container['name']}"


@pytest.mark.parametrize("way", WAYS)
def test_only_what_migrates_may_do_everything_and_it_lets_in_whoever_logs_in(way: str) -> None:
    let_in: set[str] = set()
    logged_in: set[str] = set()
    for component, _, container in containers(way):
        arguments = container["args"]
        urls = {PurePosixPath(one).name for one in arguments if one.endswith("-url") and one.startswith("/")}  # fmt: skip
        # Roles come to a replica with everything else.
        urls = {url for url in urls if not url.endswith("-replica-url")}
        if container["name"] == "migrate":
            assert component == "poster"
            assert "postgres-url" in urls
            let_in = urls - {"postgres-url"}
        else:
            assert "postgres-url" not in urls, component
            # Who takes base backups logs in as a role of yours.
            logged_in |= urls - {"nats-url", *(["backup-url"] if component == "backup" else [])}
    assert logged_in == let_in
    assert {f"ledger_{name.removesuffix('-url')}" for name in let_in} <= set(Role)
    if way != "chart, less":
        assert {f"ledger_{name.removesuffix('-url')}" for name in let_in} == set(Role)


def test_nobody_is_believed_by_their_word_unless_somebody_asked_for_it() -> None:
    """In the trial's overlay, and by a value; elsewhere the edge wants an issuer, and does not start without."""
    for overlay in OVERLAYS:
        for component, pod, container in (c for c in _of(overlay)):
            assert (INSECURE in container["args"]) is (
                overlay == "ledger-trial" and container["name"] == "edge"
            ), f"{overlay} {component}"
            if overlay != "ledger-trial" and container["name"] == "edge":
                [issuer] = [one for one in container["env"] if one["name"] == "LEDGER_ISSUER"]
                assert issuer["valueFrom"]["configMapKeyRef"].get("optional", False) is False
                made = [d["metadata"]["name"] for d in kustomized(overlay) if d["kind"] == "ConfigMap"]  # fmt: skip
                assert issuer["valueFrom"]["configMapKeyRef"]["name"] not in made
                assert pod["spec"]["containers"][0] is container
    [edge] = [c for component, _, c in containers("chart") if c["name"] == "edge"]
    assert INSECURE not in edge["args"]


def _of(overlay: str) -> Iterator[tuple[str, Document, Document]]:
    for _, pod in pods(kustomized(overlay)):
        for container in pod["spec"]["containers"]:
            if container["image"].startswith("sentinel-ledger"):
                yield pod["metadata"]["labels"]["app.kubernetes.io/component"], pod, container


@pytest.mark.parametrize("way", WAYS)
def test_edges_share_what_a_tenant_may_ask_as_many_as_there_are_at_least(way: str) -> None:
    [edge] = [c for component, _, c in containers(way) if c["name"] == "edge"]
    [scaled] = [
        d["spec"]
        for d in rendered(way)
        if d["kind"] == "HorizontalPodAutoscaler" and d["metadata"]["name"].endswith("-edge")
    ]
    shared = int(edge["args"][edge["args"].index("--edges") + 1])
    assert shared == scaled["minReplicas"] > 1


@pytest.mark.parametrize("way", WAYS)
def test_everything_that_goes_on_is_asked_whether_it_works(way: str, tmp_path: Path) -> None:
    """By a port, or by the age of the file that it touches; the command is run, with such files."""
    for component, pod, container in containers(way):
        if container["name"] == "edge":
            # Through the gateway beside it.
            [container] = [c for c in pod["spec"]["containers"] if c["name"] == "kong"]
        if container["name"] in ("migrate", "key"):
            continue
        startup, alive = container["startupProbe"], container["livenessProbe"]
        if "exec" not in alive:
            assert "ports" in container, component
            continue
        [file] = [e["value"] for e in container["env"] if e["name"] == HEARTBEAT_VARIABLE]
        assert startup["exec"] == alive["exec"]
        assert PurePosixPath(file).parent in {PurePosixPath(m["mountPath"]) for m in container["volumeMounts"]}  # fmt: skip
        if component == "poster":
            _ask(alive["exec"]["command"], file, tmp_path)


def test_compose_asks_likewise(tmp_path: Path) -> None:
    services = yaml.safe_load((ROOT / "deploy/compose/compose.yaml").read_text())["services"]
    check = services["poster"]["healthcheck"]["test"]
    _ask(check[1:], services["poster"]["environment"][HEARTBEAT_VARIABLE], tmp_path)


def _ask(command: list[str], file: str, folder: Path) -> None:
    own = folder / "alive"
    mine = [sys.executable, *(one.replace(file, str(own)) for one in command[1:])]

    def answer() -> bool:
        done = subprocess.run(mine, capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    assert command[0] == "/opt/sentinel/bin/python"
    assert not answer()
    own.touch()
    assert answer()
    os.utime(own, (1, 1))
    assert not answer()


@pytest.mark.parametrize("way", WAYS)
def test_keys_are_read_by_their_own_process_alone(way: str) -> None:
    """Modes that a process takes which does not run as root: root's file, shown to the group."""
    for component, pod, container in containers(way):
        private = [v for v in pod["spec"]["volumes"] if _holds_a_private_key(v)]
        assert bool(private) is (component in ("webhooks", "audit", "backup", "archive")), (
            component
        )
        if private:
            assert [v["secret"]["defaultMode"] for v in private] == [0o400]
            assert pod["spec"]["securityContext"]["fsGroup"] == 65532
            assert len(pod["spec"]["containers"]) == 1
            assert container["name"] == component


def _holds_a_private_key(volume: Document) -> bool:
    items = volume.get("secret", {}).get("items", [])
    return any(item["key"] in ("private", "log.key", "s3-keys") for item in items)


@pytest.mark.parametrize("way", ["ledger-monitored", "chart"])
def test_the_witness_is_elsewhere_and_hears_the_audit_alone(way: str) -> None:
    [witness] = [pod for component, pod, c in containers(way) if c["name"] == "witness"]
    objects = [d for d in rendered(way) if d["metadata"].get("labels", {}).get("app.kubernetes.io/component") == "witness"]  # fmt: skip
    assert {d["metadata"]["namespace"] for d in objects} == {"ledger-witness"}
    assert "annotations" not in witness["metadata"]
    [policy] = [d["spec"] for d in objects if d["kind"] == "NetworkPolicy"]
    # Watched, it tells Prometheus what it answered; a test of metrics holds it to that.
    assert (policy["egress"] == []) is (way == "chart")
    [rule] = policy["ingress"]
    [peer] = rule["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ledger"}
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "audit"
    [audit] = [c for component, _, c in containers(way) if c["name"] == "audit"]
    [service] = [d for d in objects if d["kind"] == "Service"]
    url = f"http://{service['metadata']['name']}.ledger-witness.svc:{service['spec']['ports'][0]['port']}"
    assert audit["args"][audit["args"].index("--witness-url") + 1] == url
    [key] = [c for _, _, c in containers(way) if c["name"] == "key"]
    [run] = [c for _, _, c in containers(way) if c["name"] == "witness"]
    for option, other in (("--file", "--key"), ("--memory", "--memory")):
        assert key["args"][key["args"].index(option) + 1] == run["args"][run["args"].index(other) + 1]  # fmt: skip


def closed(policies: list[Document], address: IPv4Address | IPv6Address, port: int) -> bool:
    """Whether no policy over the sender lets it go there."""
    for policy in policies:
        for rule in policy.get("egress", []):
            if not any(one["port"] == port and one["protocol"] == "TCP" for one in rule["ports"]):
                continue
            if "to" not in rule:
                return False
            for peer in rule["to"]:
                block = peer.get("ipBlock")
                if (
                    block
                    and address in ip_network(block["cidr"])
                    and not any(address in ip_network(one) for one in block.get("except", []))
                ):
                    return False
    return True


def _over(way: str, component: str) -> list[Document]:
    [labels] = [pod["metadata"]["labels"] for _, pod in pods(rendered(way)) if pod["metadata"]["labels"].get("app.kubernetes.io/component") == component]  # fmt: skip
    return [
        d["spec"]
        for d in rendered(way)
        if d["kind"] == "NetworkPolicy"
        and d["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    ]


@pytest.mark.parametrize("way", WAYS)
def test_webhooks_go_to_the_internet_and_to_no_neighbour(way: str) -> None:
    """What the sender's own guard refuses, the policy closes too: at both ends of each network, and at addresses by chance."""
    policies = _over(way, "webhooks")
    blocks = [
        peer["ipBlock"]
        for policy in policies
        for rule in policy.get("egress", [])
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    assert [block["cidr"] for block in blocks] == ["0.0.0.0/0", "2000::/3"]
    tried: set[IPv4Address | IPv6Address] = {ip_address("fd00::1"), ip_address("fe80::1"), ip_address("::1"), ip_address("64:ff9b::a00:1")}  # fmt: skip
    for block in blocks:
        for text in block["except"]:
            # Kubernetes takes only what lies within.
            network = ip_network(text)
            assert network.subnet_of(ip_network(block["cidr"]))  # type: ignore[arg-type]  # of one kind
            for number in (int(network[0]) - 1, int(network[0]), int(network[-1]), int(network[-1]) + 1):  # fmt: skip
                if 0 <= number < 2**network.max_prefixlen:
                    tried.add(type(network[0])(number))
    chance = random.Random(4)
    tried |= {IPv4Address(chance.getrandbits(32)) for _ in range(5000)}
    tried |= {IPv6Address(0x2 << 124 | chance.getrandbits(124)) for _ in range(1000)}
    refused = [address for address in tried if _refused(address)]
    assert len(refused) > 500
    assert [address for address in refused if not closed(policies, address, 443)] == []
    for public in ("8.8.8.8", "203.0.114.1", "2a00:1451::1", "2606:4700::1"):
        assert not closed(policies, ip_address(public), 443)
        assert closed(policies, ip_address(public), 80)
    # What it needs of the cluster is let out by number, and none of that is where webhooks go.
    assert not closed(policies, ip_address("10.0.0.1"), 5432)
    assert closed(policies, ip_address("198.51.7.7"), 443) is (way == "chart, less")
    assert closed(policies, ip_address("2a00:1450::1"), 443) is (way == "chart, less")
    assert closed(policies, ip_address("8.8.8.8"), 8443) is (way != "chart, less")


def _refused(address: IPv4Address | IPv6Address) -> bool:
    try:
        judge_address(address, AddressPolicy())
    except RefusedAddressError:
        return True
    return False


@pytest.mark.parametrize(
    ("way", "component", "port"),
    [
        ("chart", "edge", 443),
        ("ledger-monitored", "audit", 8090),
        ("chart", "audit", 8090),
        ("chart, less", "disburse", 10443),
    ],
)
def test_each_reaches_whom_it_asks_and_its_neighbours_do_not(
    way: str, component: str, port: int
) -> None:
    somewhere = ip_address("10.1.2.3")
    assert not closed(_over(way, component), somewhere, port)
    for other in {"poster", "webhooks", "reconcile"} - {component}:
        assert closed(_over(way, other), somewhere, port), other


def test_who_is_off_leaves_nothing_behind() -> None:
    documents = rendered("chart, less")
    named = {d["metadata"]["name"] for d in documents}
    assert not {name for name in named if name.endswith(("-audit", "-witness", "-analytics"))}
    without = templated({"ledger": {**LESS, "webhooks": {"enabled": False}, "disburse": {"enabled": False}}})  # fmt: skip
    [edge] = [
        container
        for _, pod in pods(without)
        for container in pod["spec"]["containers"]
        if container["name"] == "edge"
    ]
    assert not [one for one in edge["args"] if "webhooks" in one]
    assert {mount["name"] for mount in edge["volumeMounts"]} == {"servers", "edge-tmp", "gateway-cert"}  # fmt: skip
    assert not {d["metadata"]["name"] for d in without if d["metadata"]["name"].endswith(("-webhooks", "-disburse"))}  # fmt: skip


def test_the_archive_is_off_until_somebody_says_where_it_is_and_then_alike(tmp_path: Path) -> None:
    """Kustomize's components and the chart's values, object for object; elsewhere there is none of it."""
    for folder in ("deploy/kustomize", "deploy/kong"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    own = tmp_path / "deploy/kustomize/overlays/own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(
        "resources: [../ledger]\n"
        "components: [../../components/ledger-archive, ../../components/ledger-archive-spool]\n"
    )
    command = [tool("kubectl"), "kustomize", str(own)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    ours = _of_the_archive(read_all(done.stdout))
    theirs = _of_the_archive(rendered("chart, archive"))
    assert len(ours) == 6
    assert ours == theirs
    only = templated({"ledger": {"enabled": True, "edge": ISSUER, "archive": {"enabled": True}}})
    assert {one.rpartition("-")[2] for one in _of_the_archive(only)} == {"backup"}
    for way in ("ledger-monitored", "chart"):
        assert _of_the_archive(rendered(way)) == {}
    spec = ours["Deployment ledger/sentinel-ledger-archive"]["spec"]["template"]["spec"]
    # What PostgreSQL's user hands over can be read by that user alone.
    assert spec["securityContext"]["runAsUser"] == 999


def _of_the_archive(documents: list[Document]) -> dict[str, Document]:
    return {
        name: document
        for name, document in by_identity(documents, namespace="?").items()
        if document["metadata"].get("labels", {}).get("app.kubernetes.io/component")
        in ("backup", "archive")
    }


@pytest.mark.parametrize(
    ("component", "values", "options"),
    [
        ("ledger-issuer-ca", {**ISSUER, "issuerCaConfigMap": "sentinel-ledger-issuer-ca"}, {"--issuer-ca"}),
        ("ledger-gateway-cert", {**ISSUER, "gatewayCertSecret": "sentinel-ledger-gateway"}, {"--gateway-cert"}),
    ],
)  # fmt: skip
def test_authorities_and_certificates_of_others_come_to_the_edge_alike(
    component: str, values: dict[str, Any], options: set[str], tmp_path: Path
) -> None:
    """By Kustomize's component and by the chart's value; the gateway's key comes with neither."""
    for folder in ("deploy/kustomize", "deploy/kong"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    own = tmp_path / "deploy/kustomize/overlays/own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(
        f"resources: [../ledger]\ncomponents: [../../components/{component}]\n"
    )
    command = [tool("kubectl"), "kustomize", str(own)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    theirs = templated({"ledger": {"enabled": True, "edge": values}})
    plain = templated({"ledger": {"enabled": True, "edge": ISSUER}})
    [mine, other, without] = [
        by_identity(documents, namespace="?")["Deployment ledger/sentinel-ledger-edge"]["spec"]["template"]["spec"]
        for documents in (read_all(done.stdout), theirs, plain)
    ]  # fmt: skip
    arguments = [set(spec["containers"][0]["args"]) for spec in (mine, other, without)]
    assert arguments[0] == arguments[1] == arguments[2] | options | {
        one for one in arguments[0] if one.startswith(("/etc/ledger-issuer/", "/etc/ledger-gateway/"))
    }  # fmt: skip
    added = [
        v for v in mine["volumes"] if v["name"] not in {w["name"] for w in without["volumes"]}
    ]
    assert [v for v in other["volumes"] if v in added] == added
    assert len(added) == 1
    assert "tls.key" not in str(added)
    mounts = [spec["containers"][0]["volumeMounts"] for spec in (mine, other)]
    assert mounts[0] == mounts[1]


def test_a_replica_is_read_from_alike(tmp_path: Path) -> None:
    """Kustomize's component and the chart's value, object for object, of those whom it is about."""
    for folder in ("deploy/kustomize", "deploy/kong"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    own = tmp_path / "deploy/kustomize/overlays/own"
    own.mkdir()
    (own / "kustomization.yaml").write_text(
        "resources: [../ledger]\ncomponents: [../../components/ledger-replica]\n"
    )
    command = [tool("kubectl"), "kustomize", str(own)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    ours = by_identity(read_all(done.stdout), namespace="?")
    theirs = by_identity(
        templated({"ledger": {"enabled": True, "edge": ISSUER, "replica": {"enabled": True}}}),
        namespace="?",
    )
    for component in ("edge", "reconcile", "poster"):
        identity = f"Deployment ledger/sentinel-ledger-{component}"
        specs = [one[identity]["spec"]["template"]["spec"] for one in (ours, theirs)]
        mine, other = (
            next(c for c in spec["containers"] if c["name"] == component) for spec in specs
        )
        assert mine == other
        assert ("--replica-url-file" in mine["args"]) is (component != "poster")
        assert specs[0]["volumes"][0] == specs[1]["volumes"][0]
