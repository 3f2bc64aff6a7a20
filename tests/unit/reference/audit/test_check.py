"""Goal: whatever is done to a log that was signed and witnessed is found, and said of the right entries.

Method: a log of 40 entries with checkpoints at 16, 25 and 40; then one thing at a time is done to it, by
somebody without a key and by whoever holds the log's own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel.reference.ledger.domain.audit import check as checks
from sentinel.reference.ledger.domain.audit.check import Finding, FindingKind, Record, Report
from sentinel.reference.ledger.domain.audit.entry import Op
from sentinel.reference.ledger.domain.audit.note import Checkpoint, SignedCheckpoint
from tests.support.audit_log import Keys, entry_at

KEYS = Keys()
COUNT = 40
RECORDS = KEYS.records(COUNT)
CHECKPOINTS = [KEYS.checkpoint(RECORDS[:size]) for size in (16, 25, COUNT)]


def said(report: Report) -> list[tuple[FindingKind, int | None, int | None]]:
    return [(one.kind, one.first, one.last) for one in report.findings]


def changed(record: Record) -> Record:
    """The entry with another content and the signature it had."""
    return replace(record, leaf=record.leaf.replace(b'"memo":""', b'"memo":"more"'))


def test_a_log_that_nobody_touched_is_whole() -> None:
    report = KEYS.check(RECORDS, CHECKPOINTS)
    assert report.whole
    assert (report.entries_count, report.tree_size, report.witnessed_size) == (COUNT,) * 3
    assert report.checkpoints_count == 3
    assert report.checkpoints_unproven_count == 0


def test_an_altered_entry_is_named_and_nothing_else() -> None:
    report = KEYS.check([*RECORDS[:17], changed(RECORDS[17]), *RECORDS[18:]], CHECKPOINTS)
    assert said(report) == [(FindingKind.ALTERED, 17, 17)]
    assert report.entries_count == COUNT - 1
    # The tree agrees up to the entry, and says nothing of what comes after it.
    assert report.witnessed_size == 16
    assert report.checkpoints_unproven_count == 2


def test_of_an_altered_signature_it_is_said_that_the_content_is_what_it_was() -> None:
    record = replace(RECORDS[17], signature=bytes(64))
    report = KEYS.check([*RECORDS[:17], record, *RECORDS[18:]], CHECKPOINTS)
    assert said(report) == [(FindingKind.ALTERED, 17, 17)]
    assert "content is what the checkpoints tell" in report.findings[0].detail
    assert report.witnessed_size == COUNT


def test_missing_entries_are_named() -> None:
    report = KEYS.check([*RECORDS[:5], *RECORDS[8:30], *RECORDS[31:]], CHECKPOINTS)
    assert said(report) == [(FindingKind.MISSING, 5, 7), (FindingKind.MISSING, 30, 30)]


def test_a_tail_that_was_cut_off_is_told_by_the_checkpoint() -> None:
    report = KEYS.check(RECORDS[:33], CHECKPOINTS)
    assert said(report) == [(FindingKind.TRUNCATED, 33, 39)]
    assert said(KEYS.check([], CHECKPOINTS)) == [(FindingKind.TRUNCATED, 0, 39)]


def test_a_tail_that_was_cut_off_with_its_checkpoint_needs_a_copy_of_that_from_elsewhere() -> None:
    assert KEYS.check(RECORDS[:25], CHECKPOINTS[:2]).whole
    kept_elsewhere = CHECKPOINTS[2]
    report = KEYS.check(RECORDS[:25], [*CHECKPOINTS[:2], kept_elsewhere])
    assert said(report) == [(FindingKind.TRUNCATED, 25, 39)]


@pytest.mark.parametrize("at", [0, 17, 40])
def test_an_entry_that_was_added_without_the_key_is_named(at: int) -> None:
    forged = replace(changed(RECORDS[at % COUNT]), place=at)
    report = KEYS.check([*RECORDS[:at], forged, *RECORDS[at:]], CHECKPOINTS)
    assert said(report) == [(FindingKind.ADDED, at, at)]
    assert report.witnessed_size == COUNT


def test_an_entry_that_stands_there_twice_is_named() -> None:
    report = KEYS.check([*RECORDS[:18], RECORDS[17], *RECORDS[18:]], CHECKPOINTS)
    assert said(report) == [(FindingKind.ADDED, 17, 17)]
    late = KEYS.check([*RECORDS, RECORDS[3]], CHECKPOINTS)
    assert said(late) == [(FindingKind.ADDED, 3, 3)]


def test_entries_that_changed_places_are_named() -> None:
    swapped = [*RECORDS[:17], RECORDS[18], RECORDS[17], *RECORDS[19:]]
    report = KEYS.check(swapped, CHECKPOINTS)
    assert said(report) == [(FindingKind.REORDERED, 17, 17)]
    # Put right, they are what was signed.
    assert report.witnessed_size == COUNT
    renumbered = [
        replace(record, place=place)
        for place, record in enumerate([*RECORDS[:17], RECORDS[18], RECORDS[17], *RECORDS[19:]])
    ]
    report = KEYS.check(renumbered, CHECKPOINTS)
    assert {one[1] for one in said(report)} == {17, 18}
    assert set(report.counts) == {FindingKind.REORDERED}


def test_an_entry_far_from_its_place_is_found_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "WINDOW_COUNT", 4)
    report = KEYS.check([*RECORDS[:5], *RECORDS[6:], RECORDS[5]], CHECKPOINTS)
    assert said(report) == [(FindingKind.REORDERED, 5, 5)]
    assert report.entries_count == COUNT


def rewritten(since: int) -> list[Record]:
    """Another history from some entry on, signed by the log's own key."""
    return [
        *RECORDS[:since],
        *(KEYS.record(entry_at(place, memo="another")) for place in range(since, COUNT)),
    ]


def test_a_history_written_anew_by_the_logs_own_key_is_caught_by_a_checkpoint_kept_elsewhere() -> (
    None
):
    forged = rewritten(20)
    own = [KEYS.checkpoint(forged[:size], witnessed=False) for size in (16, 25, COUNT)]
    report = KEYS.check(forged, [*own, CHECKPOINTS[1]])
    assert (FindingKind.REWRITTEN, 0, 24) in said(report)


def test_a_history_written_anew_by_the_logs_own_key_has_no_word_of_the_witness() -> None:
    """With nothing kept elsewhere but the witness's public key."""
    forged = rewritten(0)
    own = [KEYS.checkpoint(forged[:size], witnessed=False) for size in (16, 25, COUNT)]
    assert said(KEYS.check(forged, own)) == [(FindingKind.UNWITNESSED, 0, 39)]
    # Its old checkpoints do not help: they are of another history.
    report = KEYS.check(forged, [*own, *CHECKPOINTS])
    assert FindingKind.REWRITTEN in report.counts
    # Whoever does not ask for the witness is shown a log without a flaw.
    assert KEYS.check(forged, own, witness=False).whole


def test_one_entry_written_anew_by_the_logs_own_key_is_narrowed_down_to_its_checkpoints() -> None:
    forged = [*RECORDS[:20], KEYS.record(entry_at(20, memo="another")), *RECORDS[21:]]
    assert said(KEYS.check(forged, CHECKPOINTS)) == [(FindingKind.REWRITTEN, 16, 24)]


def test_new_entries_need_the_witness_only_when_they_are_old_enough() -> None:
    records = KEYS.records(COUNT + 5)
    since_us = entry_at(COUNT + 2).committed_us
    assert said(KEYS.check(records, [KEYS.checkpoint(records[:COUNT])])) == [
        (FindingKind.UNWITNESSED, COUNT, COUNT + 4)
    ]
    fresh = KEYS.check(
        records[: COUNT + 5],
        [KEYS.checkpoint(records[: COUNT + 2])],
        unwitnessed_since_us=since_us,
    )
    assert fresh.whole
    assert (fresh.witnessed_size, fresh.entries_count) == (COUNT + 2, COUNT + 5)


def test_a_checkpoint_that_was_altered_or_is_anothers_is_told() -> None:
    note = CHECKPOINTS[1]
    other = Checkpoint(origin=note.checkpoint.origin, size=24, root=note.checkpoint.root)
    altered = SignedCheckpoint(checkpoint=other, signatures=note.signatures)
    report = KEYS.check(RECORDS, [CHECKPOINTS[0], altered, CHECKPOINTS[2]])
    assert said(report) == [(FindingKind.CHECKPOINT, None, None)]
    assert "24 entries is not signed" in report.findings[0].detail
    foreign = KEYS.checkpoint(RECORDS[:25], origin="other.example")
    assert said(KEYS.check(RECORDS, [*CHECKPOINTS, foreign])) == [
        (FindingKind.CHECKPOINT, None, None)
    ]


def test_a_change_that_the_ledger_never_makes_is_told_though_the_trail_is_whole() -> None:
    records = [
        *RECORDS,
        KEYS.record(entry_at(COUNT, op=Op.UPDATE, memo="more")),
        KEYS.record(replace(entry_at(COUNT + 1), relation="holds", row={"state": "open"})),
        KEYS.record(
            replace(entry_at(COUNT + 2, op=Op.UPDATE), relation="holds", row={"state": "voided"})
        ),
        KEYS.record(replace(entry_at(COUNT + 3, op=Op.TRUNCATE), row={})),
    ]
    report = KEYS.check(records, [KEYS.checkpoint(records)])
    assert said(report) == [
        (FindingKind.LEDGER_CHANGED, COUNT, COUNT),
        (FindingKind.LEDGER_CHANGED, COUNT + 3, COUNT + 3),
    ]
    assert "transaction_id t40" in report.findings[0].detail
    assert report.witnessed_size == len(records)


def test_what_the_log_says_it_has_not_seen_is_passed_on() -> None:
    gap = replace(entry_at(COUNT, op=Op.GAP), relation="", row={"reason": "the slot was lost"})
    records = [*RECORDS, KEYS.record(gap)]
    report = KEYS.check(records, [KEYS.checkpoint(records)])
    assert report.whole
    assert report.gaps == [(COUNT, "the slot was lost")]


def test_findings_are_listed_up_to_a_bound_and_counted_beyond() -> None:
    report = Report()
    for place in range(checks.FINDINGS_COUNT_MAX + 5):
        report.add(Finding(kind=FindingKind.ALTERED, first=place, last=place))
    assert len(report.findings) == checks.FINDINGS_COUNT_MAX
    assert report.counts[FindingKind.ALTERED] == checks.FINDINGS_COUNT_MAX + 5


@given(data=st.data())
@settings(max_examples=60)
def test_whatever_is_done_to_a_log_is_found(data: st.DataObject) -> None:
    """Any entries altered, left out, doubled or moved, any number of times: never whole, unless it is the log again."""
    records = list(RECORDS)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(records) - 1))
        what = data.draw(st.sampled_from(["alter", "sign", "drop", "double", "move", "renumber"]))
        if what == "alter":
            records[at] = changed(records[at])
        elif what == "sign":
            records[at] = replace(records[at], signature=data.draw(st.binary(max_size=64)))
        elif what == "drop" and len(records) > 1:
            del records[at]
        elif what == "double":
            records.insert(data.draw(st.integers(0, len(records))), records[at])
        elif what == "renumber":
            records[at] = replace(records[at], place=data.draw(st.integers(0, 50)))
        else:
            records.insert(data.draw(st.integers(0, len(records) - 1)), records.pop(at))
    report = KEYS.check(records, CHECKPOINTS)
    assert report.whole == (records == RECORDS)
