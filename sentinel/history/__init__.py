"""Past data, read and written."""

from sentinel.history.csv import SeriesFile, read_long, read_series
from sentinel.history.forms import Form, form_of
from sentinel.history.openmetrics import OpenMetricsFile
from sentinel.history.rows import HistoryRows, SeriesNumbers, beyond_bounds, bounds_of

__all__ = [
    "Form",
    "HistoryRows",
    "OpenMetricsFile",
    "SeriesFile",
    "SeriesNumbers",
    "beyond_bounds",
    "bounds_of",
    "form_of",
    "read_long",
    "read_series",
]
