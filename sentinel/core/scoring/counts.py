"""How much of its spread a count has at the time of day: known from what is usual then."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sentinel.core.scoring.settings import ScoringSettings
from sentinel.core.scoring.state import Hourly

_Halves = NDArray[np.float32]

_BUSIEST = np.float32(10)
"""A count spreads at most so many times as much as on average."""


def ratios_of_counts(usual: _Halves, facts: Hourly, settings: ScoringSettings) -> _Halves:
    """The same share for counts: their variance grows with what is usual, and with its square, from a small part of its own.

    The first is that of counting calls that come in clumps, the second that of a habit that is a tenth more or less; together
    they are the negative binomial's. Known from the profile, minute by minute, where learning it for each hour takes
    weeks and ends at the hour's edge; how large it is all in all is learnt, as the scale.
    """
    busy: _Halves = usual / facts.count_mean
    np.maximum(busy, 0, out=busy)
    np.minimum(busy, _BUSIEST, out=busy)
    unknown = np.isnan(busy)
    if np.count_nonzero(unknown):
        busy[unknown] = 1
    share: _Halves = busy * np.float32(settings.count_square_share)
    share += np.float32(settings.count_share)
    share *= busy
    share += np.float32(1.0 - settings.count_share - settings.count_square_share)
    return np.sqrt(share, out=share)
