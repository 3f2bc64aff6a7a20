"""Goal: two commands set everything up, from locked dependencies, and the documents can be followed.

Method: the build's files and the documents are read and held against one another.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import sentinel
from tests.support.skips import require_binary

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
TARGETS = {
    *("install", "demo", "test", "test-full", "system-deps"),
    *("bench", "bench-ingest", "bench-tick", "bench-memory", "bench-server", "bench-store"),
    *("bench-detection", "bench-forecast", "bench-fit", "bench-cost", "bench-deps", "node-deps"),
    *("sdks", "sdk-deps"),
}
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.|crates\.io|proxy\.golang\.org|deb\.debian\.org"
    # Of images: those that are no name of Docker's own library have their registry's host in it.
    r"|docker\.(?:io|com)|\bgcr\.io|ghcr\.io|quay\.io|registry\.k8s\.io|mcr\.microsoft\.com|ecr\.aws"
    r"|\bpkg\.dev|azurecr\.io|registry\.gitlab\.com",
    re.IGNORECASE,
)
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|root|home|Users)/\w+|(?<![\w.])/tmp/\w")
IMAGE_OF_A_BUILD = re.compile(r"(?m)^ARG [A-Z]+_IMAGE=\S+@sha256:[0-9a-f]{64}$")
"""An image of a registry is not to be had without the registry's name: a base of the Dockerfile may have one, by digest."""


def _tracked() -> list[Path]:
    """Files that are, or are about to be, in the repository; the working tree's when there is no git."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("only a clone can tell which files are its own")
    listed = subprocess.run(  # a program of the system, arguments of this test
        [git, "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.splitlines()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.name for lock in LOCKS])
def test_every_locked_requirement_has_its_version_and_hashes(lock: Path) -> None:
    lines = re.sub(r"\\\n", " ", lock.read_text()).splitlines()
    requirements = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert len(requirements) > (
        0 if lock.name in ("bench.txt", "deploy-tools.txt", "sdks.txt") else 5
    )
    for requirement in requirements:
        assert re.match(r"[a-z0-9][a-z0-9._-]*==[^\s;]+", requirement), requirement
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", requirement), requirement


def test_every_package_for_node_has_its_version_and_hash_and_names_no_registry() -> None:
    lock = json.loads((ROOT / "tests/node/package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert len(packages) > 20
    assert [name for name, one in packages.items() if not one.get("integrity")] == []
    assert [name for name, one in packages.items() if "resolved" in one] == []
    wanted = json.loads((ROOT / "tests/node/package.json").read_text())["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.name for lock in LOCKS])
def test_a_lock_names_no_index(lock: Path) -> None:
    assert not re.search(r"://|--(?:extra-)?index|--find-links", lock.read_text())


def test_the_runtime_lock_is_part_of_the_whole_lock() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text()
        return set(re.findall(r"(?m)^([a-z0-9._-]+==[^\s;\\]+)", text))

    assert pins("runtime.txt") < pins("ledger.txt") <= pins("all.txt")


def test_the_make_targets_that_others_depend_on_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert set(re.findall(r"(?m)^([a-z-]+):", makefile)) >= TARGETS
    assert "--require-hashes" in makefile
    for target in ("demo", "test"):
        assert re.search(rf"(?m)^{target}:.*\binstall\b", makefile)


def test_ci_runs_what_people_run() -> None:
    script = ROOT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert "make system-deps test" in script.read_text()


def test_each_night_ci_runs_the_long_batteries() -> None:
    nightly = ROOT / ".ci/nightly"
    assert os.access(nightly, os.X_OK)
    assert nightly.read_text().splitlines()[-1] == "make system-deps test-full"
    assert re.search(r"^test-full:.*\n\tSENTINEL_TEST_FULL=1 ", (ROOT / "Makefile").read_text(), re.MULTILINE)  # fmt: skip
    assert "`.ci/nightly`" in (ROOT / "CONTRIBUTING.md").read_text()


def test_what_is_said_of_remote_write_holds_for_the_prometheus_of_the_tests() -> None:
    """A Prometheus that takes 2.0, and the documents say too little of what was tried."""
    done = subprocess.run([require_binary("prometheus"), "--version"], capture_output=True, text=True, timeout=30, check=True)  # fmt: skip
    found = re.search(r"version (\d+)\.(\d+)", done.stdout + done.stderr)
    assert found is not None
    is_older = (int(found[1]), int(found[2])) < (2, 54)
    for name in ("components/export.md", "limits.md"):
        text = (ROOT / "docs" / name).read_text()
        assert ("was taken by a receiver of our tests alone" in text) is is_older, name


def test_the_version_is_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "sentinel/__init__.py"
    assert importlib.metadata.version("sentinel-sidecar") == sentinel.__version__


def test_no_file_names_this_machine_or_a_registry() -> None:
    found = []
    for path in _tracked():
        if path == Path(__file__) or path.suffix in (".gz", ".zst", ".png"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path == ROOT / "deploy/Dockerfile":
            text = IMAGE_OF_A_BUILD.sub("", text)
        found += [
            f"{path.relative_to(ROOT)}: {match[0]}"
            for pattern in (REGISTRIES, MACHINE_PATHS)
            for match in pattern.finditer(text)
        ]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "image: quay.io/prometheus/prometheus:v3.5.0",
        "FROM gcr.io/distroless/python3-debian12:nonroot",
        "ARG RUNTIME_IMAGE=gcr.io/distroless/python3-debian12:nonroot",
        "docker pull ghcr.io/someone/tool@sha256:" + "a" * 64,
        "image: docker.io/library/nats:2.11",
        "see /tmp/scratch/notes.md",
        "cd /home/someone/sentinel",
    ],
)
def test_the_look_for_hosts_and_paths_finds_them(line: str) -> None:
    left = IMAGE_OF_A_BUILD.sub("", line)
    assert REGISTRIES.search(left) or MACHINE_PATHS.search(left)


def test_the_look_for_hosts_and_paths_leaves_the_rest() -> None:
    """A base by digest, an image of Docker's library, a pod's own folder, words that only look alike."""
    base = f"ARG RUNTIME_IMAGE=gcr.io/distroless/python3-debian12:nonroot@sha256:{'a' * 64}"
    for line in (base, "image: prom/prometheus:v3.5.0", "mountPath: /tmp", "/tmp:mode=1777", "https://registry.example/sentinel"):  # fmt: skip
        left = IMAGE_OF_A_BUILD.sub("", line)
        assert not REGISTRIES.search(left), line
        assert not MACHINE_PATHS.search(left), line


def test_no_code_was_left_for_later() -> None:
    marks = re.compile(r"\b(?:TODO|FIXME|XXX|raise NotImplementedError)\b")
    found = [
        str(path.relative_to(ROOT))
        for path in _tracked()
        if path.suffix == ".py" and path != Path(__file__) and marks.search(path.read_text())
    ]
    assert found == []
