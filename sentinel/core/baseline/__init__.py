"""History to expectation."""

from sentinel.core.baseline.profile import BIN_NS, HORIZON_NS, LAG_DAYS, Profile, fit_profile

__all__ = ["BIN_NS", "HORIZON_NS", "LAG_DAYS", "Profile", "fit_profile"]
