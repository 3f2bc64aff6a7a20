"""The audit trail of a database that was restored: whole, the one whose checkpoints the archive has, and what the books say."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, Final

from sentinel.reference.ledger.audit import rows
from sentinel.reference.ledger.audit.compare import compare
from sentinel.reference.ledger.audit.recorder import SETTINGS
from sentinel.reference.ledger.audit.shelf import Objects, Shelf
from sentinel.reference.ledger.audit.verify import Keys, verify_database
from sentinel.reference.ledger.wire import postgres
from sentinel.reference.ledger.wire.config import PostgresConfig

_PATIENT: Final = {
    **SETTINGS,
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
# For so long an entry may have been without the witness's word when the log ended.
_UNWITNESSED_US: Final = 600_000_000
_SHOWN_COUNT: Final = 20


async def verify_restored(config: PostgresConfig, keys: Keys, archive: Objects) -> dict[str, Any]:
    """Verify the trail in a database that nobody writes to.

    Returns:
        `whole`; what was counted and found; `unrecorded_count`, rows that were committed last and that the trail, which comes
        after, had not come to; `archived_size`, of how many entries the largest checkpoint in the archive is, and
        `lost_count`, how many of these did not come back. A trail that was not begun is not whole.
    """
    async with (
        postgres.session(
            config, application_name="ledger-drill", settings=dict(_PATIENT)
        ) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        last = await rows.last_entry(connection)
        size = 0 if last is None else last.sequence + 1
        # Of a point in the past the archive has later ones, and they tell nothing of it.
        kept, archived_size = await asyncio.to_thread(
            Shelf(archive, keys.log.name).some, size_max=size
        )
        report, books = await verify_database(
            connection,
            keys,
            kept,
            unwitnessed_since_us=0 if last is None else last.committed_us - _UNWITNESSED_US,
        )
        compared = await compare(connection, report, books, later=None)
    return {
        "whole": report.whole and size > 0,
        "entries_count": report.entries_count,
        "witnessed_size": report.witnessed_size,
        "checkpoints_count": report.checkpoints_count,
        "archived_size": archived_size,
        "lost_count": max(archived_size - size, 0),
        "rows_count": compared.rows_count,
        "unrecorded_count": compared.unrecorded_count,
        "balances_compared": compared.balances_compared,
        "gaps": [{"place": place, "reason": reason} for place, reason in report.gaps],
        "counts": {kind.value: count for kind, count in sorted(report.counts.items())},
        "findings": [asdict(finding) for finding in report.findings[:_SHOWN_COUNT]],
    }
