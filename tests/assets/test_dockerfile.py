"""Goal: the image is small in what it trusts and in what it may do. Method: the Dockerfile, read as instructions."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy/Dockerfile").read_text()


def _instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", TEXT))
    pairs = [line.split(" ", 1) for line in joined.splitlines() if line.strip()]
    return [(name.upper(), rest.strip()) for name, rest in pairs]


INSTRUCTIONS = _instructions()
FINAL = INSTRUCTIONS[
    max(index for index, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM") :
]


def _all(name: str, within: list[tuple[str, str]] = INSTRUCTIONS) -> list[str]:
    return [rest for instruction, rest in within if instruction == name]


def test_the_base_is_one_argument_that_can_be_pinned_by_digest() -> None:
    [argument] = _all("ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+-slim-[a-z]+", argument)
    assert _all("FROM") == ["${PYTHON_IMAGE} AS build", "${PYTHON_IMAGE}"]
    assert "@sha256:" in TEXT.split("ARG", 1)[0]


def test_dependencies_come_hashed_and_as_wheels() -> None:
    [install] = [json.loads(run) for run in _all("RUN") if '"install"' in run]
    assert "--require-hashes" in install
    assert install[install.index("--only-binary") + 1] == ":all:"
    assert install[install.index("-r") + 1] == "runtime.txt"


def test_every_command_is_run_without_a_shell() -> None:
    for command in [*_all("RUN"), *_all("ENTRYPOINT"), *_all("CMD")]:
        assert isinstance(json.loads(command), list)
    assert _all("RUN", FINAL) == []


def test_it_runs_as_a_numbered_user_isolated_from_its_surroundings() -> None:
    assert _all("USER", FINAL) == ["65532:65532"]
    [entry] = [json.loads(entry) for entry in _all("ENTRYPOINT", FINAL)]
    assert entry[0] == "/opt/sentinel/bin/python"
    assert "-I" in entry
    assert entry[-2:] == ["-m", "sentinel"]
    assert json.loads(_all("CMD", FINAL)[0]) == ["run"]
    order = [name for name, _ in FINAL]
    assert order.index("USER") > max(i for i, name in enumerate(order) if name == "COPY")


def test_blas_gets_one_thread() -> None:
    assert "OPENBLAS_NUM_THREADS=1" in _all("ENV", FINAL)[0].split()


@pytest.mark.parametrize(
    "word", ["password", "secret", "token", "api_key", "index-url", "http://"]
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
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert "sentinel/reference" in lines
