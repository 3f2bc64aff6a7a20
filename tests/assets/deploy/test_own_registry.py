"""Goal: who has a registry gets pods that are pulled from it, all of them, by typing what the documents say, in its order.

Method: the commands of the document that need no cluster and no container engine are typed in a copy of the tree, and what Kustomize makes of the
overlay is looked at; the order of the others is read.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from sentinel import __version__
from tests.support.cluster_manifests import ROOT, by_identity, read_all, tool

DOCUMENT = (ROOT / "docs/components/deploy.md").read_text()
SECTION = DOCUMENT.partition("## From a registry of your own, in order")[2].partition("\n## ")[0]
[BLOCK] = re.findall(r"(?ms)^```sh\n(.*?)^```$", SECTION)
ELSEWHERE = re.compile(r"(?:docker|make|kubectl (?!kustomize)) ?")


def images_of(node: object) -> list[str]:
    """Every image that stands anywhere in it."""
    if isinstance(node, dict):
        own = [node["image"]] if isinstance(node.get("image"), str) else []
        return own + [found for value in node.values() for found in images_of(value)]
    if isinstance(node, list):
        return [found for value in node for found in images_of(value)]
    return []


def test_every_image_is_of_the_registry(tmp_path: Path) -> None:
    for folder in ("deploy/kustomize", "deploy/kong"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    typed = "\n".join(line for line in BLOCK.splitlines() if not ELSEWHERE.match(line))
    assert "kubectl kustomize" in typed
    typed = typed.replace("kubectl ", f"{tool('kubectl')} ")
    done = subprocess.run(
        ["sh", "-e", "-c", typed], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    documents = by_identity(read_all(done.stdout), namespace="?")
    profiles = documents["ConfigMap sentinel/sentinel-admission"]["data"]["admission.yaml"]
    images = images_of(list(documents.values())) + images_of(profiles)
    assert len(images) >= 6
    assert {image.partition(":")[0] for image in images} == {"registry.example/sentinel"}
    # What the Secrets are made of is there too.
    for name in ("tls.crt", "tls.key", "read", "ingest"):
        assert (tmp_path / name).stat().st_size > 20


def test_the_order_is_one_in_which_it_works() -> None:
    """What pods wait for is there before them, and an image before what names it."""
    order = (
        "docker login",
        "make image IMAGES=registry.example/",
        "docker push registry.example/sentinel:",
        "overlays/mine/kustomization.yaml",
        "overlays/cluster/namespace.yaml",
        "create secret generic sentinel-scorer-tls",
        "create secret generic sentinel-scorer-tokens",
        "kubectl apply -k deploy/kustomize/overlays/mine",
        "rollout status statefulset/sentinel-scorer",
    )
    places = [BLOCK.index(one) for one in order]
    assert places == sorted(places)
    assert set(re.findall(r"\d+\.\d+\.\d+", BLOCK.replace("127.0.0.1", ""))) == {__version__}
