"""Goal: an export is asked for by a period that is over and not too long, and whatever else is asked is refused by its field."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sentinel.reference.ledger.domain import InvalidTransferError
from sentinel.reference.ledger.domain.exports import (
    WORDS,
    AskedExport,
    ExportFailure,
    parse_export,
)

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def asked(start: object, end: object, *, key: str = "k", **more: object) -> AskedExport:
    return parse_export(
        tenant="shop", idempotency_key=key, body={"from": start, "to": end, **more}, now=NOW
    )


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-10-01", "2026-11-01", ("2026-10-01T00:00:00+00:00", "2026-11-01T00:00:00+00:00")),
        ("2026-11-01T08:00:00+02:00", "2026-11-01t06:00:00.5z", ("2026-11-01T06:00:00+00:00", "2026-11-01T06:00:00.500000+00:00")),
        ("2026-11-30 11:59:59Z", "2026-11-30T12:00:00Z", ("2026-11-30T11:59:59+00:00", "2026-11-30T12:00:00+00:00")),
    ],
)  # fmt: skip
def test_a_period_is_of_dates_or_of_times_with_their_zone(
    start: str, end: str, expected: tuple[str, str]
) -> None:
    found = asked(start, end)
    assert (found.start.isoformat(), found.end.isoformat()) == expected


@pytest.mark.parametrize(
    ("start", "end", "fields"),
    [
        (None, None, ["from", "to"]),
        (17, "2026-11-01", ["from"]),
        ("2026-11-01T08:00:00", "2026-11-02", ["from"]),  # a time without its zone could mean any
        ("20261101", "2026-W44-1", ["from", "to"]),
        ("2026-02-30", "2026-11-01", ["from"]),
        ("0000-01-01", "2026-11-01", ["from"]),
        ("1969-12-31", "2026-11-01", ["from"]),
        ("0001-01-01T00:00:00+23:59", "2026-11-01", ["from"]),
        ("2026-11-01", "2026-11-01", ["to"]),
        ("2026-11-02", "2026-11-01", ["to"]),
        ("2026-10-01", "2026-11-02", ["to"]),
        ("2026-11-30", "2026-12-01", ["to"]),
        ("2026-11-01" + " " * 9000, "2026-11-02", ["from"]),
    ],
)
def test_what_is_no_period_is_refused_by_its_field(
    start: object, end: object, fields: list[str]
) -> None:
    with pytest.raises(InvalidTransferError) as caught:
        asked(start, end)
    assert [caught.value.field, *(one.field for one in caught.value.others)] == fields
    assert caught.value.code == "invalid_field"


def test_bodies_and_keys_are_looked_at_too() -> None:
    with pytest.raises(InvalidTransferError, match="object"):
        parse_export(tenant="shop", idempotency_key="k", body=[], now=NOW)
    with pytest.raises(InvalidTransferError) as caught:
        asked("2026-11-01", "2026-11-02", tenant="rival")
    assert (caught.value.code, caught.value.field) == ("unknown_field", "tenant")
    with pytest.raises(InvalidTransferError) as caught:
        asked("2026-11-01", "2026-11-02", key="")
    assert caught.value.field == "Idempotency-Key"


def test_a_key_names_one_export_and_a_mark_its_period() -> None:
    one, same = asked("2026-11-01", "2026-11-02"), asked("2026-11-01T00:00:00Z", "2026-11-02")
    assert (one.export_id, one.fingerprint) == (same.export_id, same.fingerprint)
    other = asked("2026-11-01", "2026-11-03")
    assert (other.export_id, other.fingerprint == one.fingerprint) == (one.export_id, False)
    assert asked("2026-11-01", "2026-11-02", key="l").export_id != one.export_id


def test_each_failure_has_words_for_whoever_asked() -> None:
    assert set(WORDS) == set(ExportFailure)
