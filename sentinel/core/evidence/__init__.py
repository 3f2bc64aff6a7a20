"""What belongs on a page besides the numbers: the first mover, traces to open, new error lines."""

from sentinel.core.evidence.first_mover import first_mover
from sentinel.core.evidence.recent import EvidenceSettings, RecentEvidence

__all__ = ["EvidenceSettings", "RecentEvidence", "first_mover"]
