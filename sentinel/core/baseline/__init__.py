"""What is expected of each series: seasons from stored history."""

from sentinel.core.baseline.calendar import Calendar, DayFacts, Payday, day_facts
from sentinel.core.baseline.columns import joined, laid_over, selected
from sentinel.core.baseline.drifts import SettledLevel, drifts_of
from sentinel.core.baseline.fourier import fit_fourier, fit_fourier_or_profile
from sentinel.core.baseline.hours import HourMeans, HourSums, hour_means
from sentinel.core.baseline.models import Model, ModelRule, models_of
from sentinel.core.baseline.new_levels import at_present_level
from sentinel.core.baseline.profile import BIN_NS, HORIZON_NS, LAG_DAYS, Profile, fit_profile
from sentinel.core.baseline.quarantine import quarantined, without_habits
from sentinel.core.baseline.refits import Refits
from sentinel.core.baseline.slow_bounds import NO_BOUND, SlowBounds, bounds_of_hours, slow_shares
from sentinel.core.baseline.special_days import (
    SpecialDays,
    days_to_read,
    learn_special_days,
    nothing_special,
)
from sentinel.core.baseline.wall_clock import fit_on_wall_clock, wall_clock_start

__all__ = [
    "BIN_NS",
    "HORIZON_NS",
    "LAG_DAYS",
    "NO_BOUND",
    "Calendar",
    "DayFacts",
    "HourMeans",
    "HourSums",
    "Model",
    "ModelRule",
    "Payday",
    "Profile",
    "Refits",
    "SettledLevel",
    "SlowBounds",
    "SpecialDays",
    "at_present_level",
    "bounds_of_hours",
    "day_facts",
    "days_to_read",
    "drifts_of",
    "fit_fourier",
    "fit_fourier_or_profile",
    "fit_on_wall_clock",
    "fit_profile",
    "hour_means",
    "joined",
    "laid_over",
    "learn_special_days",
    "models_of",
    "nothing_special",
    "quarantined",
    "selected",
    "slow_shares",
    "wall_clock_start",
    "without_habits",
]
