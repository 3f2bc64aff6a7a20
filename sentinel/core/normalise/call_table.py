"""What the numbers of decoded spans mean, and how rows of them become columns.

A class is a distinct (place, failed). Requests of a few spans are many, and some twenty calls of numpy on fifty values
cost more than the spans themselves; so a decoder gives rows, and whoever has several requests' makes columns of them at
once. A decoder that forgets its classes begins a new table; the rows that are still about keep the old one.

Rows may be made by one thread while another makes columns of earlier ones: classes are only ever added.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sentinel.core.model import CallColumns, CallExemplar, CallRows, Scope

NO_SERIES = -1
"""The class of spans that are no call."""

_EXEMPLARS_MAX = 256
_NAMED_FOR_NS = 10 * 10**9
_TRACE_ID_BYTES = 16


class CallTable:
    """The classes a decoder has met, and which calls were named lately."""

    def __init__(self) -> None:
        self._scopes: list[Scope] = []
        self._scope_number: dict[Scope, int] = {}
        self._class_scope = array("i")
        self._class_error = array("b")
        # How slow the slowest call was that was named lately, by failed or not and by place.
        self._named_s = np.zeros((2, 0))
        self._named_since_ns = 0

    def __len__(self) -> int:
        return len(self._class_scope)

    def learn(self, scope: Scope, *, error: bool) -> int:
        """The number of a new class."""
        number = self._scope_number.get(scope)
        if number is None:
            number = self._scope_number[scope] = len(self._scopes)
            self._scopes.append(scope)
        self._class_scope.append(number)
        self._class_error.append(error)
        return len(self._class_error) - 1

    def columns(self, parts: Sequence[CallRows], *, now_ns: int) -> CallColumns:
        """The calls of all parts, which must be of this table, in their order.

        Args:
            parts: at least one call in all.
            now_ns: when the last of them was received.
        """
        # Not only "later than": a clock that stepped ahead and back must not silence exemplars until then.
        if not 0 <= now_ns - self._named_since_ns < _NAMED_FOR_NS:
            self._named_s[:] = 0.0
            self._named_since_ns = now_ns
        classes = np.frombuffer(b"".join([part.number for part in parts]), np.int32)
        end_ns = np.frombuffer(b"".join([part.end_ns for part in parts]), np.int64)
        duration_s = np.frombuffer(b"".join([part.took_ns for part in parts]), np.int64) / 1e9
        # Copied at once, because an array that is looked at cannot grow, and another thread may let it.
        number = np.frombuffer(self._class_scope.tobytes(), np.int32)[classes]
        error = np.frombuffer(self._class_error.tobytes(), np.bool_)[classes]
        # What `np.unique` finds, by marking: the places are few and known.
        place = np.zeros(int(np.maximum.reduce(number)) + 1, np.int32)
        place[number] = 1
        distinct = place.nonzero()[0]
        place[distinct] = np.arange(len(distinct), dtype=np.int32)
        scope_index = place[number]
        worth_naming = self._worth_naming(number, end_ns, duration_s, error)
        trace_ids = b"".join([part.trace_ids for part in parts]) if worth_naming else b""
        return CallColumns(
            scopes=tuple([self._scopes[each] for each in distinct.tolist()]),
            scope_index=scope_index,
            end_ns=end_ns,
            duration_s=duration_s,
            error=error,
            exemplars=tuple(
                [
                    CallExemplar(
                        scope_index=int(scope_index[row]),
                        trace_id=trace_ids[
                            row * _TRACE_ID_BYTES : (row + 1) * _TRACE_ID_BYTES
                        ].hex(),
                        end_ns=int(end_ns[row]),
                        duration_s=float(duration_s[row]),
                        error=bool(error[row]),
                    )
                    for row in worth_naming
                ]
            ),
        )

    def _worth_naming(
        self,
        number: NDArray[np.int32],
        end_ns: NDArray[np.int64],
        duration_s: NDArray[np.float64],
        error: NDArray[np.bool_],
    ) -> list[int]:
        """Rows of calls slower than any of their place and outcome that was named in the last seconds.

        So each window's slowest call and slowest failure of a place are named, and an ordinary call costs nothing.
        Where none was named lately the first is named too: the first failure tells when failing began.
        """
        if self._named_s.shape[1] < len(self._scopes):
            grown = np.zeros((2, 2 * len(self._scopes)))
            grown[:, : self._named_s.shape[1]] = self._named_s
            self._named_s = grown
        outcome = error.view(np.int8)
        # At least equal at first: a place whose calls all take no time has its exemplar, too.
        named = self._named_s[outcome, number]
        slower = np.flatnonzero((duration_s > named) | (named == 0.0))
        if not len(slower):
            return []
        group = 2 * number[slower] + outcome[slower]
        order = np.lexsort((duration_s[slower], group))
        slowest = slower[order[_last_of_each(group[order])]][:_EXEMPLARS_MAX]
        rows: set[int] = set(slowest.tolist())
        fresh = np.flatnonzero(named == 0.0)
        if len(fresh):
            group = 2 * number[fresh] + outcome[fresh]
            order = np.lexsort((-end_ns[fresh], group))
            rows.update(fresh[order[_last_of_each(group[order])]][:_EXEMPLARS_MAX].tolist())
        self._named_s[outcome[slowest], number[slowest]] = duration_s[slowest]
        return sorted(rows)


def _last_of_each(group: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.concatenate((group[1:] != group[:-1], [True]))
