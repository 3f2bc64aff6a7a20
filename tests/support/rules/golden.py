"""Writes into a test file what its alerts say. `python -m tests.support.rules.golden FILE...`, then read the difference.

An `alert_rule_test` with `fires: N` gets the labels and annotations of the N alerts that promtool sees firing then, in place of
the number; another count is an error. Nothing that is written already is touched.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.support.rules.cases import RULES, composed, promtool

_FAILED = re.compile(
    r"alertname: ?(\S+), time: (\S+), \n\s+exp:.*?got:(\[\]|\[.*?\n\s+\])", re.DOTALL
)
_ALERT = re.compile(r"Labels:\{(.*?)\}\n\s+Annotations:\{(.*?)\},?\n", re.DOTALL)
_PAIR = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)=("(?:\\.|[^"\\])*")')


def main() -> int:
    """Fill every file that was named."""
    for name in sys.argv[1:]:
        fill(Path(name))
    return 0


def fill(path: Path) -> None:
    """Fill one file."""
    document = yaml.safe_load(path.read_text())
    head = "".join(line + "\n" for line in path.read_text().splitlines() if line.startswith("#"))
    rules = next(one for one in sorted(RULES.glob("*.yaml")) if path.name.startswith(one.stem))
    for at, case in enumerate(document["tests"]):
        checks = [one for one in case.get("alert_rule_test", ()) if "fires" in one]
        if not checks:
            continue
        with tempfile.TemporaryDirectory() as folder:
            test = Path(folder) / "test.yaml"
            alone = _composed_case(path, str(rules), at)
            test.write_text(yaml.safe_dump(alone))
            text = promtool("test", "rules", test)
        said = {(name, when): got for name, when, got in _FAILED.findall(text.stdout)}
        for check in checks:
            got = said.get((check["alertname"], _go_duration(check["eval_time"])), "")
            alerts = [_alert(*one) for one in _ALERT.findall(got)]
            if len(alerts) != check["fires"]:
                msg = (
                    f"{path.name}, {case.get('name')}: {check['alertname']} at {check['eval_time']}"
                    f" fires {len(alerts)} times, not {check['fires']}\n{text.stdout}"
                )
                raise SystemExit(msg)
            del check["fires"]
            check["exp_alerts"] = alerts
    path.write_text(
        head + yaml.safe_dump(document, sort_keys=False, width=130, allow_unicode=True)
    )


def _composed_case(path: Path, rules: str, at: int) -> dict[str, Any]:
    made = composed(path, rules=rules)
    [case] = made["tests"][at : at + 1]
    checks = [
        {**{key: value for key, value in one.items() if key != "fires"}, "exp_alerts": [_NOBODY]}
        if "fires" in one
        else one
        for one in case["alert_rule_test"]
    ]
    return {**made, "tests": [{**case, "alert_rule_test": checks}]}


_NOBODY = {"exp_labels": {"nobody": "expects this"}}


def _alert(labels: str, annotations: str) -> dict[str, Any]:
    found = {key: json.loads(value) for key, value in _PAIR.findall(labels)}
    found.pop("alertname")
    told = {key: json.loads(value) for key, value in _PAIR.findall(annotations)}
    # The same for all of a file: `links.py` adds them to every golden.
    for link in ("dashboard_url", "incident_url"):
        told.pop(link, None)
    return {"exp_labels": found, "exp_annotations": told}


def _go_duration(text: str) -> str:
    seconds = sum(
        int(number) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[unit]
        for number, unit in re.findall(r"(\d+)([smhd])", str(text))
    )
    return _written(seconds)


def _written(seconds: int) -> str:
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


if __name__ == "__main__":
    raise SystemExit(main())
