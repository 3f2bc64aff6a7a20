"""The constants of the detector, and what each kind of series demands before it is called strange.

One set of constants serves every series; none was chosen for a series or a data set of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from sentinel.core.model import Direction, Kind, SeriesPattern

HOUR_NS = 3_600_000_000_000
DAY_NS = 24 * HOUR_NS


class Sensitivity(StrEnum):
    """A named scaling of the cut, where no budget of pages is given."""

    QUIET = "quiet"
    NORMAL = "normal"
    HIGH = "high"

    @property
    def cut_scale(self) -> float:
        """What every threshold is multiplied by."""
        return {"quiet": 1.6, "normal": 1.0, "high": 0.75}[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRule:
    """What a window of this kind must show besides being unusual for its series.

    Attributes:
        high_only: only values above what is expected can be strange.
        deviation_min: smallest distance from the expected value, in the value's own unit.
        deviation_ratio_min: the same as a share of the expected value.
        weight_min: fewer calls than this and the window says nothing.
        excess_calls_min: the distance must be worth this many calls more than its spread demands; for
            ratios. Counts of what is rare are skewed: of a Poisson count the quantile of a normal cut z lies
            (z^2 - 1) / 6 further out, about 3 calls at the base cut, and where that is more it is demanded.
        counted: the value is a count a second, whose spread is never below that of counting.
        gathered: the value is a share of calls: its spread is never below that of counting them, and a window
            with few calls is judged together with the calls before it.
        recent_held: while an incident is open the comparison with the last windows stands still as the
            level does. Where it does not, a new level is taken up within those windows: right for what may
            settle anywhere. Held for gauges too, recall on labelled series fell from 0.74 to 0.71, and false
            pages rose from 0.67 to 0.85 a week.
        value_min, value_max: what a value of this kind can be; nothing beyond is expected, and the upper
            edge does not lie above.
    """

    high_only: bool = False
    deviation_min: float = 0.0
    deviation_ratio_min: float = 0.0
    weight_min: float = 0.0
    excess_calls_min: float = 0.0
    counted: bool = False
    gathered: bool = False
    recent_held: bool = False
    value_min: float = -math.inf
    value_max: float = math.inf

    def __post_init__(self) -> None:
        numbers = (
            self.deviation_min,
            self.deviation_ratio_min,
            self.weight_min,
            self.excess_calls_min,
        )
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            msg = "deviations, weights and calls of a kind's rule must be finite and not negative"
            raise ValueError(msg)
        if not self.value_min < self.value_max:
            msg = "a kind's lowest value must lie below its highest"
            raise ValueError(msg)


KIND_RULES: dict[Kind, KindRule] = {
    Kind.TRAFFIC: KindRule(deviation_ratio_min=0.3, counted=True, recent_held=True, value_min=0.0),
    Kind.ERRORS: KindRule(
        high_only=True,
        deviation_min=0.02,
        weight_min=5.0,
        excess_calls_min=3.0,
        gathered=True,
        recent_held=True,
        value_min=0.0,
        value_max=1.0,
    ),
    Kind.LATENCY: KindRule(
        # Of fewer than 20 calls the 95th percentile is the slowest one.
        high_only=True,
        deviation_min=0.01,
        deviation_ratio_min=0.5,
        weight_min=20.0,
        recent_held=True,
        value_min=0.0,
    ),
    Kind.GAUGE: KindRule(),
    # Twice the share that is slow by its making; five calls more than their spread demands are no accident.
    Kind.SLOW: KindRule(
        high_only=True,
        deviation_min=0.01,
        weight_min=5.0,
        excess_calls_min=5.0,
        gathered=True,
        recent_held=True,
        value_min=0.0,
        value_max=1.0,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesRule(SeriesPattern):
    """What the series that the patterns match are asked for; None leaves it as their kind has it.

    Attributes:
        direction: on which side a value can be strange.
        deviation_min, deviation_ratio_min, weight_min: see `KindRule`.
    """

    direction: Direction | None = None
    deviation_min: float | None = None
    deviation_ratio_min: float | None = None
    weight_min: float | None = None

    def __post_init__(self) -> None:
        numbers = (self.deviation_min, self.deviation_ratio_min, self.weight_min)
        if not all(one is None or (math.isfinite(one) and one >= 0) for one in numbers):
            msg = "deviations and calls of a rule must be finite and not negative"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringSettings:
    """Every constant of scoring and learning.

    Attributes:
        cut_scale: what every threshold is multiplied by; see `Sensitivity`.
        rules: what each kind demands.
        series_rules: what some series demand instead; for each setting the first rule that matches and sets it.
        level_half_life_s: half-life of the recent level.
        shifted_half_life_s: half-life of where the level would be, while it stands still for an open incident.
        level_clip: a residual moves the level by no more than this many scales.
        memory_days: day blocks that a scale remembers.
        block_power: power of the mean over day blocks; small, so that one giant incident cannot hide
            the next weeks, and not zero, so that heavy daily tails count.
        hour_share: share of the spread that may depend on the hour of day.
        count_share, count_square_share: shares of a count's variance that grow with what is usual and with its
            square. On five simulated pairs of months they gave a quarter fewer false pages than the spread of the hour.
        spread_clip: a deviation counts for the spread with no more than this many scales, ...
        held_spread_clip: ... and with no more than so many while all that is expected stands still for an incident.
        hour_clip: a deviation counts for its hour with no more than this many scales.
        floor_mean_ratio, floor_spread_ratio: lowest scale, of the mean magnitude and of the spread of
            the value itself over two months.
        sparse_exponent: series that are mostly zero judge a burst by this power of their active share.
        cut_hour, cut_minute: base threshold at a step of an hour and of a minute.
        shoulder_count: own peaks a week that a threshold may have just above it.
        quiet_weeks: weeks without peaks that every series is taken to have had.
        single_ratio: how much larger an excess of one window alone must be, for steps up to 5 minutes.
        borrowed_windows: windows after which a scale borrowed from coarser history may be used.
        horizon_cut_ratio: how much higher the cut of a longer horizon is than that of a window as wide.
        horizon_half_lives_s: of the level that the horizons of 1, 5 and 30 minutes are compared with.
        return_s: for so long after an incident, coming back from it is no news; see `returns`.
        ignored_fall: where only values above can be strange, what is expected follows a fall no further
            below the profile than this many scales; less than any cut, so that a return is no rise.
        gathered_calls: a ratio of fewer calls is judged together with the calls before it.
        gathered_for_s: how long those count; they fade in a straight line.
    """

    cut_scale: float = 1.0
    rules: dict[Kind, KindRule] = field(default_factory=lambda: dict(KIND_RULES))
    series_rules: tuple[SeriesRule, ...] = ()
    level_half_life_s: float = 3600.0
    shifted_half_life_s: float = 600.0
    level_clip: float = 6.0
    memory_days: int = 14
    block_power: float = 0.2
    hour_share: float = 0.7
    count_share: float = 0.45
    count_square_share: float = 0.45
    spread_clip: float = 10.0
    held_spread_clip: float = 5.0
    hour_clip: float = 4.0
    floor_mean_ratio: float = 0.002
    floor_spread_ratio: float = 0.04
    sparse_exponent: float = 0.5
    cut_hour: float = 3.9
    cut_minute: float = 4.25
    shoulder_count: float = 1.25
    quiet_weeks: float = 0.7
    single_ratio: float = 1.2
    borrowed_windows: int = 6
    ignored_fall: float = 2.0
    gathered_calls: float = 30.0
    gathered_for_s: float = 43_200.0
    horizon_cut_ratio: float = 1.15
    horizon_half_lives_s: tuple[float, float, float] = (3600.0, 7200.0, 21_600.0)
    return_s: float = 43_200.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cut_scale) and self.cut_scale > 0):
            msg = "the scaling of the cut must be above 0"
            raise ValueError(msg)
        if self.borrowed_windows < 2:
            msg = "a borrowed scale needs at least 2 windows to be checked against"
            raise ValueError(msg)
        if min(self.count_share, self.count_square_share) < 0 or (
            self.count_share + self.count_square_share >= 1
        ):
            msg = "shares of a count's variance must not be negative, and less than 1 together"
            raise ValueError(msg)
        if not (self.gathered_calls >= 1 and self.gathered_for_s > 0):
            msg = "calls are gathered to at least 1, for longer than no time"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What follows from the width of a window alone."""

    step_ns: int

    @property
    def step_s(self) -> float:
        """Width of a window in seconds."""
        return self.step_ns / 1e9

    @property
    def per_day(self) -> float:
        """Windows a day."""
        return DAY_NS / self.step_ns

    @property
    def recent_count(self) -> int:
        """Windows whose median is the recent level that a jump is measured from."""
        return 10 if self.step_s <= 60 else 5

    @property
    def hold_windows(self) -> int:
        """Windows of quiet after which an excursion is over: 30 minutes, at least 3."""
        return max(3, math.ceil(1800 / self.step_s))

    @property
    def warm_windows(self) -> float:
        """Residuals before a first scale: 6 hours of them, at least 20."""
        return min(max(20.0, self.per_day // 4), 7 * self.per_day)

    def level_gain(self, half_life_s: float) -> float:
        """Weight of a new residual in the level."""
        return 1 - 0.5 ** (self.step_s / half_life_s) if self.step_s < 3600 else 0.3

    def shifted_gain(self, settings: ScoringSettings) -> float:
        """Weight of a new residual in where a held level would be."""
        return min(0.3, 1.0 - math.pow(0.5, self.step_s / settings.shifted_half_life_s))

    def base_cut(self, settings: ScoringSettings) -> float:
        """Base threshold: more windows a week need a higher one for the same peace."""
        slope = (settings.cut_minute - settings.cut_hour) / math.log(60.0)
        return settings.cut_hour + slope * math.log(3600.0 / self.step_s)

    def skew_calls(self, settings: ScoringSettings) -> float:
        """How many calls the skew of a rare count adds to what the base threshold demands."""
        cut = settings.cut_scale * self.base_cut(settings)
        return max(0.0, (cut * cut - 1.0) / 6.0)

    def single_ratio(self, settings: ScoringSettings) -> float:
        """How much larger an excess of one window alone must be."""
        return settings.single_ratio if self.step_s <= 300 else 1.0
