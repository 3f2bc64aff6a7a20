"""Which series are exposed as metrics: the routes asked for, and the strangest of the others."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import SeriesKey
from sentinel.web.sources import LatestVerdicts

PATTERN_LENGTH_MAX = 200
_REMEMBERED_MAX = 100_000


class SeriesScope:
    """Chooses positions of a window's series.

    A pattern is matched against `service stage route`, as a page names them; `*` stands for any text,
    and nothing else is special: route templates are full of brackets and dots.
    """

    def __init__(self, patterns: Sequence[str], *, strangest_count: int) -> None:
        parts = (".*".join(re.escape(part) for part in one.split("*")) for one in patterns)
        self._pattern = re.compile("|".join(f"(?:{part})" for part in parts)) if patterns else None
        self._strangest_count = strangest_count
        self._remembered: dict[SeriesKey, bool] = {}

    def choose(self, latest: LatestVerdicts) -> NDArray[np.intp]:
        """Positions to show, ascending. Series without a score are the least strange."""
        count = len(latest.keys)
        chosen = np.zeros(count, dtype=bool)
        if self._pattern is not None:
            chosen[:] = [self._is_asked_for(key) for key in latest.keys]
        others = np.flatnonzero(~chosen)
        if len(others) > self._strangest_count:
            score = latest.verdicts.score[0][others]
            if latest.horizons is not None:
                score = np.fmax(score, np.fmax.reduce(latest.horizons[:, -1], axis=0)[others])
            rank = np.where(np.isnan(score), -np.inf, score)
            # Stable, so that series of equal score do not change places from scrape to scrape.
            others = others[np.argsort(-rank, kind="stable")[: self._strangest_count]]
        chosen[others] = True
        return np.flatnonzero(chosen)

    def _is_asked_for(self, key: SeriesKey) -> bool:
        known = self._remembered.get(key)
        if known is None:
            assert self._pattern is not None
            name = f"{key.service} {key.stage} {key.route}"
            known = self._pattern.fullmatch(name) is not None
            if len(self._remembered) >= _REMEMBERED_MAX:
                self._remembered.clear()
            self._remembered[key] = known
        return known
