"""`sentinel check ready`: is the running sidecar ready, and with a configuration: what of it is reachable, and why not.

Without `--config` the running sidecar is asked and nothing else, as a probe does. With it, everything that the
configuration names is looked at from here, whether a sidecar runs or not.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sentinel.cli.asking import Sidecar, get, sidecar_of
from sentinel.cli.options import terminal_columns
from sentinel.cli.wrapping import next_step, tell
from sentinel.errors import UnreachableError
from sentinel.runtime.loop import run_to_end
from sentinel.runtime.polling.reach import Reach, ReachStatus
from sentinel.runtime.printable import printable

if TYPE_CHECKING:
    from sentinel.app.config import SentinelConfig

_FINE, _WRONG, _UNKNOWN = 0, 1, 3
_COLUMNS_UNBOUND = 160
_COLUMNS_MIN = 60
_STATUS_WIDTH = 10
_NAME_WIDTH_MAX = 34
_NAME_SHARE = 3
_LOOKED_AT_AS = {"storage.sqlite": "store", "senders.otlp_forward": "forward"}
"""Components of a sidecar whose parts have another name in a configuration."""
_FAULTS_FIRST = {ReachStatus.FAILING: 0, ReachStatus.DEGRADED: 1, ReachStatus.OK: 2}
_WORST_FIRST = {status.value: rank for status, rank in _FAULTS_FIRST.items()}
_NAMED_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """What the sidecar itself said; `is_ready` is None when none answers, with the reason in `detail`."""

    url: str
    is_ready: bool | None
    detail: object


def run_ready(args: argparse.Namespace) -> int:
    """Ask the sidecar, and with a configuration look at what it names."""
    return _run_asking(args) if args.config is None or args.url else _run_looking(args)


def _run_asking(args: argparse.Namespace) -> int:
    try:
        running = _ask(sidecar_of(args), timeout_s=args.timeout)
    except UnreachableError as error:
        tell(f"sentinel check ready: {error}", file=sys.stderr)
        return _UNKNOWN
    if running.is_ready is None:
        tell(f"sentinel check ready: {running.detail}", file=sys.stderr)
        return _UNKNOWN
    is_fine = running.is_ready and not _parts(running.detail, ReachStatus.FAILING)
    if args.output == "json":
        told = {"ok": is_fine, "ready": running.is_ready, "detail": running.detail}
        print(json.dumps(told, indent=2))
    else:
        tell(_word(running))
        for line in _component_lines(running.detail):
            tell(line)
        if is_fine:
            next_step(f"sentinel incidents{_same_sidecar(args)}")
    return _FINE if is_fine else _WRONG


def _word(running: Running) -> str:
    """How it is in a sentence, which is as good as its worst part."""
    if not running.is_ready:
        return "Not ready."
    if failing := _parts(running.detail, ReachStatus.FAILING):
        named = ", ".join(failing[:_NAMED_MAX]) + (", ..." if len(failing) > _NAMED_MAX else "")
        return f"Not well: {named} {'fails' if len(failing) == 1 else 'fail'}."
    if degraded := _parts(running.detail, ReachStatus.DEGRADED):
        count = len(degraded)
        return f"Ready, with less than it should: {count} part{'s' * (count != 1)} degraded."
    return "Ready."


def _same_sidecar(args: argparse.Namespace) -> str:
    """The options by which another command finds the sidecar that was asked."""
    options = (("--url", args.url), ("--config", args.config), ("--ca-file", args.ca_file))
    return "".join(f" {name} {shlex.quote(str(said))}" for name, said in options if said)


def _run_looking(args: argparse.Namespace) -> int:
    from sentinel.app.config import load_config
    from sentinel.app.ready import look

    loaded = load_config(args.config, environment=os.environ)
    running = _running(args, loaded.config)
    is_running = running is not None and running.is_ready is not None
    found = run_to_end(look(loaded.config, is_running=is_running))
    reaches = [*_of_running(running, found), *found]
    is_fine = all(one.status is not ReachStatus.FAILING for one in reaches)
    if args.output == "json":
        print(json.dumps(_as_json(running, reaches, is_fine=is_fine), indent=2))
    else:
        columns = terminal_columns()
        for line in table(reaches, columns=columns):
            print(line)
        print()
        for line in _wrapped(_closing(running, reaches, is_running=is_running), _width(columns)):
            print(line)
        if is_fine:
            next_step(_following(args, loaded.config, is_running=is_running))
    return _FINE if is_fine else _WRONG


def _following(args: argparse.Namespace, config: SentinelConfig, *, is_running: bool) -> str:
    """What is typed after everything was found."""
    path = shlex.quote(str(args.config))
    if is_running:
        return f"sentinel incidents{_same_sidecar(args)}"
    if config.role != "collect" and any(one.queries for one in config.scrapers.prometheus_queries):
        return f"sentinel preview --prometheus --config {path}"
    return f"sentinel run --config {path}"


def _running(args: argparse.Namespace, config: SentinelConfig) -> Running | None:
    """What the sidecar says that runs by this configuration; None when its port is not known."""
    if not config.web.listen.port:
        return None
    sidecar = sidecar_of(args, config)
    try:
        return _ask(sidecar, timeout_s=args.timeout)
    except UnreachableError as error:
        return Running(url=sidecar.url, is_ready=None, detail=str(error).splitlines()[0])


def _ask(sidecar: Sidecar, *, timeout_s: float) -> Running:
    """UnreachableError when nobody answers in time."""
    url = sidecar.url
    address = f"{url}/-/ready"
    status, body = get(address, trust=sidecar.trust, timeout_s=timeout_s)
    if status not in (200, 503):
        told = f"{address} answered {status}, as a sidecar does not"
        return Running(url=url, is_ready=None, detail=told)
    return Running(url=url, is_ready=status == 200, detail=_detail(body))


def _detail(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace").strip()


def _components(detail: object) -> list[tuple[str, Mapping[str, Any]]]:
    components = detail.get("components") if isinstance(detail, Mapping) else None
    if not isinstance(components, Mapping):
        return []
    return [(str(name), one) for name, one in components.items() if isinstance(one, Mapping)]


def _component_lines(detail: object) -> list[str]:
    """A line a component, where the reply lists them; what fails first."""
    listed = sorted(
        _components(detail), key=lambda one: _WORST_FIRST.get(str(one[1].get("status")), 0)
    )
    return [
        printable(f"{name}: {health.get('status', '?')}: {health.get('sentence', '')}")
        for name, health in listed
    ]


def _parts(detail: object, status: ReachStatus) -> list[str]:
    """The components that are so."""
    return [printable(name) for name, one in _components(detail) if one.get("status") == status]


def _of_running(running: Running | None, found: Sequence[Reach]) -> Iterator[Reach]:
    """What the running sidecar says of itself: whether it is ready, and what of it is not as it should be.

    Where a fault of a part was found from here, with what to do about it, the sidecar's sentence on it would say it again.
    """
    if running is None or running.is_ready is None:
        return
    yield Reach(
        what="sidecar",
        status=ReachStatus.OK if running.is_ready else ReachStatus.FAILING,
        sentence=f"runs at {running.url} and is {'ready' if running.is_ready else 'not ready'}",
    )
    for name, health in _components(running.detail):
        status = health.get("status")
        if any(one.status is not ReachStatus.OK and _is_of(one.what, name) for one in found):
            continue
        if status in (ReachStatus.DEGRADED, ReachStatus.FAILING):
            yield Reach(
                what=f"sidecar {name}",
                status=ReachStatus(status),
                sentence=str(health.get("sentence", "")),
            )


def _is_of(what: str, component: str) -> bool:
    """Whether what was looked at belongs to a component of the sidecar."""
    own = {component, f"senders.{component}", _LOOKED_AT_AS.get(component, component)}
    return what in own or what.partition(" ")[0] in own


def table(reaches: Sequence[Reach], *, columns: int | None) -> list[str]:
    """A row each, what fails first, with what to do about it below; wrapped to the width, and cut nowhere.

    >>> table([Reach(what="store", status=ReachStatus.OK, sentence="can be written")], columns=80)
    ['ok        store  can be written']
    """
    width = _width(columns)
    rows = sorted(reaches, key=lambda one: _FAULTS_FIRST[one.status])
    names = [printable(one.what) for one in rows]
    # In a narrow terminal long names have a line of their own, or the sentences would be a column of single words.
    width_max = min(_NAME_WIDTH_MAX, width // _NAME_SHARE)
    name_width = max((len(one) for one in names if len(one) <= width_max), default=10)
    lines: list[str] = []
    for one, name in zip(rows, names, strict=True):
        stands_alone = len(name) > name_width
        margin = _STATUS_WIDTH + (0 if stands_alone else name_width + 2)
        texts = [*_wrapped(one.sentence, width - margin)]
        if one.remedy and one.status is not ReachStatus.OK:
            texts += _wrapped(f"-> {one.remedy}", width - margin)
        head = f"{one.status.value:<{_STATUS_WIDTH}}{name}"
        lines.append(head if stands_alone else f"{head:<{margin}}{texts.pop(0)}".rstrip())
        lines += [" " * margin + text for text in texts]
    return lines


def _width(columns: int | None) -> int:
    return max(_COLUMNS_UNBOUND if columns is None else columns, _COLUMNS_MIN)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(printable(text), max(width, 20), break_on_hyphens=False) or [""]


def _closing(running: Running | None, reaches: Sequence[Reach], *, is_running: bool) -> str:
    counts = {status: sum(one.status is status for one in reaches) for status in ReachStatus}
    told = ", ".join(f"{counts[status]} {status.value}" for status in ReachStatus) + "."
    if is_running:
        return told
    if running is None:
        return f"{told} The sidecar's port is chosen at the start: ask it with --url."
    return (
        f"{told} No sidecar runs: {printable(str(running.detail))}. This is what one would find."
    )


def _as_json(
    running: Running | None, reaches: Sequence[Reach], *, is_fine: bool
) -> dict[str, Any]:
    return {
        "ok": is_fine,
        "running": running is not None and running.is_ready is not None,
        "ready": None if running is None else running.is_ready,
        "detail": None if running is None else running.detail,
        "reach": [
            {
                "what": one.what,
                "status": one.status.value,
                "sentence": one.sentence,
                "remedy": one.remedy,
            }
            for one in reaches
        ],
    }
