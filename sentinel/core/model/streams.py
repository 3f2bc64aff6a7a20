"""Who a metric's numbers come from: two of them may be compared only when they are of one stream."""

from __future__ import annotations


class PointStream(tuple[object, ...]):
    """Opaque, hashable identity of a metric stream (resource, scope, name, unit, type, attributes)."""

    __slots__ = ()

    @property
    def family(self) -> tuple[object, ...]:
        """What the streams of one metric of one process share: resource, scope, name and unit."""
        return self[:4]
