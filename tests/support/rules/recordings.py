"""Makes the committed recordings of what was recorded. `python -m tests.support.rules.recordings raw.json...`.

A recording is one fault, or several at once, with the minutes before and after, as input series of promtool: those that its rules
look at, their numbers to six digits, names of machines and ports replaced by what they stand for. One of more than 20 minutes has
every second sample, unless it is to be whole. Times of day are counted from the first sample. Nothing is scaled: a minute of a recording took a minute.
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

_LONG_S: Final = 1200
_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_SIGNALS: Final = re.compile(r"[a-z_]+_(?:count|ratio|per_s|s|bytes)\b")
_PATTERN: Final = re.compile(r'signal=~"([^"]+)"')
_VERDICTS: Final = re.compile(r"sentinel_(?:value|expected|lower|upper|score)")


def main() -> int:
    """Write a file for each fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("raw", type=Path, nargs="+")
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    for path in parser.parse_args().raw:
        raw = json.loads(path.read_text())
        for span in raw["faults"]:
            (RECORDINGS / f"{span['fault']}.yaml").write_text(written_recording(raw, span))
    return 0


def written_recording(raw: Mapping[str, Any], span: Mapping[str, Any]) -> str:
    """One span of what was scraped, as the text of a recording."""
    first_s = span["began_s"]
    long = span["ended_s"] - first_s > _LONG_S and not span.get("whole")
    step_s = int(raw["step_s"]) * (2 if long else 1)
    count = int((span["ended_s"] - first_s) // step_s)
    rules = [RULES / f"{one}.yaml" for one in span["rules"]] if "rules" in span else None
    wanted = _Wanted(sorted(RULES.glob("*.yaml")) if rules is None else rules)
    lines = {}
    for one in raw["series"]:
        labels = _labels(one["metric"])
        if labels not in wanted:
            continue
        found: dict[int, float] = {}
        for at_s, value in one["values"]:
            place = (float(at_s) - first_s) / step_s
            # Of two samples for one place the one on it: counters stay what they were then.
            if abs(place - round(place)) < 0.4 * int(raw["step_s"]) / step_s or not long:
                found[round(place)] = float(value)
        values = [found.get(at) for at in range(count)]
        if _TIME.search(labels["__name__"]):
            # promtool's clock begins at 0, so what is a time of day is told from the first sample on.
            values = [value and round(value - first_s, 3) for value in values]
        if any(value is not None for value in values):
            lines[_series(labels)] = written(values)
    document = {
        "interval": f"{step_s}s",
        "faults": list(span.get("faults", [span["fault"]])),
        **{
            name: round(span[name])
            for name in ("fault_begins_s", "fault_ends_s")
            if span.get(name) is not None
        },
        "series": [{"series": name, "values": text} for name, text in sorted(lines.items())],
    }
    head = (
        f"# `{span['fault']}`, as Prometheus {raw['prometheus']} saw it: real servers, ledger and sidecars under load, scraped every"
        f" {raw['step_s']} s; of what was scraped, the series\n# that rules read. Recorded by tests/support/rules/record.py, written by"
        " tests/support/rules/recordings.py. The fault begins and ends at the seconds that are named here.\n"
    )
    return head + yaml.safe_dump(document, sort_keys=False, width=100_000)


class _Wanted:
    """The series that some rule files read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        asked = "\n".join(path.read_text() for path in paths)
        self._names, self._signals = set(_NAME.findall(asked)), set(_SIGNALS.findall(asked))
        self._patterns = _PATTERN.findall(asked)
        self._of_calls = {"traffic", "errors", "latency", "slow_calls"} & self._names

    def __contains__(self, labels: Mapping[str, str]) -> bool:
        name = labels["__name__"]
        if name not in self._names or name.startswith("scrape_"):
            return False
        if not _VERDICTS.fullmatch(name):
            return name != "up" or labels["job"] == "sentinel"
        of_calls = labels["signal"] in self._of_calls
        if name == "sentinel_value" and not labels.get("horizon"):
            return of_calls or self._asks_for(labels["signal"])
        is_ledger = labels["service"].startswith("ledger-")
        if name == "sentinel_score":
            return is_ledger and labels.get("horizon") in (None, "1m")
        return is_ledger and of_calls and not labels.get("horizon")

    def _asks_for(self, signal: str) -> bool:
        return signal in self._signals or any(
            re.fullmatch(pattern, signal) for pattern in self._patterns
        )


_TIME: Final = re.compile(r"_(?:start_time|timestamp)_seconds$")
_PLACE: Final = re.compile(r"127[.]0[.]0[.]1:\d+")
_GIVEN: Final = re.compile(r"n\d")


def _labels(metric: Mapping[str, str]) -> dict[str, str]:
    """The labels without what only this machine has."""
    labels = dict(metric)
    if labels.get("job", "").startswith("sentinel"):
        labels["instance"] = f"{labels.pop('sidecar', 'sidecar')}:9640"
    elif labels.get("job", "").startswith("ledger-"):
        labels["instance"] = f"{labels['job']}-1"
    if labels.get("stage") == "queue" and labels.get("route", "").startswith("server/"):
        name = labels["route"].removeprefix("server/")
        labels["route"] = f"server/{name if _GIVEN.fullmatch(name) else 'nats-1'}"
    if "://" in labels.get("endpoint", ""):
        labels["endpoint"] = "page"
    for key in ("destination", "component"):
        if key in labels:
            labels[key] = _PLACE.sub("am-1:9093", labels[key])
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
