"""The run itself: quiet, a fault, quiet, the next; each result is a line of a file, so that a run can be gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.pages import ordinary, scoring
from benchmarks.pages.scene import Began, Scene
from benchmarks.pages.told import Side, Told
from sentinel.app.demo.children import ChildError
from sentinel.reference.ledger.operate.faults.weights import weight_of

# What comes after a fault belongs to it while somebody is still told of it; after so long, it is no longer its own.
_SETTLE_MAX_S: Final = 600.0
_SETTLED_S: Final = 20.0
_HELD_MIN_S: Final = 60.0
_MARGIN_S: Final = 60.0
_EVENTS: Final = ("plain", "burst", "plain", "salaries")
# In so many quiet stretches there is one burst, and one batch.
EVENTS_COUNT: Final = len(_EVENTS)
# It leaves transfers behind that nobody has, which reconciliation tells of from then on.
_LAST: Final = "loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run.

    Attributes:
        faults: by name, each `times` times, in another order each time.
        quiet_s: between two faults, and before the first one, `opening_s`.
        hold_s: how long a fault is held.
        until_told: whether it is lifted sooner, once the sidecar and the thresholds have both paged and a minute has passed.
        until_s: begin no fault after this (Unix); None for no end.
        results: the file of lines, which is added to.
        resume: whether what is in it is left out.
    """

    faults: tuple[str, ...]
    times: int
    quiet_s: float
    opening_s: float
    hold_s: float
    until_told: bool
    until_s: float | None
    results: Path
    resume: bool
    seed: int = 1


def ahead(plan: Plan) -> list[tuple[int, str]]:
    """What is left to be held, as (round, fault), in its order."""
    done = {(line["round"], line["fault"]) for line in read_lines(plan.results) if "fault" in line}
    found: list[tuple[int, str]] = []
    for number in range(plan.times):
        names = sorted(plan.faults)
        random.Random(f"{plan.seed}-{number}").shuffle(names)
        names.sort(key=lambda name: name == _LAST)
        found += [(number, name) for name in names]
    return [one for one in found if not (plan.resume and one in done)]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a run; a last one that is not whole is passed over."""
    if not path.exists():
        return []
    found: list[dict[str, Any]] = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            continue
    return found


async def known_faults() -> tuple[str, ...]:
    """Every fault that `sentinel-ledger fault list` knows and that the scene's ledger can have."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sentinel.reference.ledger", "fault", "list", "-o", "json"),
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await process.communicate()
    return tuple(one["fault"] for one in json.loads(told) if not one["needs"])


class Running:
    """Plays a plan on a scene."""

    def __init__(self, scene: Scene, plan: Plan) -> None:
        self._scene = scene
        self._plan = plan
        # What fires for good, because what was broken cannot be mended: nobody waits for its end.
        self._stuck: set[tuple[Side, Any]] = set()

    async def play(self) -> None:
        """Hold every fault that is left.

        Raises:
            ChildError: a part ended that has to run.
        """
        self._keep("run", plan={**asdict(self._plan), "results": str(self._plan.results)})
        await self._settle()
        await self._quiet(self._plan.opening_s, ("burst", "salaries"))
        for place, (number, name) in enumerate(ahead(self._plan)):
            if self._plan.until_s is not None and time.time() > self._plan.until_s:
                _say("the time is over; --resume goes on")
                return
            await self._fault(number, name, place)
            await self._quiet(self._plan.quiet_s, (_EVENTS[place % len(_EVENTS)],))

    async def _fault(self, number: int, name: str, place: int) -> None:
        before = self._firing_now()
        try:
            async with self._scene.fault(
                name, seconds=self._plan.hold_s + _MARGIN_S, number=place
            ) as began:
                began_s = began.start_s
                _say(f"{name} begins ({number + 1} of {self._plan.times})")
                while time.time() < began_s + self._plan.hold_s:
                    await self._scene.wait(1.0)
                    passed_s = time.time() - began_s
                    if self._plan.until_told and passed_s > _HELD_MIN_S and self._both_told(began):
                        break
        except ChildError as error:
            self._scene.check()
            _say(f"{name} could not be held: {error}")
            self._keep("failed", round=number, fault=name, why=str(error))
            await self._settle()
            return
        ended_s = time.time()
        await self._settle()
        line = self._keep(
            "fault",
            round=number,
            fault=name,
            weight=weight_of(name).value,
            began_s=round(began_s, 3),
            setup_s=round(began.holding_s - began_s, 3),
            held_s=round(ended_s - began_s, 1),
            settled_s=round(time.time() - ended_s, 1),
            fired_before=sorted({f"{one.side.value} {one.name} {one.of}" for one in before}),
            expected=list(began.expected),
            sides=self._of(began_s, began.expected),
        )
        _say(f"  {_short(line)}")

    async def _quiet(self, seconds: float, events: tuple[str, ...]) -> None:
        """Let nothing be wrong, with what is ordinary; what is told of is told for nothing."""
        began_s = time.time()
        for event in events:
            share_s = seconds / len(events)
            ends_s = time.time() + share_s
            await self._scene.wait(share_s / 5)
            if event == "burst":
                await self._scene.burst()
            elif event == "salaries":
                await ordinary.pay_salaries(self._scene.ledger["edge_url"])
            await self._scene.wait(max(0.0, ends_s - time.time()))
        line = self._keep(
            "quiet",
            seconds=round(time.time() - began_s, 1),
            events=list(events),
            felt=await self._scene.felt(time.time() - began_s),
            sides=self._of(began_s),
        )
        if any(side["pages"] or side["tickets"] for side in line["sides"].values()):
            _say(f"  for nothing: {_short(line)}")

    async def _settle(self) -> None:
        """Wait until neither side pages for a while; what goes on for minutes is not waited for again."""
        ends = time.monotonic() + _SETTLE_MAX_S
        calm_since: float | None = None
        while time.monotonic() < ends:
            await self._scene.wait(1.0)
            firing = [
                one for one in self._firing_now() if (one.side, one.identity) not in self._stuck
            ]
            # Rules look back for as long as a quarter of an hour, and are not waited for.
            if any(one.side is not Side.RULES for one in firing):
                calm_since = None
            else:
                calm_since = calm_since or time.monotonic()
                if time.monotonic() - calm_since >= _SETTLED_S:
                    return
        for one in self._firing_now():
            self._stuck.add((one.side, one.identity))
            _say(f"  goes on: {one.side.value} {one.name} {one.of}")

    def _firing_now(self) -> list[Told]:
        return self._scene.recorder.firing.now(severity="page")

    def _both_told(self, began: Began) -> bool:
        sides = self._of(began.start_s, began.expected)
        return all(sides[side.value]["pages"] for side in (Side.SENTINEL, Side.STATIC))

    def _of(
        self, since_s: float, expected: Sequence[Mapping[str, Any]] | None = None
    ) -> dict[str, dict[str, Any]]:
        recorder = self._scene.recorder
        return scoring.of_span(
            recorder.firing.told,
            recorder.notices,
            since_s=since_s,
            until_s=time.time(),
            expected=expected,
        )

    def _keep(self, kind: str, **what: Any) -> dict[str, Any]:
        line = {
            "kind": kind,
            "at_s": round(time.time(), 1),
            "load_average": [round(one, 1) for one in os.getloadavg()],
            **what,
        }
        self._plan.results.parent.mkdir(parents=True, exist_ok=True)
        with self._plan.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
        return line


def _short(line: dict[str, Any]) -> str:
    parts = []
    for side, found in line["sides"].items():
        first = found["page_s"]
        page = "no page" if first is None else f"page after {first:.0f} s ({found['pages']})"
        ticket = "" if found["ticket_s"] is None else f", ticket after {found['ticket_s']:.0f} s"
        unrelated = found["unrelated_pages"]
        beside = f", {unrelated} unrelated" if unrelated else ""
        parts.append(f"{side}: {page}{ticket}{beside}")
    names = sorted({name for found in line["sides"].values() for name in found["names"]})
    return "; ".join(parts) + (f" [{', '.join(names)}]" if names else "")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
