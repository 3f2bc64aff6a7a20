"""Explicit tables of the components that can be configured, one file a side of the program."""

from sentinel.app.registry.receivers import (
    RECEIVERS,
    SOURCES,
    Receiver,
    addresses_of,
    make_receivers,
    make_sources,
)
from sentinel.app.registry.scrapers import SCRAPERS, make_scrapers
from sentinel.app.registry.senders import SENDERS, make_destinations

__all__ = [
    "RECEIVERS",
    "SCRAPERS",
    "SENDERS",
    "SOURCES",
    "Receiver",
    "addresses_of",
    "make_destinations",
    "make_receivers",
    "make_scrapers",
    "make_sources",
]
