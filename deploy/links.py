r"""Puts addresses into the links of what Kustomize makes: of runbooks, of Grafana, and of the scorer's own pages.

    kubectl kustomize deploy/kustomize/overlays/monitored \
      | python deploy/links.py --runbooks-url https://wiki.example/runbooks --grafana-url https://grafana.example --sentinel-url https://sentinel.example \
      | kubectl apply -f -

The chart's `monitoring.runbooksUrl`, `grafanaUrl` and `sentinelUrl` do the same; a test holds both together. A kustomization itself can
neither change a part of a text nor every rule of a list. Needs PyYAML, which Sentinel needs too.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any
from urllib.parse import urlsplit

import yaml

RUNBOOKS = "docs/runbooks/"
BOARDS = "d/"
EXAMPLE_RUNBOOKS = "https://runbooks.example"
EXAMPLE_SENTINEL = "http://127.0.0.1:9640"
SCORER = "sentinel-scorer"


def linked(
    documents: list[dict[str, Any]], *, runbooks: str = "", grafana: str = "", sentinel: str = ""
) -> list[dict[str, Any]]:
    """The objects with their links put right, in place; an address that is empty leaves its links as they are."""
    for document in documents:
        if document["kind"] == "PrometheusRule":
            for group in document["spec"]["groups"]:
                for rule in group["rules"]:
                    _link_rule(rule.get("annotations", {}), runbooks=runbooks, grafana=grafana)
        elif document["kind"] == "ConfigMap":
            data = document.get("data", {})
            for name, text in data.items():
                if name.endswith(".json"):
                    data[name] = _link_board(text, runbooks=runbooks, sentinel=sentinel)
            if document["metadata"]["name"] == SCORER and (runbooks or sentinel):
                # A second file in the scorer's folder: Sentinel reads all of them.
                data["links.yaml"] = _settings(runbooks=runbooks, sentinel=sentinel)
    return documents


def _link_rule(annotations: dict[str, str], *, runbooks: str, grafana: str) -> None:
    for key, prefix, address in (
        ("runbook_url", RUNBOOKS, runbooks),
        ("dashboard_url", BOARDS, f"{grafana}/{BOARDS.rstrip('/')}" if grafana else ""),
    ):
        if address and annotations.get(key, "").startswith(prefix):
            annotations[key] = f"{address}/{annotations[key].removeprefix(prefix)}"


def _link_board(text: str, *, runbooks: str, sentinel: str) -> str:
    for example, address in ((EXAMPLE_RUNBOOKS, runbooks), (EXAMPLE_SENTINEL, sentinel)):
        text = text.replace(example, address or example)
    return text


def _settings(*, runbooks: str, sentinel: str) -> str:
    said: dict[str, dict[str, str]] = {}
    if sentinel:
        said["web"] = {"external_url": sentinel}
    if runbooks:
        said["incidents"] = {"runbooks_url": runbooks}
    return yaml.safe_dump(said)


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or set(text) & set(' "\\\n'):
        msg = "must be http(s)://HOST, without spaces, quotation marks and backslashes"
        raise argparse.ArgumentTypeError(msg)
    return text.rstrip("/")


def main() -> int:
    """Objects from standard input to standard output, as one list that kubectl takes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--runbooks-url", type=_address, default="", help="the folder that holds NAME.md"
    )
    parser.add_argument("--grafana-url", type=_address, default="", help="your Grafana")
    parser.add_argument(
        "--sentinel-url",
        type=_address,
        default="",
        help="the scorer's pages, as people reach them",
    )
    args = parser.parse_args()
    if not (args.runbooks_url or args.grafana_url or args.sentinel_url):
        parser.error("give at least one address")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = [one for one in yaml.load_all(sys.stdin, Loader=loader) if one]
    made = linked(
        documents, runbooks=args.runbooks_url, grafana=args.grafana_url, sentinel=args.sentinel_url
    )
    json.dump({"apiVersion": "v1", "kind": "List", "items": made}, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
