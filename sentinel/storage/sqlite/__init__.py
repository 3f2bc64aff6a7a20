"""Everything in one SQLite file."""

from sentinel.storage.sqlite.component import Store
from sentinel.storage.sqlite.config import StoreConfig
from sentinel.storage.sqlite.histograms import HourHistograms
from sentinel.storage.sqlite.reader import StoreReader
from sentinel.storage.sqlite.store import SqliteStore

__all__ = ["HourHistograms", "SqliteStore", "Store", "StoreConfig", "StoreReader"]
