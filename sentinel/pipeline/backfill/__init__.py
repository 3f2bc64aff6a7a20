"""Past data into the store, as windows of five minutes; nothing here decides, so nothing pages."""

from sentinel.pipeline.backfill.spool import Backfill
from sentinel.pipeline.backfill.summary import BackfillSummary
from sentinel.pipeline.backfill.windows import STEP_NS

__all__ = ["STEP_NS", "Backfill", "BackfillSummary"]
