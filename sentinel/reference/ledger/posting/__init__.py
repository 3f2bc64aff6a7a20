"""The poster: takes accepted requests off the queue and writes them into the ledger, once each."""

from sentinel.reference.ledger.posting.poster import Poster, PosterConfig
from sentinel.reference.ledger.posting.rows import BY_INDEX

__all__ = ["BY_INDEX", "Poster", "PosterConfig"]
