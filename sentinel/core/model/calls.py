"""Calls: as columns, which is what is reduced, and as the rows of one request, of which columns are made.

A request's rows are few, and columns of a few values cost more than the values; rows of several requests are made
columns of together. They take no more memory than the columns will.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model.series import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class CallExemplar:
    """One call worth naming on a page.

    Attributes:
        scope_index: position in the batch's `scopes`.
        trace_id: 32 lower-case hexadecimal digits.
        end_ns: when the call ended.
        duration_s: how long it took.
        error: whether it failed.
    """

    scope_index: int
    trace_id: str
    end_ns: int
    duration_s: float
    error: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CallColumns:
    """n calls with an outcome and a duration, as columns.

    Attributes:
        scopes: the distinct places of this batch.
        scope_index: int32[n], position in `scopes`.
        end_ns: int64[n], when each call ended (Unix).
        duration_s: float64[n], finite and >= 0; NaN where it is not known, which only a complete log may say.
        error: bool[n].
        exemplars: the slowest and the failed calls of each scope, a few at most.
        complete: True when they are of a log that tells of every call of its stages, such as a gateway's. It stands
            for the spans of those stages, which may be sampled.
    """

    scopes: tuple[Scope, ...]
    scope_index: NDArray[np.int32]
    end_ns: NDArray[np.int64]
    duration_s: NDArray[np.float64]
    error: NDArray[np.bool_]
    exemplars: tuple[CallExemplar, ...] = ()
    complete: bool = False


class RowTable(Protocol):
    """What the numbers of rows mean; of the decoder that made them."""

    def columns(self, parts: Sequence[CallRows], *, now_ns: int) -> CallColumns:
        """The calls of all parts, at least one in all, in their order; `now_ns` is when the last was received."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRows:
    """n calls of one request.

    Attributes:
        table: what `number` goes by.
        number: int32[n], a place and whether the call failed, as the table numbers them.
        end_ns: int64[n], when each call ended (Unix).
        took_ns: int64[n], how long it took, >= 0.
        trace_ids: 16 bytes a call.
    """

    table: RowTable
    number: array[int]
    end_ns: array[int]
    took_ns: array[int]
    trace_ids: bytes

    def __len__(self) -> int:
        return len(self.number)
