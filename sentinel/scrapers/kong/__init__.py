"""Kong's prometheus plugin; the component itself is imported when a node is configured."""

from sentinel.scrapers.kong.config import KongSwitch, KongTargetConfig

__all__ = ["KongSwitch", "KongTargetConfig"]
