"""What is expected of each series: seasons from stored history."""

from sentinel.core.baseline.columns import joined, laid_over, selected
from sentinel.core.baseline.fourier import fit_fourier
from sentinel.core.baseline.profile import BIN_NS, HORIZON_NS, LAG_DAYS, Profile, fit_profile

__all__ = [
    "BIN_NS",
    "HORIZON_NS",
    "LAG_DAYS",
    "Profile",
    "fit_fourier",
    "fit_profile",
    "joined",
    "laid_over",
    "selected",
]
