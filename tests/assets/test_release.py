"""Goal: a release is the same whoever builds it, holds what it needs and nothing else, and works where nothing else is installed.

Method: the tree is copied twice, with other times and rights, and built in both; the wheel is installed into an environment that
has the locked dependencies and nothing of the tests, and its programs are run there. Nothing is fetched.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from sentinel import __version__
from tests.support.clean_install import (
    EPOCH,
    SDIST,
    WHEEL,
    build,
    built_release,
    copy_tree,
    full_install,
    listed,
    run_program,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built_release(tmp_path_factory)


def test_two_builds_of_one_tree_are_the_same_bytes(built: Path, tmp_path: Path) -> None:
    """With other times and rights of the files, in another folder."""
    tree = copy_tree(tmp_path / "second", seconds=1_650_000_000, rights=0o600)
    build(tree, "sdist", "wheel")
    for name in (WHEEL, SDIST):
        assert (tree / "made" / name).read_bytes() == (built / name).read_bytes(), name


def test_the_wheel_can_be_built_from_the_sdist(built: Path, tmp_path: Path) -> None:
    with tarfile.open(built / SDIST) as archive:
        archive.extractall(tmp_path, filter="data")
    [tree] = tmp_path.iterdir()
    build(tree, "wheel")
    assert (tree / "made" / WHEEL).read_bytes() == (built / WHEEL).read_bytes()


def test_the_wheel_holds_all_of_the_package_and_nothing_else(built: Path) -> None:
    held = set(zipfile.ZipFile(built / WHEEL).namelist())
    package = {name for name in listed() if name.startswith("sentinel/")}
    assert {name for name in held if name.startswith("sentinel/")} == package
    shared = f"sentinel_sidecar-{__version__}.data/data/share/sentinel/"
    for folder, pattern in (("alert_rules", "*.yaml"), ("dashboards", "*.json")):
        sources = {f"{shared}{folder}/{path.name}" for path in (ROOT / folder).glob(pattern)}
        assert sources <= held
    assert {f"{shared}example.yaml", f"{shared}systemd/sentinel.service"} <= held
    assert not [name for name in held if name.startswith(shared) and name.endswith(".py")]
    beside = {name for name in held if not name.startswith(("sentinel/", shared))}
    assert all(name.startswith(f"sentinel_sidecar-{__version__}.dist-info/") for name in beside)


def test_what_a_release_consists_of_is_built_with_its_sums(built: Path, tmp_path: Path) -> None:
    """As `make release` does it, in a tree without a past: the same files from the same time."""
    tree = copy_tree(tmp_path / "tree", seconds=1_640_000_000, rights=0o644)
    command = [sys.executable, str(tree / "deploy/release.py"), "--output", str(tmp_path / "dist")]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    subprocess.run(command, capture_output=True, timeout=300, check=True, env=environment)
    made = {path.name: path for path in (tmp_path / "dist").iterdir()}
    assert {WHEEL, SDIST, f"sentinel-{__version__}.cdx.json", "SHA256SUMS"} <= set(made)
    lines = [line.split("  ") for line in made.pop("SHA256SUMS").read_text().splitlines()]
    sums = {name: digest for digest, name in lines}
    assert sums == {name: hashlib.sha256(p.read_bytes()).hexdigest() for name, p in made.items()}
    for name in (WHEEL, SDIST):
        assert made[name].read_bytes() == (built / name).read_bytes()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel, and of all packages here only those that the image gets as well."""
    return full_install(tmp_path_factory)


def test_it_works_where_nothing_else_is_installed(clean: Path, tmp_path: Path) -> None:
    told = run_program(clean, "sentinel", "--version", home=tmp_path)
    assert told.stdout == f"sentinel {__version__}\n", told.stderr
    example = clean / "share/sentinel/example.yaml"
    checked = run_program(clean, "sentinel", "check", "config", str(example), home=tmp_path)
    assert checked.returncode == 0, checked.stderr
    # Every command's file, so that none needs what only tests have.
    completion = run_program(clean, "sentinel", "completion", "bash", home=tmp_path)
    assert completion.returncode == 0, completion.stderr
    assert "complete" in completion.stdout
    ledger = run_program(clean, "sentinel-ledger", "history", "--weeks", "0.1", home=tmp_path)
    assert ledger.returncode == 0, ledger.stderr
    assert ledger.stdout.startswith("timestamp,service,stage,route,signal,value,weight\n")


def test_the_boards_and_rules_are_where_the_documents_say(clean: Path) -> None:
    shared = clean / "share/sentinel"
    for path in (ROOT / "alert_rules").glob("*.yaml"):
        assert (shared / "alert_rules" / path.name).read_text() == path.read_text()
    for path in (ROOT / "dashboards").glob("*.json"):
        assert (shared / "dashboards" / path.name).read_text() == path.read_text()
    assert "share/sentinel" in (ROOT / "docs/components/release.md").read_text()


def test_the_bill_of_materials_is_valid_and_names_every_locked_package(tmp_path: Path) -> None:
    lock = ROOT / "requirements/runtime.txt"
    bills = []
    for name in ("first", "second"):
        command = [sys.executable, str(ROOT / "deploy/image/sbom.py"), "lock", str(lock)]
        command += ["--root", str(ROOT), "--output", str(tmp_path / name)]
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        bills.append((tmp_path / name).read_text())
    assert bills[0] == bills[1]
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bills[0]) is None
    bill = json.loads(bills[0])
    assert bill["metadata"]["component"]["version"] == __version__
    listed = {(one["name"], one["version"]) for one in bill["components"]}
    lines = re.sub(r"\\\n\s*", " ", lock.read_text()).splitlines()
    locked = [line for line in lines if line.strip() and not line.strip().startswith("#")]
    requirements = [Requirement(line.partition(" --hash")[0]) for line in locked]
    assert listed == {(one.name, str(one.specifier).removeprefix("==")) for one in requirements}
    for component in bill["components"]:
        hashes = [h for ref in component["externalReferences"] for h in ref.get("hashes", [])]
        assert hashes, component["name"]


def test_the_version_is_written_in_one_place() -> None:
    """What else names it is held to it here: a release changes one line, and then what this says."""
    chart = yaml.safe_load((ROOT / "deploy/chart/Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)
    pyproject = (ROOT / "pyproject.toml").read_text()
    assert 'dynamic = ["version"]' in pyproject
    assert 'path = "sentinel/__init__.py"' in pyproject
    places = [
        *(ROOT / "deploy").rglob("*.yaml"),
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
    named = {
        (str(path.relative_to(ROOT)), version)
        for path in places
        if path.is_file()
        for version in re.findall(
            r"(?:(?<![\w-])sentinel(?:-ledger)?:|sentinel_sidecar-)(\d[\w.]*\w)", path.read_text()
        )
    }
    assert named
    assert {version for _, version in named} == {__version__}, named
    tags = [
        image["newTag"]
        for path in (ROOT / "deploy/kustomize/overlays").rglob("kustomization.yaml")
        for image in yaml.safe_load(path.read_text()).get("images", [])
    ]
    assert tags
    assert set(map(str, tags)) == {__version__}
