"""Writes what is made of other files and tables, for the cluster, for Kong and for integrators: `make deploy`, after one has changed.

`docs/openapi.json` is the ledger's contract as its edge serves it, `deploy/kong/ledger.yml` the same edge's policies,
`deploy/postgres/hand-over` how PostgreSQL hands its log over to the archive, as `sentinel-ledger up` has it.

A kustomization may not read files above its own folder, so the rules are written as resources beside it, each file's text
as it stands under `spec`; the boards are taken where they are, by a kustomization in their own folder. The chart needs
neither: its links lead to the sources. A test fails when what is here is stale.
"""

from __future__ import annotations

import sys
from ipaddress import ip_network
from pathlib import Path

import yaml

from sentinel.reference.ledger.domain.limits import Limit
from sentinel.reference.ledger.edge.contract import rendered
from sentinel.reference.ledger.edge.gateway import Terms, gateway_document
from sentinel.reference.ledger.operate.servers.spool import hand_over_script

ROOT = Path(__file__).resolve().parents[1]
RULES = ROOT / "deploy/kustomize/base/monitoring/rules.yaml"
BOARDS = ROOT / "dashboards/kustomization.yaml"
INJECTOR = ROOT / "deploy/kustomize/base/injector/admission.yaml"
GATEWAY = ROOT / "deploy/kong/ledger.yml"
CONTRACT = ROOT / "docs/openapi.json"
HAND_OVER = ROOT / "deploy/postgres/hand-over"
CERTIFIED = ROOT / "deploy/kustomize/components/cert-manager/admission.yaml"

_RULE = """apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: sentinel-{subject}
  labels:
    app.kubernetes.io/name: sentinel
    app.kubernetes.io/instance: sentinel
    release: kube-prometheus-stack
spec:
{text}"""

_BOARDS = """# Written by `make deploy`: every board as a ConfigMap, found by Grafana's sidecar by its label.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
generatorOptions:
  disableNameSuffixHash: true
  labels:
    app.kubernetes.io/name: sentinel
    app.kubernetes.io/instance: sentinel
    grafana_dashboard: "1"
  annotations:
    grafana_folder: Sentinel
configMapGenerator:
"""

_ADMISSION = """apiVersion: v1
kind: ConfigMap
metadata:
  name: sentinel-admission
data:
  admission.yaml: |
{text}"""

_GATEWAY = """\
# Written by `make deploy` from the ledger's tables: Kong Gateway 3.x, DB-less, in front of the ledger's edge in the same pod.
# `acme` stands for an enterprise with a contract and networks of its own (RFC 5737, RFC 3849); `sentinel-ledger gateway` writes
# this of your tenants. Spans need KONG_TRACING_INSTRUMENTATIONS=all and KONG_TRACING_SAMPLING_RATE=1; metrics are read at the
# status API, 127.0.0.1:8007/metrics. Check with `kong config parse ledger.yml`.
"""

_CERTIFIED = """# Made by cert-manager, and read again when it is renewed.
tls:
  cert_file: /etc/sentinel-tls/tls.crt
  key_file: /etc/sentinel-tls/tls.key
"""


def generated() -> dict[Path, str]:
    """Path and text of every file that is written."""
    return {
        RULES: rules(),
        BOARDS: boards(),
        CERTIFIED: certified(),
        GATEWAY: gateway(),
        CONTRACT: rendered().decode(),
        HAND_OVER: hand_over_script(),
    }


def rules() -> str:
    """One PrometheusRule a file of `alert_rules/`, in name order."""
    resources = [
        _RULE.format(subject=path.stem, text=_indented(path.read_text()))
        for path in sorted((ROOT / "alert_rules").glob("*.yaml"))
    ]
    return "# Written by `make deploy` from alert_rules/.\n" + "---\n".join(resources)


def boards() -> str:
    """A kustomization that makes a ConfigMap of each board."""
    entries = [
        f"  - name: sentinel-board-{path.stem.removeprefix('sentinel-')}\n    files:\n      - {path.name}\n"
        for path in sorted((ROOT / "dashboards").glob("*.json"))
    ]
    return _BOARDS + "".join(entries)


def certified() -> str:
    """The injector's configuration with a certificate that others make, in place of its own authority."""
    shared, found, _ = INJECTOR.read_text().partition("# Its own authority:")
    if not found:
        msg = f"{INJECTOR} has no section of its own authority any more"
        raise ValueError(msg)
    text = f"{shared}{_CERTIFIED}"
    return "# Written by `make deploy` from base/injector/admission.yaml.\n" + _ADMISSION.format(
        text=_indented(_indented(text))
    )


def gateway() -> str:
    """Kong's configuration in front of the ledger, of the tables by which the edge goes."""
    acme = Terms(
        tenant="acme",
        limit=Limit(rps=1500, burst=3000),
        networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")),
    )
    document = gateway_document([acme], edge_url="http://127.0.0.1:8080")
    return _GATEWAY + yaml.safe_dump(document, sort_keys=False, width=120)


def _indented(text: str) -> str:
    return "".join(
        f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True)
    )


def main() -> int:
    """Write the files, or with --check say which are stale."""
    stale = [
        path for path, text in generated().items() if not path.exists() or path.read_text() != text
    ]
    for path in stale:
        print(f"{'stale' if '--check' in sys.argv else 'written'}: {path.relative_to(ROOT)}")
        if "--check" not in sys.argv:
            path.write_text(generated()[path])
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
