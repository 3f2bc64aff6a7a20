"""What a query's rows come to: levels of gauges, and counts of transactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Row = Mapping[str, object]
Rows = Sequence[Row]


class Level(NamedTuple):
    """One gauge's value.

    Attributes:
        route: where in the server, such as a database or `connections`.
        signal: the gauge's name, unit at its end.
        value: finite.
    """

    route: str
    signal: str
    value: float


class Transactions(NamedTuple):
    """A database's transactions since the last answer, without our own.

    Attributes:
        route: the database.
        succeeded, failed: how many.
        start_ns: when that last answer was.
    """

    route: str
    succeeded: int
    failed: int
    start_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one answer came to.

    Attributes:
        levels: hold until the query is asked again.
        transactions: counted once.
        missing: what could not be said for want of rights, "" for nothing.
    """

    levels: tuple[Level, ...] = ()
    transactions: tuple[Transactions, ...] = ()
    missing: str = ""


def number(row: Row, column: str) -> float | None:
    """The value of a column, None where it is NULL or not there."""
    value = row.get(column)
    return None if value is None else float(value)  # type: ignore[arg-type]


def text(row: Row, column: str) -> str:
    """The text of a column, "" where it is NULL or not there."""
    value = row.get(column)
    return "" if value is None else str(value)
