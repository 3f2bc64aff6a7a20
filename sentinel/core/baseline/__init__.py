"""What is expected of each series: seasons from stored history."""

from sentinel.core.baseline.columns import joined, laid_over, selected
from sentinel.core.baseline.fourier import fit_fourier, fit_fourier_or_profile
from sentinel.core.baseline.models import Model, ModelRule, models_of
from sentinel.core.baseline.profile import BIN_NS, HORIZON_NS, LAG_DAYS, Profile, fit_profile

__all__ = [
    "BIN_NS",
    "HORIZON_NS",
    "LAG_DAYS",
    "Model",
    "ModelRule",
    "Profile",
    "fit_fourier",
    "fit_fourier_or_profile",
    "fit_profile",
    "joined",
    "laid_over",
    "models_of",
    "selected",
]
