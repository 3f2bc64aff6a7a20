"""Past data, read and written."""

from sentinel.history.csv import SeriesFile, read_long, read_series
from sentinel.history.forms import Form, form_of
from sentinel.history.openmetrics import OpenMetricsFile
from sentinel.history.rows import HistoryRows, Mark, SeriesNumbers, beyond_bounds, bounds_of

__all__ = [
    "Form",
    "HistoryRows",
    "Mark",
    "OpenMetricsFile",
    "SeriesFile",
    "SeriesNumbers",
    "beyond_bounds",
    "bounds_of",
    "form_of",
    "read_long",
    "read_series",
]
