"""Which metric a sample belongs to, and what it says of it: the suffixes of names, by type."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from sentinel.core.normalise.prometheus.placing import MetricType


class Role(IntEnum):
    """What a sample is of its metric."""

    VALUE = 0
    BUCKET = 1
    COUNT = 2
    SUM = 3
    CREATED = 4
    QUANTILE = 5


class Belonging(NamedTuple):
    """Where a sample belongs.

    Attributes:
        family: its metric, as it is described.
        type: of that.
        role: what the sample is of it.
        name: the sample's own.
    """

    family: str
    type: MetricType
    role: Role
    name: str


_ROLES: Mapping[MetricType, Mapping[str, Role]] = {
    MetricType.COUNTER: {"": Role.VALUE, "_total": Role.VALUE, "_created": Role.CREATED},
    MetricType.GAUGE: {"": Role.VALUE},
    MetricType.UNKNOWN: {"": Role.VALUE},
    MetricType.STATESET: {"": Role.VALUE},
    MetricType.INFO: {"": Role.VALUE, "_info": Role.VALUE},
    MetricType.HISTOGRAM: {
        "_bucket": Role.BUCKET,
        "_count": Role.COUNT,
        "_sum": Role.SUM,
        "_created": Role.CREATED,
    },
    MetricType.GAUGE_HISTOGRAM: {
        "_bucket": Role.BUCKET,
        "_gcount": Role.COUNT,
        "_gsum": Role.SUM,
        "_count": Role.COUNT,
        "_sum": Role.SUM,
    },
    MetricType.SUMMARY: {
        "": Role.QUANTILE,
        "_count": Role.COUNT,
        "_sum": Role.SUM,
        "_created": Role.CREATED,
    },
}
_SUFFIXES = ("_total", "_bucket", "_count", "_sum", "_created", "_info", "_gcount", "_gsum")


def belonging_of(name: str, types: Mapping[str, MetricType]) -> Belonging:
    """The metric a sample of this name belongs to, of those that are described.

    >>> belonging_of("x_seconds_bucket", {"x_seconds": MetricType.HISTOGRAM}).role.name
    'BUCKET'
    >>> belonging_of("x_count", {}).type.value
    'unknown'
    """
    kind = types.get(name)
    if kind is not None and "" in _ROLES[kind]:
        return Belonging(name, kind, _ROLES[kind][""], name)
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            family = name[: -len(suffix)]
            kind = types.get(family)
            if kind is not None and suffix in _ROLES[kind]:
                return Belonging(family, kind, _ROLES[kind][suffix], name)
    return Belonging(name, MetricType.UNKNOWN, Role.VALUE, name)
