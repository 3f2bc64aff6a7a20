"""Exports as they are asked for: a period of a tenant's own part of the audit trail.

A period is from a moment on to before another; a date is its first moment in UTC, so `2026-10-01` to `2026-11-01` is October.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain import identity
from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.transfer import check_key

PERIOD_DAYS_MAX: Final = 31
_FIELDS: Final = ("from", "to")
# As RFC 3339 has it, to the microsecond, which is what is kept; or a date.
TIME: Final = (
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2}))?"
)
_TIME: Final = re.compile(TIME)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ExportState(StrEnum):
    """Where an export stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    # It was done, and its file is no longer kept.
    EXPIRED = "expired"


class ExportFailure(StrEnum):
    """Why there is no export; fit to be a metric's label."""

    AUDIT_BEHIND = "audit_behind"
    # Of versions before: an export has as many as its period now.
    TOO_MANY_ENTRIES = "too_many_entries"
    TOO_LARGE = "too_large"
    TOOK_TOO_LONG = "took_too_long"
    BROKEN_TRAIL = "broken_trail"
    GIVEN_UP = "given_up"


WORDS: Final[Mapping[ExportFailure, str]] = {
    ExportFailure.AUDIT_BEHIND: "the audit has not come to the period's end in time; ask again later",
    ExportFailure.TOO_MANY_ENTRIES: "the period has more entries than one export may hold; ask for a shorter one",
    ExportFailure.TOO_LARGE: "the period's entries are larger than one export may be; ask for a shorter one",
    ExportFailure.TOOK_TOO_LONG: "a part of it took longer than one may; ask again later",
    ExportFailure.BROKEN_TRAIL: "the audit trail could not be read",
    ExportFailure.GIVEN_UP: "it was begun several times and never came to its end; ask again later",
}
"""What whoever asked is told of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedExport:
    """An export that was asked for; both times are whole microseconds."""

    tenant: str
    idempotency_key: str
    start: datetime
    end: datetime

    @property
    def export_id(self) -> uuid.UUID:
        """Its id, the same however often it is asked for."""
        return identity.export_id(tenant=self.tenant, idempotency_key=self.idempotency_key)

    @property
    def fingerprint(self) -> str:
        """What differs when the same key is used for another period."""
        return identity.mark(
            "export",
            self.tenant,
            self.idempotency_key,
            self.start.isoformat(),
            self.end.isoformat(),
        )


def parse_export(*, tenant: str, idempotency_key: str, body: object, now: datetime) -> AskedExport:
    """Return the export that a decoded JSON body `{"from", "to"}` asks for.

    Raises:
        InvalidTransferError: a header or field is missing, unknown or wrong, the period is empty or longer than
            PERIOD_DAYS_MAX, or it is not over at `now`; of wrong fields all are named, the first by the error itself.
    """
    check_key(idempotency_key)
    if not isinstance(body, Mapping):
        raise _invalid(code="invalid_body", field="", message="The body must be a JSON object.")
    unknown = sorted(str(name) for name in body.keys() - set(_FIELDS))
    if unknown:
        raise _invalid(
            code="unknown_field",
            field=unknown[0][:64],
            message="The body has a field that is not known.",
        )
    times: list[datetime] = []
    wrong: list[InvalidTransferError] = []
    for name in _FIELDS:
        try:
            times.append(_time(body.get(name), name))
        except InvalidTransferError as error:
            wrong.append(error)
    if wrong:
        raise _invalid(
            code=wrong[0].code, field=wrong[0].field, message=wrong[0].message, others=wrong[1:]
        )
    start, end = times
    if end <= start:
        raise _field(name="to", message="to must be later than from.")
    if end - start > timedelta(days=PERIOD_DAYS_MAX):
        raise _field(name="to", message=f"An export is of {PERIOD_DAYS_MAX} days at most.")
    if end > now:
        raise _field(
            name="to", message="to must not lie in the future: what is exported is complete."
        )
    return AskedExport(tenant=tenant, idempotency_key=idempotency_key, start=start, end=end)


def _time(value: object, name: str) -> datetime:
    message = f"{name} must be a time with its zone, such as 2026-11-01T08:00:00Z, or a date, such as 2026-11-01."
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise _field(name=name, message=message)
    try:
        moment = datetime.fromisoformat(value.upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        moment = moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _field(name=name, message=message) from None
    if moment < _EPOCH:
        raise _field(name=name, message=f"{name} must not lie before 1970.")
    return moment


def _field(*, name: str, message: str) -> InvalidTransferError:
    return _invalid(code="invalid_field", field=name, message=message)


def _invalid(
    *, code: str, field: str, message: str, others: list[InvalidTransferError] | None = None
) -> InvalidTransferError:
    return InvalidTransferError(code=code, field=field, message=message, others=others or ())
