"""Goal: what the image's build makes runs in the final image: by another Python of the same minor version, isolated, read-only.

Method: assemble.py, which is the build's last step, is run over an environment whose packages are the ones the tests use; then
both programs are started from it as the image would. Not covered, for want of an engine: pip's step and the layers themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sentinel import __version__

ROOT = Path(__file__).parents[3]
MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"
MODULES = {"sentinel": "sentinel", "ledger": "sentinel.reference.ledger"}


def _final_interpreter() -> Path:
    """Debian's Python where it is of this minor version, as in the final image; else the one the tests run with."""
    debian = Path("/usr/bin") / MINOR
    return debian if debian.exists() else Path(sys.executable).resolve().with_name(MINOR)


@pytest.fixture(params=sorted(MODULES))
def image(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    program: str = request.param
    prefix = tmp_path / "opt/sentinel"
    base = Path(sys.base_prefix) / "bin" / MINOR
    subprocess.run([base, "-m", "venv", "--without-pip", prefix], check=True, timeout=60)
    packages = prefix / "lib" / MINOR / "site-packages"
    for path in (Path(sys.prefix) / "lib" / MINOR / "site-packages").iterdir():
        # Not the tree itself, which is installed in place for the tests.
        if "sentinel" not in path.name and path.suffix != ".pth":
            (packages / path.name).symlink_to(path)
    command = [sys.executable, str(ROOT / "deploy/image/assemble.py"), program]
    command += ["--sources", str(ROOT / "sentinel"), "--prefix", str(prefix)]
    command += ["--interpreter", str(_final_interpreter()), "--state", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return program, prefix


def _run(prefix: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As the image runs it: no variable of ours, an empty path, nothing of the working directory."""
    command = [str(prefix / "bin/python"), "-I", "-B", "-X", "utf8", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/nowhere"}, cwd="/"
    )  # fmt: skip


def test_the_program_runs_from_it(image: tuple[str, Path]) -> None:
    program, prefix = image
    done = _run(prefix, "-m", MODULES[program], "--help")
    assert done.returncode == 0, done.stderr
    assert "usage: sentinel" in done.stdout
    if program == "sentinel":
        assert _run(prefix, "-m", "sentinel", "--version").stdout.split() == [
            "sentinel",
            __version__,
        ]
        checked = _run(
            prefix, "-m", "sentinel", "check", "config", str(ROOT / "deploy/example.yaml")
        )
        assert checked.returncode == 0, checked.stderr


def test_each_image_holds_its_own_program_alone(image: tuple[str, Path]) -> None:
    program, prefix = image
    told = _run(prefix, "-c", "import sentinel, os, json; print(json.dumps([sentinel.__file__, os.listdir(sentinel.__path__[0])]))")  # fmt: skip
    where, files = json.loads(told.stdout)
    assert where.startswith(str(prefix))
    if program == "sentinel":
        assert "reference" not in files
        assert "cli" in files
    else:
        assert set(files) - {"__pycache__"} == {"__init__.py", "reference"}


def test_it_is_compiled_by_content_and_needs_no_shell(image: tuple[str, Path]) -> None:
    """A pyc that went by time would be made anew, which a read-only image cannot keep."""
    _, prefix = image
    compiled = list((prefix / "lib" / MINOR / "site-packages/sentinel").rglob("*.pyc"))
    assert compiled
    assert {path.read_bytes()[4:8] for path in compiled} == {b"\x01\x00\x00\x00"}
    assert not [
        path for path in (prefix / "bin").iterdir() if path.name.lower().startswith("activate")
    ]
    for path in (prefix / "bin").iterdir():
        if path.is_file() and not path.is_symlink():
            assert path.read_text().startswith(f"#!{prefix}/bin/python -I\n")


def test_an_image_of_another_minor_version_is_refused(tmp_path: Path) -> None:
    """Its compiled packages would not load; that is told in the build."""
    command = [
        sys.executable,
        str(ROOT / "deploy/image/assemble.py"),
        "sentinel",
        "--sources",
        str(tmp_path),
    ]
    command += [
        "--prefix",
        str(tmp_path),
        "--interpreter",
        "/usr/bin/python3.99",
        "--state",
        str(tmp_path / "s"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=dict(os.environ)
    )
    assert done.returncode == 1
    assert "python3.99" in done.stderr
    assert not (tmp_path / "s").exists()
