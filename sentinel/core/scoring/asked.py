"""What series are asked for whatever the hour: it follows from settings, kinds and what was set for single series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SHARE_KINDS, Kind
from sentinel.core.scoring.demands import SET_APART, Demands
from sentinel.core.scoring.settings import Grid, KindRule, ScoringSettings

_Halves = NDArray[np.float32]
_NEVER = np.float32(np.inf)
_RULE_FIELDS = (
    "high_only",
    "deviation_min",
    "deviation_ratio_min",
    "weight_min",
    "excess_calls_min",
    "counted",
    "gathered",
    "recent_held",
    "value_min",
    "value_max",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The part of `Hourly` that no hour changes.

    Attributes:
        kind: int8[S], the kinds that it belongs to.
        settings, demands: what else it was worked out from.
        columns: those of `Hourly`, by name.
        counted: bool[S], series whose value is a count a second.
        recent_held: bool[S], see `KindRule`.
    """

    kind: NDArray[np.int8]
    settings: ScoringSettings
    demands: Demands | None
    columns: dict[str, Any]
    counted: NDArray[np.bool_]
    recent_held: NDArray[np.bool_]

    def is_of(
        self, kind: NDArray[np.int8], settings: ScoringSettings, demands: Demands | None
    ) -> bool:
        """Whether it was worked out from these."""
        return (
            self.settings is settings
            and self.demands is demands
            and (self.kind is kind or np.array_equal(self.kind, kind))
        )


def asked_of(
    kind: NDArray[np.int8], settings: ScoringSettings, demands: Demands | None, *, grid: Grid
) -> Asked:
    """What series of these kinds are asked for in windows of this grid."""
    rule = {field: _by_kind(settings, kind, field) for field in _RULE_FIELDS}
    rule["above"], rule["below"] = np.ones_like(rule["high_only"]), 1 - rule["high_only"]
    if demands is not None:
        for field in (*SET_APART, "above", "below"):
            rule[field] = demands.over(field, rule[field])
    above, below = rule["above"] > 0, rule["below"] > 0
    ratios = np.flatnonzero(rule["gathered"] > 0)
    weighted = np.isin(kind, (*SHARE_KINDS, Kind.LATENCY))
    counts = rule["counted"] > 0
    skew = np.where(
        rule["excess_calls_min"] > 0, np.float32(grid.skew_calls(settings)), np.float32(0)
    )
    columns: dict[str, Any] = {
        "kind": kind,
        "settings": settings,
        "demands": demands,
        "need_least": np.float32(settings.cut_scale * grid.base_cut(settings)),
        "above_extra": np.where(above, np.float32(0), _NEVER),
        "below_extra": np.where(below, np.float32(0), _NEVER),
        "lowest_middle": np.where(below, -_NEVER, np.float32(-settings.ignored_fall)),
        "highest_middle": np.where(above, _NEVER, np.float32(settings.ignored_fall)),
        "one_sided": not (above.all() and below.all()),
        "deviation_min": rule["deviation_min"],
        "deviation_ratio_min": rule["deviation_ratio_min"],
        "weight_min": rule["weight_min"],
        "excess_calls_min": np.maximum(rule["excess_calls_min"], skew),
        "count_noise": rule["counted"] / np.float32(grid.step_s),
        "counted": bool(counts.any()),
        "counts": counts if counts.any() else None,
        "ratios": ratios if ratios.size else None,
        "share_noise": (rule["gathered"] > 0).astype(np.float32),
        "weighted": weighted if weighted.any() else None,
        "value_min": rule["value_min"],
        "value_max": rule["value_max"],
        "bounded": bool((np.isfinite(rule["value_min"]) | np.isfinite(rule["value_max"])).any()),
    }
    return Asked(
        kind=kind,
        settings=settings,
        demands=demands,
        columns=columns,
        counted=counts,
        recent_held=rule["recent_held"] > 0,
    )


def _by_kind(settings: ScoringSettings, kind: NDArray[np.int8], field: str) -> _Halves:
    table = np.zeros(max(Kind) + 1, np.float32)
    for member in Kind:
        table[member] = float(getattr(settings.rules.get(member, KindRule()), field))
    return np.asarray(table[kind], dtype=np.float32)
