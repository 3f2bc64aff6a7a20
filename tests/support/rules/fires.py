"""Says which alerts fire when in recordings. `python -m tests.support.rules.fires RECORDING...`.

A line for each alert that fires at the end of any minute: the rule file, the alert, and the minutes from the recording's first sample.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import yaml

from tests.support.rules.cases import Subject, composed, promtool, recording, subjects

_FAILED: Final = re.compile(
    r"alertname: ?(\S+), time: (\S+), \n\s+exp:.*?got:(\[\]|\[)", re.DOTALL
)
_NOBODY: Final = {"exp_labels": {"nobody": "expects this"}, "exp_annotations": {}}
_DURATION: Final = re.compile(r"(\d+)([hms])")
_IN_S: Final = {"h": 3600, "m": 60, "s": 1}


def main() -> int:
    """Print what fires in each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recordings", nargs="+")
    for name in parser.parse_args().recordings:
        print(name)  # noqa: T201 - what the command is for
        for subject in subjects():
            for alert, minutes in firing(subject, name).items():
                text = ",".join(map(str, minutes))
                print(f"    {subject.name}: {alert} at {text} min")  # noqa: T201 - the same
    return 0


def firing(subject: Subject, name: str) -> Mapping[str, list[int]]:
    """Alerts of one rule file that fire in a recording, each with the minutes at whose end it does."""
    minutes = range(1, _length_s(name) // 60 + 1)
    alerts = sorted({rule["alert"] for _, _, rule in subject.rules() if "alert" in rule})
    case = {
        "name": name,
        "recorded": name,
        "alert_rule_test": [
            {"eval_time": f"{minute}m", "alertname": alert, "exp_alerts": [_NOBODY]}
            for alert in alerts
            for minute in minutes
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{subject.name}_test.yaml"
        groups = [group["name"] for group in subject.document["groups"]]
        file.write_text(
            yaml.safe_dump(
                {"evaluation_interval": "1m", "group_eval_order": groups, "tests": [case]}
            )
        )
        test = Path(folder) / "test.yaml"
        test.write_text(yaml.safe_dump(composed(file, rules=str(subject.path))))
        text = promtool("test", "rules", test).stdout
    found: dict[str, list[int]] = {}
    for alert, when, got in _FAILED.findall(text):
        if got != "[]":
            found.setdefault(alert, []).append(_seconds(when) // 60)
    return {alert: sorted(set(of)) for alert, of in sorted(found.items())}


def _length_s(name: str) -> int:
    recorded = recording(name)
    step_s = int(str(recorded["interval"]).removesuffix("s"))
    return step_s * max(_count(one["values"]) for one in recorded["series"])


def _count(values: str) -> int:
    return sum(1 + int(repeats or 0) for repeats in _repeats(values))


def _repeats(values: str) -> Iterator[str]:
    for word in values.split():
        head, cross, repeats = word.rpartition("x")
        # `_x3` stands for three samples, `1x3` for four.
        yield (str(int(repeats) - 1) if head == "_" else repeats) if cross else ""


def _seconds(text: str) -> int:
    return sum(int(number) * _IN_S[unit] for number, unit in _DURATION.findall(text))


if __name__ == "__main__":
    raise SystemExit(main())
