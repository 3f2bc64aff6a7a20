"""The peers: what is measured beside Sentinel, as one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from benchmarks.detection.sources import Floats, Grid

__all__ = ["PEERS", "Peer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A detector that gives each row a score, looking at that row and earlier ones only.

    Attributes:
        name: in the table and for `--peer`.
        where: module and function; loaded when it runs, because statsmodels takes a second to.
        own_threshold: score at which it pages as it comes.
        every: it is measured on every so-many-th series only, because it is slow.
    """

    name: str
    where: tuple[str, str]
    own_threshold: float
    every: int = 1

    def scorer(self) -> Callable[[Grid], Floats]:
        """The function that scores a series."""
        module, function = self.where
        found: Callable[[Grid], Floats] = getattr(
            import_module(f"benchmarks.detection.peers.{module}"), function
        )
        return found


PEERS = (
    Peer(name="static-3-sigma", where=("static", "three_sigma"), own_threshold=3.0),
    Peer(name="static-p99.9", where=("static", "tail"), own_threshold=1.0),
    Peer(name="rolling-z", where=("rolling", "rolling_z"), own_threshold=3.0),
    Peer(name="holt-winters", where=("holt_winters", "holt_winters"), own_threshold=3.0),
    Peer(name="mstl", where=("mstl", "mstl"), own_threshold=3.0, every=3),
    Peer(name="promql-adaptive", where=("promql", "adaptive"), own_threshold=1.0),
)
"""Three standard deviations where a method has no threshold of its own."""
