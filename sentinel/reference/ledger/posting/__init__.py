"""The poster: takes accepted transfers off the queue and writes them into the ledger, once each."""

from sentinel.reference.ledger.posting.poster import Poster, PosterConfig

__all__ = ["Poster", "PosterConfig"]
