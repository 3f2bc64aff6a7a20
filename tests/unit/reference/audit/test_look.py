"""Goal: of each transaction it is known whether the look at the tables shows it, over the end of their numbers too."""

from __future__ import annotations

import pytest

from sentinel.reference.ledger.audit.snapshot import Look, look_of

LOOK = Look(lsn=1000, first=10, end=20, running=frozenset({12, 15}))


def test_what_a_look_shows() -> None:
    """Transactions 9 and 11 had ended, 12 was running, 20 had not begun; 9 again, committed behind the look."""
    asked = [(900, 9), (900, 11), (900, 12), (900, 20), (1001, 9)]
    shown = [LOOK.shows(lsn=lsn, xid=xid) for lsn, xid in asked]
    assert shown == [True, True, False, False, False]


def test_numbers_come_round() -> None:
    look = Look(lsn=1000, first=2**32 - 5, end=5, running=frozenset({2**32 - 1}))
    shown = [xid for xid in (2**32 - 6, 2**32 - 1, 2**32 - 2, 3, 5) if look.shows(lsn=1, xid=xid)]
    assert shown == [2**32 - 6, 2**32 - 2, 3]


def test_it_is_told_in_texts_and_read_again() -> None:
    assert look_of(LOOK.told()) == LOOK
    assert look_of(Look(lsn=1, first=1, end=1, running=frozenset()).told()).running == frozenset()
    with pytest.raises(ValueError, match=r".*"):
        look_of({})
