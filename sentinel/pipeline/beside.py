"""Firings of somebody's rules beside the pages of a replay: what both told of, what one of them alone, and who was first.

By time alone: what a rule is about is in labels that each team writes in its own way. Two things that happened in the same minutes
are so taken for one, which flatters both sides alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import PageReason, Severity
from sentinel.pipeline.replay.rows import ReplayedPage

SLACK_S = 600.0
"""How far apart two may be and yet be of one incident: rules wait for minutes before they fire, and so do pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """A rule that fired from its first to its last evaluation seen (Unix seconds)."""

    rule: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """One incident as it was told of.

    Attributes:
        page: the page, None where rules alone told of it.
        firings: the firings in its time, the first one first; none where nobody's rule fired.
    """

    page: ReplayedPage | None
    firings: tuple[Firing, ...]

    @property
    def start_s(self) -> float:
        """When the first of them told of it."""
        starts = [firing.start_s for firing in self.firings]
        return min([*starts, self.page.start_s] if self.page is not None else starts)

    @property
    def lead_s(self) -> float | None:
        """How much sooner the page was than the first rule, negative when it was later; None where one of them is missing."""
        if self.page is None or not self.firings:
            return None
        return self.firings[0].start_s - self.page.start_s


def firings_of(rule: str, time_ns: NDArray[np.int64], *, step_ns: int) -> list[Firing]:
    """Join the instants at which a rule was seen firing, ascending; one missing between two is bridged.

    >>> [(one.start_s, one.end_s) for one in firings_of("A", np.array([0, 60, 180, 600]) * 10**9, step_ns=60 * 10**9)]
    [(0.0, 180.0), (600.0, 600.0)]
    """
    if not time_ns.size:
        return []
    breaks = np.flatnonzero(np.diff(time_ns) > 2 * step_ns)
    firsts = np.concatenate(([0], breaks + 1))
    lasts = np.concatenate((breaks, [time_ns.size - 1]))
    return [
        Firing(rule=rule, start_s=float(time_ns[first] / 1e9), end_s=float(time_ns[last] / 1e9))
        for first, last in zip(firsts, lasts, strict=True)
    ]


def beside(
    pages: Sequence[ReplayedPage], firings: Sequence[Firing], *, slack_s: float = SLACK_S
) -> list[Beside]:
    """Lay pages and firings beside each other, in order of time.

    Args:
        pages: messages of a replay; each incident that opened with a page counts, tickets do not.
        firings: of the rules that page, in any order.
        slack_s: how far apart they may be.

    Returns:
        An entry for each page, with all firings in its time, and one for each firing that is in no page's time.
    """
    ordered = sorted(firings, key=lambda one: (one.start_s, one.rule))
    opened = [
        page
        for page in pages
        if page.reason is PageReason.OPENED and page.severity is Severity.PAGE
    ]
    told: set[int] = set()
    found = []
    for page in opened:
        near = [
            at
            for at, firing in enumerate(ordered)
            if firing.start_s - slack_s <= page.end_s and page.start_s <= firing.end_s + slack_s
        ]
        told.update(near)
        found.append(Beside(page=page, firings=tuple(ordered[at] for at in near)))
    found += [
        Beside(page=None, firings=(firing,)) for at, firing in enumerate(ordered) if at not in told
    ]
    return sorted(found, key=lambda one: one.start_s)
