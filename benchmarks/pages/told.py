"""Who was told of what, and when: alerts as an Alertmanager took them, and what it notified of.

Pure: the recorder makes these from requests, the scoring reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

Identity = tuple[tuple[str, str], ...]

_CONTINUES_S: Final = 15.0
_TEXT_CHARACTERS_MAX: Final = 20_000


class Side(StrEnum):
    """Whose alert it is."""

    SENTINEL = "sentinel"  # the sidecar's own
    RULES = "rules"  # alert_rules/, which come with it
    STATIC = "static"  # a team's thresholds


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An alert that began to fire, at the moment of Alertmanager's 200.

    Attributes:
        at_s: Unix seconds of the answer.
        name: the alert's.
        severity: `page` or `ticket`.
        service: whose it is, by its label.
        of: service and what tells it from another of its name.
        identity: all its labels.
        starts_s: when its sender says that it began.
        text: what it says, with all that came to it while it fired.
    """

    at_s: float
    side: Side
    name: str
    severity: str
    service: str
    of: str
    identity: Identity
    starts_s: float
    text: str = ""


class Firing:
    """What is firing now; alerts that are sent again are the same ones."""

    def __init__(self) -> None:
        self.told: list[Told] = []
        self._now: dict[tuple[Side, Identity], Told] = {}

    def take(self, sender: str, alerts: Iterable[Mapping[str, Any]], *, at_s: float) -> None:
        """Alerts that Alertmanager answered 200 for, from the sidecar or from Prometheus."""
        for alert in alerts:
            labels: Mapping[str, str] = alert["labels"]
            if labels.get("alertname") == "SentinelHeartbeat":
                continue
            told = _told(sender, alert, at_s=at_s)
            key = (told.side, told.identity)
            ends_s = instant_s(alert.get("endsAt"))
            if ends_s is not None and ends_s <= at_s:
                self._now.pop(key, None)
                continue
            before = self._now.get(key)
            # A new one may come before the end of the one before it was told.
            if before is None or told.starts_s > before.starts_s + _CONTINUES_S:
                self.told.append(told)
                self._now[key] = told
            elif told.text not in before.text:
                # An incident grows, and says so under the labels that it had: what came to it is in it.
                grown = replace(before, text=f"{before.text}\n{told.text}"[-_TEXT_CHARACTERS_MAX:])
                self.told[self.told.index(before)] = grown
                self._now[key] = grown

    def now(self, *, severity: str) -> list[Told]:
        """Those that fire, of this severity."""
        return [told for told in self._now.values() if told.severity == severity]


def side_of(sender: str, labels: Mapping[str, str]) -> Side:
    """Whose an alert is, by who sent it and by the label that static thresholds carry.

    >>> side_of("prometheus", {"by": "static"}).value, side_of("prometheus", {}).value, side_of("sentinel", {}).value
    ('static', 'rules', 'sentinel')
    """
    if sender == "sentinel":
        return Side.SENTINEL
    return Side.STATIC if labels.get("by") == "static" else Side.RULES


def instant_s(text: str | None) -> float | None:
    """Unix seconds of an instant as Alertmanager's API has it; None for none, and for its zero.

    >>> instant_s("1970-01-01T00:00:10.5Z"), instant_s("0001-01-01T00:00:00Z"), instant_s(None)
    (10.5, None, None)
    """
    if not text or text.startswith("0001-"):
        return None
    return datetime.fromisoformat(text).timestamp()


def _told(sender: str, alert: Mapping[str, Any], *, at_s: float) -> Told:
    labels: Mapping[str, str] = alert["labels"]
    others = [
        text
        for label, text in sorted(labels.items())
        if label not in ("alertname", "severity", "by", "sentinel_anomaly", "instance", "job")
    ]
    starts_s = instant_s(alert.get("startsAt"))
    annotations: Mapping[str, str] = alert.get("annotations") or {}
    return Told(
        at_s=at_s,
        side=side_of(sender, labels),
        name=labels.get("alertname", ""),
        severity=labels.get("severity", "page"),
        service=labels.get("service", ""),
        of=" ".join(others),
        identity=tuple(sorted(labels.items())),
        starts_s=at_s if starts_s is None else starts_s,
        text="\n".join(annotations.get(name, "") for name in ("summary", "description")),
    )
