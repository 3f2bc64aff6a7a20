"""Answers that need more than a look at one row: who is refused first, which statements matter, what all slots come to."""

from __future__ import annotations

from collections.abc import Mapping

from sentinel.core.normalise.labels import LABEL_CHARS_MAX, label_of
from sentinel.core.normalise.postgres.chosen import Chosen
from sentinel.core.normalise.postgres.gains import Gains
from sentinel.core.normalise.postgres.readings import (
    Level,
    Reading,
    Row,
    Rows,
    Transactions,
    number,
    text,
)
from sentinel.core.normalise.postgres.reduce import levels_of, route_of
from sentinel.core.normalise.postgres.shapes import (
    DATABASE,
    REPLICA,
    SLOT,
    STATEMENT,
    STATEMENTS,
    TABLE,
)
from sentinel.core.normalise.postgres.statement_text import statement_of

CONNECTIONS = "connections"
REFUSED = "clients_refused_count"

_HABIT_RATIO = 0.2
_HABIT_TRANSACTIONS = 1000
"""A database of whose first thousand transactions, or all, a fifth was rolled back has clients that end reads so."""


def connections(rows: Rows) -> Reading:
    """How full the server is, and each role and database that has a limit of its own.

    The server is one row of kind `server`; a role at its limit is no full server, and has another signal.
    """
    levels: list[Level] = []
    for row in rows:
        used, room = number(row, "used"), number(row, "room")
        if used is None or room is None or room <= 0:
            continue
        kind, name = text(row, "kind"), text(row, "name")
        if kind == "server":
            levels += [
                Level(CONNECTIONS, "connections_used_ratio", used / room),
                Level(CONNECTIONS, "connections_used_count", used),
                Level(CONNECTIONS, REFUSED, 0.0),
            ]
        elif kind == "role":
            levels.append(
                Level(label_of(f"role {name}"), "role_connections_used_ratio", used / room)
            )
        else:
            levels.append(Level(label_of(name), "database_connections_used_ratio", used / room))
    return Reading(levels=tuple(levels))


def refused() -> Reading:
    """What being refused by a full server says of it: that others are refused as well."""
    return Reading(levels=(Level(CONNECTIONS, REFUSED, 1.0),))


def databases(
    rows: Rows,
    gains: Gains,
    *,
    now_ns: int,
    own: Mapping[str, tuple[int, int]],
    rollbacks_are_errors: bool | None,
) -> Reading:
    """Transactions and gauges of each database.

    Args:
        rows: one a database.
        gains: of counters.
        now_ns: when they were read.
        own: by database, how many transactions of our own were committed and rolled back until now.
        rollbacks_are_errors: None for yes, unless it is the habit of the database's clients.
    """
    transactions: list[Transactions] = []
    levels = levels_of("databases", DATABASE, rows, gains, now_ns=now_ns)
    for row in rows:
        route = route_of(DATABASE, row)
        since = number(row, "since") or 0.0
        committed, rolled_back = number(row, "xact_commit"), number(row, "xact_rollback")
        if committed is None or rolled_back is None:
            continue
        own_committed, own_rolled_back = own.get(text(row, "datname"), (0, 0))

        key = ("databases", route)
        first = gains.of((*key, "commit"), committed, now_ns=now_ns, since=since)
        second = gains.of((*key, "rollback"), rolled_back, now_ns=now_ns, since=since)
        own_first = gains.of((*key, "own_commit"), own_committed, now_ns=now_ns)
        own_second = gains.of((*key, "own_rollback"), own_rolled_back, now_ns=now_ns)
        if first is None or second is None or own_first is None or own_second is None:
            continue
        good = max(0.0, first.value - own_first.value)
        bad = max(0.0, second.value - own_second.value)
        if _counts_as_errors(committed, rolled_back, rollbacks_are_errors):
            failed = bad
        else:
            failed = 0.0
            if good + bad > 0:
                levels.append(Level(route, "rollback_ratio", bad / (good + bad)))
        transactions.append(
            Transactions(
                route=route,
                succeeded=round(good + bad - failed),
                failed=round(failed),
                start_ns=now_ns - round(first.elapsed_s * 1e9),
            )
        )
    return Reading(levels=tuple(levels), transactions=tuple(transactions))


def _counts_as_errors(committed: float, rolled_back: float, asked: bool | None) -> bool:  # noqa: FBT001  # three answers
    if asked is not None:
        return asked
    total = committed + rolled_back
    return not (total >= _HABIT_TRANSACTIONS and rolled_back >= _HABIT_RATIO * total)


def replication(rows: Rows, gains: Gains, *, now_ns: int) -> Reading:
    """Each replica that is connected, and how many; of several with one name the one that lags most."""
    lagging = sorted(rows, key=lambda row: number(row, "replica_lag_bytes") or 0.0, reverse=True)
    levels = levels_of("replication", REPLICA, lagging, gains, now_ns=now_ns)
    lags = [number(row, "replica_lag_bytes") or 0.0 for row in rows]
    seconds = [number(row, "replica_lag_s") or 0.0 for row in rows]
    levels += [
        Level("replication", "replicas_count", float(len(rows))),
        Level("replication", "replicas_lag_max_bytes", max(lags, default=0.0)),
        Level("replication", "replicas_lag_max_s", max(seconds, default=0.0)),
    ]
    return Reading(levels=tuple(levels))


def slots(rows: Rows, gains: Gains, *, now_ns: int) -> Reading:
    """Each slot, and what all of them come to."""
    levels = levels_of("slots", SLOT, rows, gains, now_ns=now_ns)
    idle = [row for row in rows if not number(row, "slot_active_count")]
    at_risk = [row for row in rows if text(row, "wal_status") in ("unreserved", "lost")]
    kept = [number(row, "slot_retained_bytes") or 0.0 for row in idle]
    levels += [
        Level("slots", "slots_count", float(len(rows))),
        Level("slots", "slots_inactive_count", float(len(idle))),
        Level("slots", "slots_at_risk_count", float(len(at_risk))),
        Level("slots", "inactive_slot_retained_bytes", max(kept, default=0.0)),
    ]
    return Reading(levels=tuple(levels))


def tables(rows: Rows, gains: Gains, chosen: Chosen, *, now_ns: int) -> Reading:
    """The tables of one database that have the most dead rows or are read most, and the dead rows of all of them."""
    ranked = [route_of(TABLE, row) for row in rows]
    shown = chosen.of(ranked, now_ns=now_ns)
    kept = [row for row, route in zip(rows, ranked, strict=True) if route in shown]
    levels = levels_of("tables", TABLE, kept, gains, now_ns=now_ns)
    for row in rows[:1]:
        live, dead = number(row, "all_live") or 0.0, number(row, "all_dead") or 0.0
        route = label_of(text(row, "datname"))
        levels.append(Level(route, "dead_rows_count", dead))
        if live + dead > 0:
            levels.append(Level(route, "dead_rows_ratio", dead / (live + dead)))
    return Reading(levels=tuple(levels))


class Statements:
    """The statements that took most of the time, by database and `queryid`.

    First `choose`, then `learn` the texts of those that are `unknown`, then `read`: a series has its text from its first
    value on, because the text is part of its name.
    """

    def __init__(self, count: int) -> None:
        self._chosen = Chosen(count)
        self._texts: dict[str, str] = {}
        self._ids: dict[str, str] = {}
        self._levels: list[Level] = []
        self._missing = ""

    @property
    def unknown(self) -> tuple[int, ...]:
        """`queryid`s that were chosen and have no text yet."""
        return tuple(sorted(int(one) for one in set(self._ids.values()) - self._texts.keys()))

    def choose(self, rows: Rows, gains: Gains, *, now_ns: int) -> None:
        """Take in an answer, and choose which of its statements have series."""
        # All are counted, so that one that begins to matter is known from its first minute on.
        keyed = {_identity(row): row for row in rows if row.get("queryid") is not None}
        levels = levels_of(
            "statements",
            STATEMENT,
            [{**row, "key": key} for key, row in keyed.items()],
            gains,
            now_ns=now_ns,
        )
        spent = {one.route: one.value for one in levels if one.signal == "exec_time_ratio"}
        # Before anything was gained the order of the answer says what matters: time in all.
        ranked = sorted(keyed, key=lambda key: -spent.get(key, 0.0))
        shown = self._chosen.of(ranked, now_ns=now_ns)
        self._ids = {key: text(row, "queryid") for key, row in keyed.items() if key in shown}
        ids = set(self._ids.values())
        self._texts = {name: one for name, one in self._texts.items() if name in ids}
        self._levels = [one for one in levels if one.route in shown]
        self._levels += levels_of("statements", STATEMENTS, rows[:1], gains, now_ns=now_ns)
        hidden = any(row.get("queryid") is None for row in rows)
        self._missing = "statements of other roles are hidden" if hidden else ""

    def learn(self, rows: Rows) -> None:
        """Take in the texts of `unknown`, of rows with `queryid` and `query`; one that is gone meanwhile has none."""
        for queryid in self.unknown:
            self._texts[str(queryid)] = ""
        for row in rows:
            self._texts[text(row, "queryid")] = statement_of(text(row, "query"))

    def read(self) -> Reading:
        """What was chosen, and all statements together."""
        named = [
            one._replace(route=self._named(one.route))
            for one in self._levels
            if self._ids.get(one.route) in self._texts or one.route not in self._ids
        ]
        return Reading(levels=tuple(named), missing=self._missing)

    def _named(self, key: str) -> str:
        queryid = self._ids.get(key)
        if queryid is None:
            return key
        database, _, identity = key.rpartition(" ")
        head = f"{database} {self._texts[queryid]}".rstrip()
        return f"{head[: LABEL_CHARS_MAX - len(identity) - 1]} {identity}"


def _identity(row: Row) -> str:
    """Database and id as `to_hex(queryid)` gives it: a number of 19 digits may look like a card's."""
    return label_of(f"{text(row, 'datname')} #{int(text(row, 'queryid')) % 2**64:x}")
