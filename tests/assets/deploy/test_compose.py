"""Goal: the Compose file is well formed, pinned, closed to the outside, and its parts are wired to one another.

Method: the specification's own schema; the file read as data; each configuration by its own program where there is one. No
container is started, for want of an engine.
"""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from importlib import resources
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml

from sentinel import __version__
from sentinel.app.config import load_config
from sentinel.reference.ledger.wire.roles import Role
from tests.support.skips import require_binary

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy/compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
THEIRS = {"kong", "nats", "postgres", "prometheus", "alertmanager", "grafana", "tempo", "loki"}
ONCE = {"migrate", "webhook-keys", "audit-key", "witness-key"}
BESIDE = {"poster", "webhooks", "audit", "exports", "analytics", "reconcile", "disburse"}
OURS = {"sentinel", "edge", "load", "witness", *BESIDE, *ONCE}
IN_THE_POD = {"edge", "load", "sentinel", "prometheus", *BESIDE}


def test_it_is_what_the_specification_says() -> None:
    folder = resources.files("check_jsonschema") / "builtin_schemas/vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(COMPOSE)] == []
    assert list(validator.iter_errors({**COMPOSE, "service": {}})), "the schema lets all pass"


def test_everything_that_is_promised_is_in_it() -> None:
    assert set(SERVICES) == THEIRS | OURS


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_images_of_others_are_given_by_version_and_digest(name: str) -> None:
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z/]+:v?\d[\w.-]*@sha256:[0-9a-f]{64}", image), image


@pytest.mark.parametrize("name", sorted(OURS))
def test_images_of_ours_are_of_this_version(name: str) -> None:
    ledger = "" if name == "sentinel" else "-ledger"
    assert SERVICES[name]["image"] == f"sentinel{ledger}:{__version__}"
    build = SERVICES[name].get("build")
    if build:
        assert (FOLDER / build["context"]).resolve() == ROOT
        assert build["target"] == ("sentinel" if name == "sentinel" else "ledger")


def test_kong_is_the_one_that_the_cluster_runs() -> None:
    edge = (ROOT / "deploy/kustomize/base/ledger/edge.yaml").read_text()
    assert f"image: {SERVICES['kong']['image']}\n" in edge


def test_only_loopback_is_listened_on() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(published) == [
        "127.0.0.1:3000:3000",
        "127.0.0.1:8000:8000",
        "127.0.0.1:9090:9090",
        "127.0.0.1:9093:9093",
    ]
    assert not [
        name for name, service in SERVICES.items() if service.get("network_mode") == "host"
    ]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_held_to_little(name: str) -> None:
    service = SERVICES[name]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")
    assert not service.get("cap_add")
    if name != "postgres":
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_says_how_it_is(name: str) -> None:
    """Those that cannot be asked say so; what waits for `healthy` waits for one that can."""
    check = SERVICES[name]["healthcheck"]
    if check.get("disable"):
        assert name in {*ONCE, "load", "tempo"}
    else:
        assert check["test"][0] in ("CMD", "CMD-SHELL")
        assert {"interval", "timeout", "retries"} <= set(check)
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if how["condition"] == "service_healthy":
            assert not SERVICES[other]["healthcheck"].get("disable"), other
        # Who runs once is never waited for as one that goes on, nor the other way round.
        assert (how["condition"] == "service_completed_successfully") is (other in ONCE), other


def test_nobody_waits_for_who_waits_for_it() -> None:
    before = {name: set(service.get("depends_on", {})) for name, service in SERVICES.items()}
    started: set[str] = set()
    while len(started) < len(before):
        ready = {name for name, needs in before.items() if needs <= started} - started
        assert ready, f"in a circle: {sorted(set(before) - started)}"
        started |= ready


def test_what_is_mounted_is_there() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, _, _ = volume.partition(":")
            if source.startswith("."):
                assert (FOLDER / source).exists(), f"{name}: {source}"
            else:
                assert source in COMPOSE["volumes"], f"{name}: {source}"
        for config in service.get("configs", []):
            assert (FOLDER / COMPOSE["configs"][config["source"]]["file"]).is_file(), name
        assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"]), name


def test_the_archive_is_a_file_of_its_own_that_adds_to_this_one() -> None:
    """PostgreSQL hands its log over on a volume that one other has, and is started as before but for that."""
    added = yaml.safe_load((FOLDER / "archive.yaml").read_text())
    folder = resources.files("check_jsonschema") / "builtin_schemas/vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(added)] == []
    services = added["services"]
    assert set(services) - set(SERVICES) == {"archive", "backup"}
    before, with_archive = SERVICES["postgres"]["command"], services["postgres"]["command"]
    assert with_archive[: len(before)] == before
    settings = dict(one.split("=", 1) for one in with_archive[len(before) + 1 :: 2])
    assert settings["archive_mode"] == "on"
    assert settings["archive_command"] == 'sh /etc/ledger/hand-over "%p" "%f" /spool'
    mounts = {name: {volume.split(":")[1] for volume in service.get("volumes", [])} for name, service in services.items()}  # fmt: skip
    assert mounts == {"postgres": {"/etc/ledger/hand-over", "/spool"}, "archive": {"/spool"}, "backup": set()}  # fmt: skip
    assert (FOLDER / "../postgres/hand-over").is_file()
    for name in ("archive", "backup"):
        service = services[name]
        assert service["image"] == f"sentinel-ledger:{__version__}"
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        known = {*COMPOSE["secrets"], *added["secrets"]}
        named = {one.rpartition("/")[2] for one in [*service["command"], *service["environment"].values()] if one.startswith("/run/secrets/")}  # fmt: skip
        assert named == set(service["secrets"]) <= known
    assert services["archive"]["user"] in added["volumes"]["spool"]["driver_opts"]["o"].replace("uid=", "").replace(",gid=", ":")  # fmt: skip


def test_an_issuers_own_authorities_are_a_file_that_adds_to_this_one() -> None:
    added = yaml.safe_load((FOLDER / "issuer-ca.yaml").read_text())
    folder = resources.files("check_jsonschema") / "builtin_schemas/vendor"
    schema = json.loads((folder / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert [error.message for error in validator.iter_errors(added)] == []
    [(name, edge)] = added["services"].items()
    assert name in SERVICES
    [secret] = edge["secrets"]
    # Read by the library that the edge asks with; its own option would be one more word of the whole command.
    assert edge["environment"] == {"SSL_CERT_FILE": f"/run/secrets/{secret}"}
    assert set(added["secrets"]) == {secret}
    assert not set(added["secrets"]) & set(COMPOSE["secrets"])


def test_the_passwords_are_made_once_and_are_not_in_the_tree(tmp_path: Path) -> None:
    """Run as `make stack` runs it: a program called secrets.py once found itself where it wanted the library's."""
    command = [sys.executable, str(FOLDER / "make_secrets.py"), str(tmp_path / "made")]
    printed = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert printed.stdout == printed.stderr == b""
    made = {path.name: path.read_text() for path in (tmp_path / "made").iterdir()}
    assert {f"./secrets/{name}" for name in made} == {secret["file"] for secret in COMPOSE["secrets"].values()}  # fmt: skip
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    url = urlsplit(made["ledger-url"])
    assert (url.hostname, url.username, url.password, url.path) == ("postgres", "ledger", made["ledger-password"], "/ledger")  # fmt: skip
    assert min(len(made[name]) for name in made) >= 32
    roles = {name: urlsplit(text) for name, text in made.items() if name.endswith("-url")}
    assert {url.username for url in roles.values()} == {"ledger", *Role}
    assert len({url.password for url in roles.values()}) == len(roles)
    assert {url.username for name, url in roles.items() if url.username != f"ledger_{name[:-4]}"} == {"ledger"}  # fmt: skip
    subprocess.run(command, check=True, timeout=30)
    assert {path.name: path.read_text() for path in (tmp_path / "made").iterdir()} == made
    assert "deploy/compose/make_secrets.py" in (ROOT / "Makefile").read_text()
    assert "/deploy/compose/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_sentinel_takes_its_configuration(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("a password")
    text = (FOLDER / "sentinel.yaml").read_text().replace("/run/secrets/sentinel-password", str(password))  # fmt: skip
    file = tmp_path / "sentinel.yaml"
    file.write_text(text)
    config = load_config(file, environment={}).config
    named = [
        *(url for target in config.scrapers.nats for url in target.urls),
        *(target.url for target in config.scrapers.kong),
        *(endpoint.url for endpoint in config.forward.endpoints),
        *config.senders.alertmanager.urls,
    ]
    hosts = {urlsplit(url).hostname for url in named} | {t.host for t in config.scrapers.postgres}
    assert hosts == {"127.0.0.1", "nats", "postgres", "tempo", "loki", "alertmanager"}
    assert hosts - {"127.0.0.1"} <= set(SERVICES)
    # The boards of these two have series by the hundred, and some 200 are shown unless they are named.
    services = {config.scrapers.nats[0].service, config.scrapers.postgres[0].service}
    assert services <= {route.split()[0] for route in config.web.series_routes}


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    """With the rules where the Compose file mounts them."""
    (tmp_path / "prometheus.yml").write_text((FOLDER / "prometheus.yml").read_text())
    (tmp_path / "rules").symlink_to(ROOT / "alert_rules")
    command = [require_binary("promtool"), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(list((ROOT / 'alert_rules').glob('*.yaml')))} rule files found" in done.stdout
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    for job in config["scrape_configs"]:
        [target] = job["static_configs"][0]["targets"]
        assert target.partition(":")[0] in {*SERVICES, "127.0.0.1"}


def test_alertmanager_takes_its_configuration() -> None:
    command = [require_binary("amtool"), "check-config", str(FOLDER / "alertmanager.yml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nats_takes_its_configuration() -> None:
    command = [require_binary("nats-server"), "--config", str(FOLDER / "nats.conf"), "-t"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kong_sends_where_the_others_listen(tmp_path: Path) -> None:
    kong = yaml.safe_load((ROOT / "deploy/kong/ledger.yml").read_text())
    assert kong["_format_version"] == "3.0"
    edge = SERVICES["edge"]["command"]
    port = int(edge[edge.index("--port") + 1])
    assert {urlsplit(service["url"]).port for service in kong["services"]} == {port}
    assert ip_address("127.0.0.1") in ip_network(edge[edge.index("--trusted-proxy") + 1])
    plugins = {plugin["name"]: plugin["config"] for plugin in kong["plugins"]}
    assert plugins["http-log"]["http_endpoint"] == "http://127.0.0.1:9880/kong"
    assert plugins["opentelemetry"]["traces_endpoint"] == "http://127.0.0.1:4318/v1/traces"
    assert all(plugins["prometheus"].values())
    environment = SERVICES["kong"]["environment"]
    assert environment["KONG_STATUS_LISTEN"] == "127.0.0.1:8007"
    assert environment["KONG_TRACING_SAMPLING_RATE"] == "1"
    in_cluster = yaml.safe_load_all((ROOT / "deploy/kustomize/base/ledger/edge.yaml").read_text())
    [pod] = [d["spec"]["template"]["spec"] for d in in_cluster if d["kind"] == "Deployment"]
    [container] = [c for c in pod["containers"] if c["name"] == "kong"]
    assert {entry["name"]: entry["value"] for entry in container["env"]} == environment


def test_nobody_comes_in_until_somebody_said_who() -> None:
    """Compose itself refuses the file while the variable is empty: `:?`."""
    text = (FOLDER / "compose.yaml").read_text()
    assert text.count("--insecure-tenant-header") == 2
    [way] = [one for one in SERVICES["edge"]["command"] if one.startswith("${")]
    assert re.fullmatch(r"\$\{LEDGER_WAY_IN:\?[^}]+\}", way)
    assert "/deploy/compose/.env" in (ROOT / ".gitignore").read_text().splitlines()
    # In the header of the file, and in what the refusal says: never in what is run.
    assert not [one for one in SERVICES["edge"]["command"] if one.startswith("--insecure")]


def test_each_process_has_its_own_login_and_no_key_but_its_own() -> None:
    logins = {
        name: set(service["secrets"])
        for name, service in SERVICES.items()
        if "ledger" in service["image"] and "secrets" in service
    }
    of_all = logins.pop("migrate")
    assert logins.pop("edge") == {"reader-url", "endpoints-url", "exports-url"}
    assert logins.pop("exports") == {"exporter-url"}
    assert {name: {f"{'disburser' if name == 'disburse' else name}-url"} for name in BESIDE - {"exports"}} == logins  # fmt: skip
    assert of_all == {"ledger-url", *(f"{role.removeprefix('ledger_')}-url" for role in Role)}
    holders: dict[str, set[str]] = {}
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            holders.setdefault(volume.partition(":")[0], set()).add(name)
    assert holders["webhook-keys"] == {"webhook-keys", "webhooks"}
    assert holders["audit-key"] == {"audit-key", "audit"}
    assert holders["witness"] == {"witness-key", "witness"}


def test_who_shares_the_gateways_network_is_told_to() -> None:
    """On loopback they hear one another; a service that Grafana asks has a name of its own there."""
    sharing = {n for n, s in SERVICES.items() if s.get("network_mode") == "service:kong"}
    assert sharing == IN_THE_POD
    for name in sharing:
        assert SERVICES[name]["depends_on"]["kong"]["restart"] is True
        assert "ports" not in SERVICES[name]
    assert SERVICES["kong"]["networks"]["default"]["aliases"] == ["prometheus"]


def test_grafana_asks_what_is_there() -> None:
    environment = SERVICES["grafana"]["environment"]
    for variable in ("PROMETHEUS_URL", "ALERTMANAGER_URL", "TEMPO_URL", "LOKI_URL"):
        assert urlsplit(environment[variable]).hostname in {*SERVICES, "prometheus"}
    boards = ROOT / "dashboards/provisioning"
    files = [FOLDER / "grafana/loki.yaml", *(boards / "datasources").glob("*.yaml")]
    sources = [s for file in files for s in yaml.safe_load(file.read_text())["datasources"]]
    assert {"prometheus", "tempo", "loki", "alertmanager"} == {
        source["type"] for source in sources
    }
    assert {source["url"][2:-1] for source in sources} <= set(environment)
    linked = {uid for f in files for uid in re.findall(r"datasourceUid: (\S+)", f.read_text())}
    assert linked
    assert linked <= {source["uid"] for source in sources}
    [provider] = [
        one
        for file in (boards / "dashboards").glob("*.yaml")
        for one in yaml.safe_load(file.read_text())["providers"]
    ]
    path = provider["options"]["path"]
    assert f"../../dashboards:{path}:ro" in SERVICES["grafana"]["volumes"]
    tempo = yaml.safe_load((FOLDER / "tempo.yaml").read_text())
    loki = yaml.safe_load((FOLDER / "loki.yaml").read_text())
    assert urlsplit(environment["TEMPO_URL"]).port == tempo["server"]["http_listen_port"]
    assert urlsplit(environment["LOKI_URL"]).port == loki["server"]["http_listen_port"]
    assert tempo["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"].endswith(
        ":4318"
    )
    assert loki["limits_config"]["allow_structured_metadata"] is True
