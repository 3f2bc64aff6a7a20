"""Writes the bill of materials (CycloneDX) of a release or of an image, with the CycloneDX project's own tool.

    sbom.py lock requirements/runtime.txt --root . --output sbom.cdx.json
    sbom.py environment /opt/sentinel/bin/python --root . --output sbom.cdx.json

`lock` lists what the lock file pins, with the hashes it pins it by; `environment` what is installed. The tool cannot read a
version that pyproject.toml takes from a file, so the version is put in here. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any


def main(argv: list[str] | None = None) -> int:
    """Ask the tool, name the version, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["lock", "environment"])
    parser.add_argument("source", help="a lock file, or the Python of an environment")
    parser.add_argument("--root", type=Path, required=True, help="where pyproject.toml is")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args(argv)
    # It warns that the package has no dependencies of its own, which a lock file does not tell.
    command = [sys.executable, "-W", "ignore::UserWarning", "-m", "cyclonedx_py"]
    command += ["requirements" if given.kind == "lock" else "environment", given.source]
    command += ["--pyproject", str(given.root / "pyproject.toml"), "--output-reproducible"]
    command += ["--spec-version", "1.6", "--output-format", "JSON", "--output-file", "-"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        return done.returncode
    bill = named(json.loads(done.stdout), version_of(given.root))
    given.output.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n")
    print(f"{given.output}: {len(bill['components'])} packages")
    return 0


def version_of(root: Path) -> str:
    """The one place where the version is written."""
    text = (root / "sentinel/__init__.py").read_text()
    found = re.search(r'(?m)^__version__ = "([^"]+)"$', text)
    if found is None:
        msg = "sentinel/__init__.py names no version"
        raise ValueError(msg)
    return found[1]


def named(bill: dict[str, Any], version: str) -> dict[str, Any]:
    """The bill with the version of what it is of."""
    component = bill["metadata"]["component"]
    component["version"] = version
    component["purl"] = f"pkg:pypi/{component['name']}@{version}"
    return bill


if __name__ == "__main__":
    sys.exit(main())
