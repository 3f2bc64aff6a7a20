"""Goal: the gateway's configuration is the edge's policies, and nothing that Kong would not take.

Method: deploy/kong/ledger.yml is read as Kong reads it: by a schema made after Kong's own, its routes tried on
the table's requests, its transformer done by hand after Kong's source, its windows filled by conforming requests.
"""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.limits import SECOND_NS, Allowance, Allowed, Limit, take
from sentinel.reference.ledger.edge.endpoint_routes import ENDPOINT_ROUTES
from sentinel.reference.ledger.edge.export_routes import EXPORT_ROUTES
from sentinel.reference.ledger.edge.gateway import (
    VERSION_HEADER,
    Terms,
    gateway_document,
    limit_windows,
)
from sentinel.reference.ledger.edge.versions import READS, WRITES, read_write

ROOT = Path(__file__).parents[3]
KONG = yaml.safe_load((ROOT / "deploy/kong/ledger.yml").read_text())
SCHEMA = json.loads((ROOT / "tests/data/kong/declarative.schema.json").read_text())
ID = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
MONEY = {"amount_minor": 5, "currency": "EUR"}
BODIES: dict[str, Any] = {
    "transfers": {"debit_account": "a", "credit_account": "b", **MONEY, "expires_in_s": 60},
    "post": {"amount_minor": 3},
    "void": {},
    "reverse": {},
    "disbursements": {
        "debit_account": "a",
        **MONEY,
        "payee": {"account": "DE02120300000000202051", "name": "A. Person"},
    },
}


def matching(method: str, path: str, tenant: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Services and routes of the most specific kind that match, as Kong's router has it."""
    found = []
    for service in KONG["services"]:
        for route in service["routes"]:
            expressions = [
                one[1:].replace("(?<", "(?P<") if one.startswith("~") else re.escape(one)
                for one in route["paths"]
            ]
            named = route.get("headers", {}).get("X-Tenant")
            if (
                method in route["methods"]
                and any(re.match(one, path) for one in expressions)
                and (named is None or tenant in named)
            ):
                found.append((service, route))
    most = max((len(route.get("headers", {})) for _, route in found), default=0)
    return [one for one in found if len(one[1].get("headers", {})) == most]


def plugins(of: dict[str, Any]) -> dict[str, Any]:
    return {plugin["name"]: plugin["config"] for plugin in of.get("plugins", [])}


def test_kong_would_take_it() -> None:
    jsonschema.validate(KONG, SCHEMA)
    names = [service["name"] for service in KONG["services"]]
    routes = [route["name"] for service in KONG["services"] for route in service["routes"]]
    assert len(set(names)) == len(names)
    assert len(set(routes)) == len(routes)


def test_what_kong_would_not_take_is_found() -> None:
    wrong = json.loads(json.dumps(KONG))
    wrong["services"][0]["plugins"][0]["config"]["seconds"] = 5
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SCHEMA)


def test_every_plugin_that_was_promised_is_there() -> None:
    used = {plugin["name"] for plugin in KONG["plugins"]}
    for service in KONG["services"]:
        used |= plugins(service).keys()
        for route in service["routes"]:
            used |= plugins(route).keys()
    assert used == {
        "prometheus",
        "opentelemetry",
        "http-log",
        "rate-limiting",
        "ip-restriction",
        "request-transformer",
        "correlation-id",
    }


@pytest.mark.parametrize("tenant", ["demo", "acme"])
def test_every_request_of_the_table_has_one_route(tenant: str) -> None:
    asked = [("POST", path) for write in WRITES for path in (write.v1, write.v2)]
    asked += [("GET", path) for read in READS for path in (read.v1, read.v2)]
    for method, path in asked:
        [(service, route)] = matching(method, path.replace("{id}", ID), tenant)
        assert route["strip_path"] is False
        assert (service["name"] == "ledger-acme") == (tenant == "acme")
        # A longer path is another address, which the edge answers with 404 and no transfer.
        assert matching(method, path.replace("{id}", ID) + "/more", tenant) == []
    assert len(matching("GET", "/healthz", tenant)) == 1


def test_limits_and_networks_are_the_tenants() -> None:
    everybody, acme, health = KONG["services"]
    assert plugins(everybody)["rate-limiting"]["limit_by"] == "header"
    assert plugins(everybody)["rate-limiting"]["header_name"] == "X-Tenant"
    standard = limit_windows(Limit(rps=100, burst=200))
    assert plugins(everybody)["rate-limiting"].items() >= standard.items()
    own = plugins(acme)
    assert own["rate-limiting"].items() >= limit_windows(Limit(rps=1500, burst=3000)).items()
    assert own["rate-limiting"]["limit_by"] == "service"
    assert own["ip-restriction"]["allow"] == ["192.0.2.0/24", "2001:db8::/32"]
    assert "ip-restriction" not in plugins(everybody)
    assert plugins(health) == {}


@given(
    rps=st.integers(1, 400),
    burst=st.integers(1, 400),
    offset_ns=st.integers(0, SECOND_NS - 1),
)
def test_kong_refuses_nothing_that_the_edge_would_let_pass(
    rps: int, burst: int, offset_ns: int
) -> None:
    """A client that takes all it can, from any moment within Kong's second."""
    limit = Limit(rps=rps, burst=burst)
    allowance = Allowance(limit=limit)
    tat, now, taken = 0, offset_ns, {"second": 0, "minute": 0}
    while now < 2 * SECOND_NS:
        tat, decision = take(tat, steady_ns=now, now_ns=now, allowance=allowance)
        if not isinstance(decision, Allowed):
            now += decision.retry_after_ns
            continue
        taken["second"] += now < SECOND_NS
        taken["minute"] += 1
    windows = limit_windows(limit)
    assert taken["second"] <= windows["second"]
    assert taken["minute"] <= windows["minute"]


def transformed(config: dict[str, Any], body: dict[str, Any], path: str, route: str) -> Any:
    """What Kong's request-transformer makes of it: names of the outermost object, and the address."""
    body = dict(body)
    for pair in config.get("rename", {}).get("body", []):
        old, _, new = pair.partition(":")
        if old in body:
            body[new] = body.pop(old)
    found = re.match(route[1:].replace("(?<", "(?P<"), path)
    assert found is not None
    captures = found.groupdict()
    uri = re.sub(r"\$\(uri_captures\.(\w+)\)", lambda m: captures[m[1]], config["replace"]["uri"])
    return uri, body


@pytest.mark.parametrize(
    "write", [one for one in WRITES if not one.form.each], ids=lambda w: w.name
)
def test_kong_makes_of_version_one_what_the_edge_makes_of_it(write: Any) -> None:
    path, body = write.v1.replace("{id}", ID), BODIES[write.name]
    assert body.keys() == write.form.fields.keys()
    [(_, route)] = matching("POST", path, "demo")
    config = plugins(route)["request-transformer"]
    uri, made = transformed(config, body, path, route["paths"][0])
    assert uri == write.v2.replace("{id}", ID)
    assert config["add"]["headers"] == [f"{VERSION_HEADER}:1"]
    first = read_write(write, 1, tenant="t", idempotency_key="k", target=ID, body=body)
    second = read_write(write, 2, told=1, tenant="t", idempotency_key="k", target=ID, body=made)
    assert first == second
    # A request of version 2 goes through as it is.
    [(_, route)] = matching("POST", uri, "demo")
    assert plugins(route) == {}


def test_a_batch_goes_to_the_edge_as_it_came() -> None:
    for path in ("/v1/batches", "/v2/batches"):
        [(_, route)] = matching("POST", path, "demo")
        assert plugins(route) == {}


def test_any_tenants_make_a_configuration_that_kong_would_take() -> None:
    terms = [
        Terms(tenant="a_b-1", limit=Limit(rps=1, burst=1)),
        Terms(tenant="c", limit=Limit(rps=9, burst=9), networks=(ip_network("10.0.0.1/32"),)),
    ]
    document = gateway_document(terms, edge_url="https://edge.internal:8443")
    jsonschema.validate(document, SCHEMA)
    assert [one["name"] for one in document["services"]] == [
        "ledger",
        "ledger-a_b-1",
        "ledger-c",
        "ledger-health",
    ]


def test_anybody_may_read_the_contract() -> None:
    for tenant in ("", "shop", "acme"):
        ((_, route),) = matching("GET", "/openapi.json", tenant)
        assert route["name"].startswith("contract")
    assert not matching("POST", "/openapi.json", "shop")


@pytest.mark.parametrize(
    ("table", "name"), [(ENDPOINT_ROUTES, "webhook-endpoints"), (EXPORT_ROUTES, "exports")]
)
def test_endpoints_and_exports_come_through_whole_and_by_their_methods_alone(
    table: tuple[tuple[str, dict[str, str]], ...], name: str
) -> None:
    for path, names in table:
        asked = path.replace("{id}", ID)
        for method in names:
            for tenant in ("shop", "acme"):
                ((_, route),) = matching(method, asked, tenant)
                assert route["name"].startswith(name)
        assert not matching("PUT", asked, "shop")
        assert not matching("POST", f"{asked}/x/y", "shop")
