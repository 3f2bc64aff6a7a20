"""Which of the ways to expect a series is used for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sentinel.core.model import SeriesKey, SeriesPattern


class Model(StrEnum):
    """Ways to expect a series.

    PROFILE is the median over the same time on earlier days and weeks; FOURIER a robust curve of day and week with
    its jobs; MSTL the decomposition of statsmodels.
    """

    PROFILE = "profile"
    FOURIER = "fourier"
    MSTL = "mstl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRule(SeriesPattern):
    """The model of the series that the patterns match."""

    model: Model


def models_of(rules: Sequence[ModelRule], keys: Iterable[SeriesKey]) -> list[Model]:
    """The model of each series: that of the first rule which matches it, else the profile.

    >>> rules = [ModelRule(model=Model.FOURIER, route="GET /*"), ModelRule(model=Model.MSTL, stage="edge")]
    >>> keys = [SeriesKey("a", "edge", "GET /x", "traffic"), SeriesKey("a", "db", "query", "traffic")]
    >>> [str(model) for model in models_of(rules, keys)]
    ['fourier', 'profile']
    """
    return [
        next((rule.model for rule in rules if rule.matches(key)), Model.PROFILE) for key in keys
    ]
