"""How soon faults are paged, how often, and how often for nothing: `make bench-pages`.

Every fault of the reference ledger, five times, under load, beside a sidecar that has learnt; from the start that a fault has on
record to Alertmanager's 200. On the same run Prometheus evaluates the rules that come with Sentinel, and static thresholds
as a team would write them (`benchmarks/pages/static_rules.yaml`). All are the real programs, on loopback: the ledger with its
servers, `sentinel run`, Debian's Prometheus and Alertmanager; a proxy in front of Alertmanager keeps the times.

The load has the shape of a week that goes by in a day; in quiet stretches there are bursts and batches of salaries. Of hard
faults (`sentinel-ledger fault list`) 95 of 100 are to be paged within 30 s, and all of all within two minutes; pages in quiet
stretches are false, and a tenth of the thresholds' are allowed. What is learnt from is simulated: `benchmarks/pages/ordinary.py`.

A whole run takes some eight hours. Each result is a line of FOLDER/results.jsonl at once; `--resume` leaves out what is there,
`--report` only tells what it holds. Exit code 0: every goal that can be said anything of is reached.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.machine import describe
from benchmarks.pages import running, scoring, telling
from benchmarks.pages.scene import scene
from sentinel.app.demo.children import ChildError

_DEFAULT_FOLDER = Path("build/pages")


async def bench(given: argparse.Namespace) -> None:
    """Run what was asked for and is not there yet."""
    known = await running.known_faults()
    faults = tuple(given.faults.split(",")) if given.faults else known
    strangers = [name for name in faults if name not in known]
    if strangers:
        message = f"no such fault: {', '.join(strangers)}; there are {', '.join(known)}"
        raise SystemExit(message)
    results = given.folder / "results.jsonl"
    if results.exists() and not given.resume:
        message = (
            f"{results} is there already: --resume goes on with it, another --folder begins anew"
        )
        raise SystemExit(message)
    plan = running.Plan(
        faults=faults,
        times=given.times,
        quiet_s=given.quiet,
        opening_s=given.opening,
        hold_s=given.hold,
        until_told=given.until_told,
        until_s=None if given.minutes is None else time.time() + 60 * given.minutes,
        results=results,
        resume=given.resume,
    )
    print(describe())
    print(f"{len(running.ahead(plan))} faults to be held")
    async with scene(
        rate=given.rate, gauge_severity=given.gauge_severity, keep=given.keep
    ) as made:
        await made.start(
            learn_windows=given.learn_windows, event_every_s=running.EVENTS_COUNT * given.quiet
        )
        await running.Running(made, plan).play()


def report(folder: Path) -> bool:
    """Tell what there is; whether every goal that can be said anything of is reached."""
    found = scoring.summary(running.read_lines(folder / "results.jsonl"))
    print(f"\n{telling.table(found)}\n\n{telling.totals(found)}")
    telling.write_json(found, folder / "summary.json", machine=describe())
    print(f"\n{folder / 'summary.json'} has all of it")
    return all(reached is not False for reached in found["goals"].values())


async def _until_signalled(given: argparse.Namespace) -> None:
    """Ctrl-C and SIGTERM cancel the run, which then stops what it started; once: stopping is not broken off."""
    running_it = asyncio.ensure_future(bench(given))
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def cancel() -> None:
        for number in numbers:
            loop.add_signal_handler(number, print, "still stopping")
        running_it.cancel()

    for number in numbers:
        loop.add_signal_handler(number, cancel)
    await running_it


def main() -> int:
    """Run it."""
    given = _parser().parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if not given.report:
        try:
            asyncio.run(_until_signalled(given))
        except asyncio.CancelledError:
            print("interrupted; --resume goes on")
            report(given.folder)
            return 130
        except ChildError as error:
            print(error)
            report(given.folder)
            return 1
    return 0 if report(given.folder) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", help="some of them, with commas between (default: all)")
    parser.add_argument("--times", type=int, default=5, help="how often each is held")
    parser.add_argument("--quiet", type=float, default=120, help="seconds between two faults")
    parser.add_argument("--opening", type=float, default=600, help="seconds before the first")
    parser.add_argument("--hold", type=float, default=120, help="seconds that a fault is held")
    parser.add_argument(
        "--until-told", action="store_true", help="lift it sooner, once both sides have paged"
    )
    parser.add_argument("--rate", type=float, default=30, help="requests a second on average")
    parser.add_argument(
        "--learn-windows", type=int, default=24, help="windows that levels are measured over"
    )
    parser.add_argument(
        "--gauge-severity",
        choices=("ticket", "page"),
        default="ticket",
        help="of incidents of gauges alone, as in the sidecar's configuration",
    )
    parser.add_argument("--minutes", type=float, help="begin no fault after so long")
    parser.add_argument("--folder", type=Path, default=_DEFAULT_FOLDER, help="of the results")
    parser.add_argument("--resume", action="store_true", help="leave out what is there")
    parser.add_argument(
        "--report", action="store_true", help="tell what is there, and run nothing"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder with all logs")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
