"""Puts one of the two programs into an environment of locked dependencies, ready for an image without a shell.

Runs in the image's build with the standard library alone; a test runs it as well. The environment is made with one Python and
run by another of the same minor version, the one of the final image: its path is written in as the last step.
"""

from __future__ import annotations

import argparse
import compileall
import py_compile
import shutil
import sys
from pathlib import Path

LAUNCHER = """#!{python} -I
import sys
from {module} import {function}
sys.exit({function}())
"""
PROGRAMS = {
    # The sidecar's image has no ledger in it, and the ledger's nothing of the sidecar.
    "sentinel": ("sentinel", "sentinel.cli.main", "main"),
    "ledger": ("sentinel-ledger", "sentinel.reference.ledger.__main__", "main"),
}


def main(argv: list[str] | None = None) -> int:
    """Copy, compile, write the command, and point the environment at the interpreter it will run with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", choices=sorted(PROGRAMS))
    parser.add_argument("--sources", type=Path, required=True, help="the folder sentinel/")
    parser.add_argument("--prefix", type=Path, required=True, help="the virtual environment")
    parser.add_argument(
        "--interpreter", type=Path, required=True, help="Python of the final image"
    )
    parser.add_argument(
        "--state", type=Path, required=True, help="made, empty, for the image's state"
    )
    given = parser.parse_args(argv)
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if given.interpreter.name != minor:
        print(f"built with {minor}, to be run by {given.interpreter.name}", file=sys.stderr)
        return 1
    packages = given.prefix / "lib" / minor / "site-packages"
    copy_program(given.program, given.sources, packages / "sentinel")
    # By content and unchecked: the files are read-only, and a build at another time gives the same bytes.
    compiled = compileall.compile_dir(
        packages, quiet=1, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    if not compiled:
        return 1
    command, module, function = PROGRAMS[given.program]
    launcher = given.prefix / "bin" / command
    launcher.write_text(
        LAUNCHER.format(python=given.prefix / "bin/python", module=module, function=function)
    )
    launcher.chmod(0o755)
    given.state.mkdir(mode=0o700)
    run_by(given.prefix, given.interpreter)
    return 0


def copy_program(program: str, sources: Path, target: Path) -> None:
    """The sidecar without the ledger, or the ledger without the sidecar."""
    if program == "sentinel":
        shutil.copytree(sources, target, ignore=shutil.ignore_patterns("reference", "__pycache__"))
        return
    target.mkdir()
    shutil.copy2(sources / "__init__.py", target)
    shutil.copytree(
        sources / "reference", target / "reference", ignore=shutil.ignore_patterns("__pycache__")
    )


def run_by(prefix: Path, interpreter: Path) -> None:
    """Rewrite the environment's idea of where its Python is: a link, and `home` in pyvenv.cfg."""
    (prefix / "pyvenv.cfg").write_text(
        f"home = {interpreter.parent}\ninclude-system-site-packages = false\n"
    )
    for path in (prefix / "bin").iterdir():
        if path.name.startswith("python"):
            path.unlink()
        elif path.name.lower().startswith("activate"):
            # For shells, of which the image has none.
            path.unlink()
    (prefix / "bin/python").symlink_to(interpreter)


if __name__ == "__main__":
    sys.exit(main())
