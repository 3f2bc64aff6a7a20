"""Makes the committed recordings of what was recorded. `python -m tests.support.rules.recordings --raw raw.json`.

A recording is one fault with the minutes before and after it, as input series of promtool: those that the rules look at, their
numbers to six digits, names of machines and ports replaced by what they stand for.
"""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.support.rules.cases import RECORDINGS, RULES

_AROUND_S: Final = 240
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SIGNALS: Final = re.compile(r"[a-z_]+_(?:count|ratio|per_s|s|bytes)\b")
_VERDICTS: Final = re.compile(r"sentinel_(?:value|expected|lower|upper|score)")


def main() -> int:
    """Write a file for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True)
    raw = json.loads(parser.parse_args().raw.read_text())
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    for span in raw["faults"]:
        (RECORDINGS / f"{span['fault']}.yaml").write_text(_text(raw, span))
    return 0


def _text(raw: Mapping[str, Any], span: Mapping[str, Any]) -> str:
    step_s = int(raw["step_s"])
    first_s = span["began_s"] - _AROUND_S
    count = int((span["ended_s"] + _AROUND_S - first_s) // step_s)
    asked = "\n".join(path.read_text() for path in sorted(RULES.glob("*.yaml")))
    names, signals = set(_NAME.findall(asked)), set(_SIGNALS.findall(asked))
    lines = {}
    for one in raw["series"]:
        labels = _labels(one["metric"])
        if not _is_wanted(labels, names, signals):
            continue
        found = {
            round((float(at_s) - first_s) / step_s): float(value) for at_s, value in one["values"]
        }
        values = [found.get(at) for at in range(count)]
        if any(value is not None for value in values):
            lines[_series(labels)] = written(values)
    head = (
        f"# The ledger's fault `{span['fault']}`, as Prometheus {raw['prometheus']} saw it: real edge, NATS, poster, PostgreSQL and"
        " sidecar, 25 requests a\n# second, scraped every"
        f" {step_s} s; the sidecar's six weeks of history are simulated. Recorded by tests/support/rules/record.py, written by\n"
        "# tests/support/rules/recordings.py. The fault begins and ends at the seconds that are named here.\n"
    )
    document = {
        "interval": f"{step_s}s",
        "fault_begins_s": _AROUND_S,
        "fault_ends_s": round(span["ended_s"] - first_s),
        "series": [{"series": name, "values": text} for name, text in sorted(lines.items())],
    }
    return head + yaml.safe_dump(document, sort_keys=False, width=100_000)


def _is_wanted(labels: Mapping[str, str], names: set[str], signals: set[str]) -> bool:
    name = labels["__name__"]
    if name not in names or name.startswith("scrape_"):
        return False
    if not _VERDICTS.fullmatch(name):
        return name != "up" or "sentinel" in labels["job"]
    of_calls = labels["signal"] in ("traffic", "errors", "latency", "slow_calls")
    if name == "sentinel_value" and not labels.get("horizon"):
        return of_calls or labels["signal"] in signals
    is_ledger = labels["service"].startswith("ledger-")
    if name == "sentinel_score":
        return is_ledger and labels.get("horizon") in (None, "1m")
    return is_ledger and of_calls and not labels.get("horizon")


def _labels(metric: Mapping[str, str]) -> dict[str, str]:
    """The labels without what only this machine has."""
    labels = dict(metric)
    if labels.get("job", "").startswith("sentinel"):
        labels["instance"] = "sidecar:9640"
    elif labels.get("job", "").startswith("ledger-"):
        labels["instance"] = f"{labels['job']}-1"
    if labels.get("stage") == "queue" and labels.get("route", "").startswith("server/"):
        labels["route"] = "server/nats-1"
    if "destination" in labels or "endpoint" in labels:
        labels |= {key: "page" for key in ("destination", "endpoint") if key in labels}
    return labels


def _series(labels: Mapping[str, str]) -> str:
    rest = ", ".join(
        f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in sorted(labels.items())
        if key != "__name__"
    )
    return f"{labels['__name__']}{{{rest}}}"


def written(values: Sequence[float | None]) -> str:
    """Values in promtool's notation.

    >>> written([1.0, 1.0, 1.0, 2.0, None, None, 3.0])
    '1x2 2 stale _ 3'
    >>> written([None, 0.0, 10.0, 20.0, 30.0, 31.5])
    '_ 0+10x3 31.5'
    """
    parts: list[str] = []
    at = 0
    while at < len(values):
        value = values[at]
        same = 1
        while at + same < len(values) and values[at + same] == value:
            same += 1
        if value is None:
            was_there = at > 0
            missing = same - was_there
            parts += ["stale"] * was_there
            parts += [] if missing == 0 else ["_"] if missing == 1 else [f"_x{missing}"]
            at += same
            continue
        step = _step(values, at)
        rising = 1
        while at + rising < len(values) and values[at + rising] == value + rising * step:
            rising += 1
        if same >= 2:
            parts.append(f"{_number(value)}x{same - 1}")
            at += same
        elif step > 0 and rising >= 3:
            parts.append(f"{_number(value)}+{_number(step)}x{rising - 1}")
            at += rising
        else:
            parts.append(_number(value))
            at += 1
    return " ".join(parts)


def _step(values: Sequence[float | None], at: int) -> float:
    here, following = values[at], values[at + 1] if at + 1 < len(values) else None
    if here is None or following is None or not (here.is_integer() and following.is_integer()):
        return 0.0
    return following - here


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if value.is_integer() and abs(value) < 1e15:
        return f"{int(value)}"
    text = f"{value:.6g}"
    # promtool's notation has an `x` of its own, and no exponents that would stand before it.
    return f"{value:.12f}".rstrip("0") if "e" in text else text


if __name__ == "__main__":
    raise SystemExit(main())
