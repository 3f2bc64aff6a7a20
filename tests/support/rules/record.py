"""Records what Prometheus sees while something breaks. `make record-rules`, or `python -m tests.support.rules.record --folder DIR [SCENE...]`.

The ledger, its load and its faults are the real programs; sidecars watch them, ask their NATS and PostgreSQL, and hand the ledger's
own metrics on; Debian's Prometheus scrapes all of it. Each scene is a process with servers of its own, all of them at once: 30
minutes, 50 for `verdicts`. One that fails is told of at the end, and what it had recorded till then is kept.

    DIR/SCENE/raw*.json   every series that was scraped, and when which fault began and ended

`python -m tests.support.rules.recordings DIR/*/raw*.json` makes the committed recordings of it.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from tests.support.rules import collector_scenes, ledger_scenes, sentinel_scenes, verdict_scene
from tests.support.rules.stage import say

SCENES: Final[dict[str, Callable[[Path], Awaitable[None]]]] = {
    "verdicts": verdict_scene.play_verdicts,
    **{name: functools.partial(ledger_scenes.play, name) for name in ledger_scenes.SCENES},
    "sentinel": sentinel_scenes.play_sentinel,
    "collectors": collector_scenes.play_collectors,
    "cluster": sentinel_scenes.play_cluster,
    "few": sentinel_scenes.play_few,
}


def main() -> int:
    """Record once; everything started is stopped again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("scenes", nargs="*", choices=[*SCENES, []], metavar="SCENE")
    options = parser.parse_args()
    # Told to end, it ends as on Ctrl-C: what was started is stopped.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    names = options.scenes or list(SCENES)
    if len(names) > 1:
        return asyncio.run(_all(names, options.folder.resolve()))
    asyncio.run(_one(names[0], options.folder.resolve() / names[0]))
    return 0


async def _one(name: str, folder: Path) -> None:
    await SCENES[name](folder)


async def _all(names: list[str], folder: Path) -> int:
    children = {
        name: await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.rules.record"),
            *("--folder", str(folder), name),
        )
        for name in names
    }
    try:
        codes = {name: await child.wait() for name, child in children.items()}
    finally:
        for child in children.values():
            if child.returncode is None:
                child.terminate()
                await child.wait()
    for name, code in codes.items():
        if code != 0:
            say(f"{name} failed with {code}")
    return 1 if any(codes.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
