"""Past data into the store, as windows of five minutes; nothing here decides, so nothing pages."""

from sentinel.pipeline.backfill.spool import STEP_NS, Backfill, BackfillSummary

__all__ = ["STEP_NS", "Backfill", "BackfillSummary"]
