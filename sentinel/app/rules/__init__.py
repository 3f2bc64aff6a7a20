"""`sentinel check rules`: files of Prometheus rules, held against what Sentinel really exposes."""

from sentinel.app.rules.look import Finding, Looked, RuleFileUnreadableError, look

__all__ = ["Finding", "Looked", "RuleFileUnreadableError", "look"]
