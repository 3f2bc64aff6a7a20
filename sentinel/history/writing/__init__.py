"""Verdicts of the past written down for Prometheus: files of OpenMetrics, and remote write 1.0 and 2.0.

`sending` and `remote_write` need cramjam, which the extra `remote-write` brings, so they are imported by whoever sends.
"""

from sentinel.history.writing.openmetrics import BLOCK_NS, OpenMetricsFiles
from sentinel.history.writing.samples import SampleNames, Written, checked_label

__all__ = ["BLOCK_NS", "OpenMetricsFiles", "SampleNames", "Written", "checked_label"]
