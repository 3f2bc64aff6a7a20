"""Goal: an extract of a log proves each of its entries, and of a period that none of it is missing.

Method: a log of 40 entries, a second apart; extracts of it as the command writes them, and then one
thing done to them at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from sentinel.reference.ledger.domain.audit.check import FindingKind, Record, Report
from sentinel.reference.ledger.domain.audit.entry import AuditEntry
from sentinel.reference.ledger.domain.audit.merkle import (
    Subtree,
    complete,
    consistency_parts,
    hashes_of,
    inclusion_parts,
    leaf_hash,
)
from sentinel.reference.ledger.domain.audit.note import SignedCheckpoint
from sentinel.reference.ledger.domain.audit.period import Extract, ExtractCheck
from tests.support.audit_log import Keys, entry_at

KEYS = Keys()
SIZE = 40
START_US = entry_at(0).committed_us


def entry(place: int, memo: str = "") -> AuditEntry:
    found = entry_at(place, memo=memo)
    tenant = "rival" if place % 3 == 0 else "shop"
    return replace(
        found, committed_us=START_US + place * 1_000_000, row={**found.row, "tenant": tenant}
    )


RECORDS = [KEYS.record(entry(place)) for place in range(SIZE)]
CHECKPOINT = KEYS.checkpoint(RECORDS)


def subtrees_of(records: list[Record]) -> Callable[[Sequence[Subtree]], list[bytes]]:
    return lambda subtrees: [
        complete([leaf_hash(one.leaf) for one in records[part.start : part.end]])
        for part in subtrees
    ]


def proof(place: int, records: list[Record] = RECORDS) -> list[bytes]:
    return hashes_of(inclusion_parts(place, SIZE), subtrees_of(records))


def extract(
    first: int = 10,
    end: int = 20,
    *,
    tenant: str | None = None,
    note: SignedCheckpoint = CHECKPOINT,
) -> Extract:
    return Extract(
        checkpoint=note,
        tenant=tenant,
        first=first,
        end=end,
        from_us=entry(first).committed_us if first else None,
        to_us=entry(end).committed_us if end < SIZE else None,
    )


def check(
    given: Extract,
    lines: list[tuple[Record, list[bytes]]],
    earlier: list[tuple[SignedCheckpoint, list[bytes] | None]] | None = None,
) -> Report:
    checked = ExtractCheck(KEYS.policy(), given)
    for record, path in lines:
        checked.feed(record, path)
    return checked.end(earlier or [])


def lines(first: int = 9, end: int = 21) -> list[tuple[Record, list[bytes]]]:
    return [(RECORDS[place], proof(place)) for place in range(first, end)]


def said(report: Report) -> list[tuple[FindingKind, int | None, int | None]]:
    return [(one.kind, one.first, one.last) for one in report.findings]


@pytest.mark.parametrize(("first", "end"), [(10, 20), (0, 5), (30, 40), (0, 40), (10, 10)])
def test_an_extract_that_nobody_touched_is_whole(first: int, end: int) -> None:
    report = check(extract(first, end), lines(max(first - 1, 0), min(end + 1, SIZE)))
    assert report.whole
    assert report.entries_count == end - first
    assert report.witnessed_size == SIZE


def test_an_entry_that_was_altered_or_taken_away_is_named() -> None:
    given = lines()
    record, path = given[5]
    altered = replace(record, leaf=record.leaf.replace(b'"memo":""', b'"memo":"x"'))
    report = check(extract(), [*given[:5], (altered, path), *given[6:]])
    assert said(report) == [(FindingKind.ALTERED, 14, 14)]
    signature = replace(record, signature=bytes(64))
    report = check(extract(), [*given[:5], (signature, path), *given[6:]])
    assert said(report) == [(FindingKind.ALTERED, 14, 14)]
    assert "content is what" in report.findings[0].detail
    report = check(extract(), [*given[:5], *given[7:]])
    assert said(report) == [(FindingKind.MISSING, 14, 15)]


@pytest.mark.parametrize("cut", [slice(1, None), slice(None, -1), slice(2, None), slice(None, -2)])
def test_an_extract_whose_ends_were_cut_is_found(cut: slice) -> None:
    assert not check(extract(), lines()[cut]).whole


def test_an_extract_of_less_than_was_asked_for_is_found() -> None:
    """Its head says fewer places, and its neighbours are of the time that was asked for."""
    shorter = replace(extract(), first=12, end=18)
    report = check(shorter, lines(11, 19))
    assert said(report) == [(FindingKind.TRUNCATED, 11, 11), (FindingKind.TRUNCATED, 18, 18)]


def test_entries_that_stand_twice_or_elsewhere_are_named() -> None:
    given = lines()
    report = check(extract(), [*given[:6], given[5], *given[6:]])
    assert said(report) == [(FindingKind.ADDED, 14, 14)]
    report = check(extract(), [*given[:5], given[6], given[5], *given[7:]])
    assert (FindingKind.REORDERED, 14, 14) in said(report)
    moved = replace(RECORDS[14], place=15)
    report = check(extract(), [*given[:5], (moved, proof(15)), *given[6:]])
    assert (FindingKind.REORDERED, 14, 14) in said(report)


def test_what_the_logs_own_key_wrote_anew_leads_to_no_witnessed_checkpoint() -> None:
    anew = [*RECORDS[:14], KEYS.record(entry(14, memo="x")), *RECORDS[15:]]
    forged = [(anew[place], proof(place, anew)) for place in range(9, 21)]
    report = check(extract(), forged)
    assert report.counts == {
        FindingKind.REWRITTEN: 12,
        FindingKind.TRUNCATED: 2,
    }
    own = KEYS.checkpoint(anew, witnessed=False)
    report = check(extract(note=own), forged)
    assert said(report) == [(FindingKind.UNWITNESSED, None, None)]


def test_an_extract_of_one_tenant_holds_no_other() -> None:
    mine = [(RECORDS[place], proof(place)) for place in range(10, 20) if place % 3]
    report = check(extract(tenant="shop"), mine)
    assert report.whole
    assert report.entries_count == len(mine)
    report = check(extract(tenant="shop"), [*mine[:2], (RECORDS[12], proof(12)), *mine[2:]])
    assert said(report) == [(FindingKind.ADDED, 12, 12)]


def test_a_checkpoint_that_the_receiver_has_is_held_against_it() -> None:
    earlier = KEYS.checkpoint(RECORDS[:17])
    path = hashes_of(consistency_parts(17, SIZE), subtrees_of(RECORDS))
    report = check(extract(), lines(), [(earlier, path)])
    assert report.whole
    assert report.checkpoints_count == 2
    unproven = check(extract(), lines(), [(earlier, None)])
    assert unproven.checkpoints_unproven_count == 1
    other = KEYS.checkpoint([*RECORDS[:16], KEYS.record(entry(16, memo="x"))])
    report = check(extract(), lines(), [(other, path)])
    assert said(report) == [(FindingKind.REWRITTEN, 0, 16)]
    stranger = Keys().checkpoint(RECORDS[:17])
    report = check(extract(), lines(), [(stranger, path)])
    assert said(report) == [(FindingKind.CHECKPOINT, None, None)]


def test_a_checkpoint_of_another_log_is_refused() -> None:
    foreign = KEYS.checkpoint(RECORDS, origin="other.example")
    report = check(extract(note=foreign), lines())
    assert (FindingKind.CHECKPOINT, None, None) in said(report)
