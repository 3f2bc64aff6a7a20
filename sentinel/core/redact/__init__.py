"""The one place that takes secrets out of text."""

from sentinel.core.redact.text import redact

__all__ = ["redact"]
