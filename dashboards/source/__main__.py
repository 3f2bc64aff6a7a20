"""`python -m dashboards.source [--check]`: write the boards, or say which differ from what the code makes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dashboards.source.boards import texts

_FOLDER = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Write the files; with `--check` write none, and exit code 1 when one differs, is missing, or is nobody's."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.source", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="where they are")
    args = parser.parse_args(argv)
    made = texts()
    there = {path.name: path for path in args.folder.glob("*.json")}
    stale = [name for name, text in made.items() if _read(there.get(name)) != text]
    nobodys = sorted(there.keys() - made.keys())
    if not args.check:
        for name in stale:
            (args.folder / name).write_text(made[name], encoding="utf-8")
        for name in nobodys:
            there[name].unlink()
    for name in stale:
        sys.stdout.write(f"{name} {'differs: run make dashboards' if args.check else 'written'}\n")
    for name in nobodys:
        sys.stdout.write(f"{name} {'has no source' if args.check else 'removed'}\n")
    return 1 if args.check and (stale or nobodys) else 0


def _read(path: Path | None) -> str | None:
    return None if path is None else path.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
