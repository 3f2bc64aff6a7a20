"""Past data, read and written."""

from sentinel.history.csv import SeriesFile, read_long, read_series
from sentinel.history.openmetrics import OpenMetricsFile
from sentinel.history.rows import HistoryRows, SeriesNumbers

__all__ = [
    "HistoryRows",
    "OpenMetricsFile",
    "SeriesFile",
    "SeriesNumbers",
    "read_long",
    "read_series",
]
