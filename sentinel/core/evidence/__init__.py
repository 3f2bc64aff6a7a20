"""What belongs on a page or beside it besides the numbers: first mover, traces to open, new error lines, new versions."""

from sentinel.core.evidence.first_mover import first_mover
from sentinel.core.evidence.recent import EvidenceSettings, RecentEvidence
from sentinel.core.evidence.versions import ServiceVersions, VersionsSettings

__all__ = [
    "EvidenceSettings",
    "RecentEvidence",
    "ServiceVersions",
    "VersionsSettings",
    "first_mover",
]
