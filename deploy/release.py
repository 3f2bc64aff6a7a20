"""Builds what a release consists of: `make release`. Wheel, sdist and bill have the same bytes from the same tree.

    dist/sentinel_sidecar-VERSION-py3-none-any.whl     with the boards and the alert rules under share/sentinel
    dist/sentinel_sidecar-VERSION.tar.gz               from which the same wheel can be built
    dist/sentinel-VERSION.tgz                          the chart, where Helm is
    dist/sentinel-VERSION.cdx.json                     bill of materials of the locked dependencies (CycloneDX)
    dist/SHA256SUMS

Times in the archives are those of SOURCE_DATE_EPOCH, or of the last commit, or else a fixed one; never of the files.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).with_name("image")))
import sbom  # noqa: E402  # stands beside what the image's build runs, alone


def main(argv: list[str] | None = None) -> int:
    """Build into an empty folder, and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    given = parser.parse_args(argv)
    output: Path = given.output.resolve()
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or last_commit()
    environment = {**os.environ, **({"SOURCE_DATE_EPOCH": epoch} if epoch else {})}
    version = sbom.version_of(ROOT)
    # hatchling itself, in this environment: isolated builds would fetch a builder from an index.
    for target in ("sdist", "wheel"):
        command = [sys.executable, "-m", "hatchling", "build", "--target", target]
        subprocess.run(
            [*command, "--directory", str(output)], cwd=ROOT, env=environment, check=True
        )
    bill = output / f"sentinel-{version}.cdx.json"
    lock = str(ROOT / "requirements/runtime.txt")
    if sbom.main(["lock", lock, "--root", str(ROOT), "--output", str(bill)]):
        return 1
    pack_chart(output)
    names = sorted(path.name for path in output.iterdir())
    sums = [
        f"{hashlib.sha256((output / name).read_bytes()).hexdigest()}  {name}\n" for name in names
    ]
    (output / "SHA256SUMS").write_text("".join(sums))
    print("".join(sums), end="")
    return 0


def last_commit() -> str | None:
    """When the tree was committed, in Unix seconds; None where it is no check-out, as in an sdist."""
    if not (ROOT / ".git").exists():
        return None
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def pack_chart(output: Path) -> None:
    """The chart as a package. Helm keeps the times its files have: of another check-out its bytes are others."""
    beside = Path(sys.prefix) / "bin/helm"
    helm = str(beside) if beside.exists() else shutil.which("helm")
    if helm is None:
        print("helm is absent: the chart is not packed (make deploy-tools)")
        return
    command = [helm, "package", str(ROOT / "deploy/chart"), "--destination", str(output)]
    subprocess.run(command, check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())
