"""Passes over everything: each looks at what came since the last one, and a full pass, made in slices beside them, at all of it.

What an incremental pass finds stays found until a full pass has looked again. A full pass is made sooner, at most every
`recheck_s`, while anything drifts: so what was mended is said to agree.

Whoever is away costs the checks that need it, and no others. What a pass has looked at is noted when it is at its end: of one that
breaks off nothing is, and the next looks at the same again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.reconcile import taken
from sentinel.reference.ledger.reconcile.comparing import Comparer, Seen
from sentinel.reference.ledger.reconcile.config import ReconcileConfig
from sentinel.reference.ledger.reconcile.marks import Mark
from sentinel.reference.ledger.reconcile.report import (
    Check,
    Report,
    Result,
    Totals,
    merged,
    worst,
)
from sentinel.reference.ledger.reconcile.rounds import Round, SliceSizes
from sentinel.reference.ledger.wire.config import NatsConfig, PostgresConfig
from sentinel.reference.ledger.wire.events import EVENTS_STREAM
from sentinel.reference.ledger.wire.nats import DEAD_STREAM, operator, stream_name
from sentinel.reference.ledger.wire.streams import read_letters, read_up_to, stream_state

ANALYTICS: Final = "analytics"
# When a full pass that could not look at everything is made again.
_OWED_S: Final = 3600.0
_CANCELED: Final = "57014"
_LETTERS_COUNT_MAX: Final = 10_000
# The stream of dead letters is full long before.
_LETTERS_KNOWN_MAX: Final = 1_000_000


class Reconciler:
    """Holds stream, database, analytics, audit trail and replica against each other."""

    def __init__(
        self,
        config: ReconcileConfig,
        *,
        nats: NatsConfig,
        postgres: PostgresConfig,
        replica: PostgresConfig | None = None,
    ) -> None:
        self._config = config
        self._nats = nats
        self._postgres = postgres
        self._comparer = Comparer(config, postgres=postgres, replica=replica)
        self._marks = {cohort: Mark() for cohort in config.cohorts}
        self._letters: set[tuple[str, int]] = set()
        self._letters_read = 0
        self._drifted: list[Result] = []
        # What incremental passes found since the full one began.
        self._fresh: list[Result] = []
        self._round: Round | None = None
        self._full_at: float | None = None

    async def once(self) -> Report:
        """Look at everything, and wait a little for analytics and the audit to have read and recorded what is there.

        Raises:
            UnavailableError: the database is away.
            PermanentError: the database refused.
        """
        report = await self._pass(slices_s=math.inf)
        late = {one.check: one for one in report.results}
        deadline = time.monotonic() + self._config.analytics_wait_s
        while True:
            changed = [*await self._judge_events(), *await self._judge_audit()]
            for one in changed:
                # What drifted before is no longer among what is judged.
                late[one.check] = merged([replace(late[one.check], reason=""), one])[0]
            waits = any(one.reason and not one.absent for one in changed)
            if not waits or time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.2)
        return replace(report, results=[late[check] for check in Check if check in late])

    async def run(self) -> Report:
        """Make the next pass and return what is known after it.

        Raises:
            UnavailableError: the database is away; the same stretch is looked at again.
            PermanentError: the database refused.
        """
        return await self._pass(slices_s=self._config.slices_s)

    async def _pass(self, *, slices_s: float) -> Report:
        began = time.monotonic()
        self._comparer.replica_away = ""
        self._begin_round()
        seen = await self._read_streams()
        marks = {cohort: mark.copy() for cohort, mark in self._marks.items()}
        results: list[Result] = []
        totals = Totals()
        for cohort in self._config.cohorts:
            found, sums = await self._comparer.since(cohort, marks[cohort], seen)
            results += found
            totals += sums
        if not seen.away:
            results += await self._compare_letters(marks)
            await self._note_suspects(marks)
        # Only now: of a pass that breaks off, all is looked at again.
        self._marks = marks
        known = merged(results)
        self._fresh = _kept(worst(known, self._fresh))
        trouble = await self._slices(seen, until=began + slices_s, patient=slices_s < math.inf)
        return self._report(known, totals, seen, trouble=trouble, began=began)

    def _report(
        self, known: list[Result], totals: Totals, seen: Seen, *, trouble: str, began: float
    ) -> Report:
        full = self._round is not None and self._round.done
        found = [] if self._round is None else self._round.found
        if self._round is not None and full:
            known = worst(found, known, self._fresh)
            self._full_at, self._comparer.owed = began, self._round.owed
            self._round, self._fresh = None, []
        else:
            known = worst(known, found, self._drifted)
        self._drifted = _kept(known)
        return Report(
            full=full,
            results=known,
            totals=totals,
            totals_known=not seen.away,
            away="; ".join(one for one in (seen.away, self._comparer.replica_away) if one),
            trouble=trouble,
        )

    def _begin_round(self) -> None:
        """Begin a full pass when it is time for one."""
        if self._round is not None:
            return
        every_s = self._config.full_every_s
        if self._drifted:
            every_s = min(every_s, self._config.recheck_s)
        elif self._comparer.owed:
            every_s = min(every_s, max(self._config.recheck_s, _OWED_S))
        if self._full_at is None or time.monotonic() - self._full_at >= every_s:
            sizes = SliceSizes(
                accounts_count_max=self._config.accounts_count_max,
                entries_count_max=self._config.entries_count_max,
                transactions_count_max=self._config.transactions_count_max,
            )
            self._round = Round(cohorts=list(self._config.cohorts), sizes=sizes)
            self._fresh = []

    async def _slices(self, seen: Seen, *, until: float, patient: bool) -> str:
        """Go on with the full pass; returns why it could not be, if it goes on with the next pass."""
        current = self._round
        if current is None:
            return ""
        try:
            async with self._comparer.session(self._postgres) as connection:
                while not current.done:
                    await self._comparer.slice(connection, current, self._marks, seen)
                    if time.monotonic() >= until:
                        break
        except UnavailableError as error:
            if error.code == _CANCELED:
                current.smaller()
            if not patient:
                raise
            return str(error)
        return ""

    async def _read_streams(self) -> Seen:
        try:
            async with operator(self._nats, name="reconcile") as (client, _):
                states = {
                    cohort: await stream_state(client, stream_name(cohort))
                    for cohort in self._config.cohorts
                }
                read = await read_up_to(client, EVENTS_STREAM, ANALYTICS)
        except UnavailableError as error:
            return Seen(streams={}, away=f"NATS is away: {error}")
        return Seen(streams=states, read=read)

    async def _judge_events(self) -> list[Result]:
        if not any(mark.suspects.ids for mark in self._marks.values()):
            return []
        seen = await self._read_streams()
        if seen.away:
            return [Result(check=Check.EVENTS, reason=seen.away)]
        await self._note_suspects(self._marks)
        return merged(
            [
                await self._comparer.judge_events(cohort, mark, seen.read)
                for cohort, mark in self._marks.items()
            ]
        )

    async def _judge_audit(self) -> list[Result]:
        return merged(
            [
                await self._comparer.judge_audit(cohort, mark)
                for cohort, mark in self._marks.items()
                if mark.audited.looks
            ]
        )

    async def _note_suspects(self, marks: dict[int, Mark]) -> None:
        """Note, after the look, up to where analytics must read: what had left the outbox is on the stream by now."""
        fresh = [
            mark.suspects
            for mark in marks.values()
            if mark.suspects.ids and mark.suspects.up_to is None
        ]
        if not fresh:
            return
        try:
            async with operator(self._nats, name="reconcile") as (client, _):
                last = (await stream_state(client, EVENTS_STREAM)).last
        except UnavailableError:
            return  # the next pass notes it: later is not wrong
        for suspects in fresh:
            suspects.up_to = last

    async def _compare_letters(self, marks: dict[int, Mark]) -> list[Result]:
        """Look for the messages that were given up in the stream of dead letters, which is read after the books."""
        dead = {
            cohort: (stream_name(cohort), mark.numbers.dead)
            for cohort, mark in marks.items()
            if not all((stream_name(cohort), one) in self._letters for one in mark.numbers.dead)
        }
        if not dead:
            return []
        try:
            async with operator(self._nats, name="reconcile") as (client, _):
                letters = await read_letters(
                    client, DEAD_STREAM, after=self._letters_read, count_max=_LETTERS_COUNT_MAX
                )
        except UnavailableError as error:
            return [Result(check=Check.STREAM, reason=f"dead letters cannot be read: {error}")]
        results = taken.compare_letters(dead, letters, self._letters)
        self._letters |= letters.of
        self._letters_read = letters.read_up_to
        if len(self._letters) > _LETTERS_KNOWN_MAX:
            self._letters, self._letters_read = set(), 0
        return results


def _kept(results: Sequence[Result]) -> list[Result]:
    """Return what drifts until all was looked at again; what a stream lost is remembered with the stream's own mark."""
    return [one for one in results if one.drift_count and one.check is not Check.STREAM]
