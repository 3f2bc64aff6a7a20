"""What the books must say of a payment out, by what the rail has said of it.

    requested, submitted   what it reserves is reserved
    refused, returned      it is free again
    settled                all of it has moved
    returned_late          and has moved back

The disburser notes the rail's word before it says the step that follows, and hears the next word once that step was decided. So
the books are never ahead of the rail's word, and one step behind it at most, while that step waits to be decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.disbursement import DisbursementState
from sentinel.reference.ledger.domain.posting import HoldState


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What the books say: where its pending transfer stands, whether all of it was posted, and moved back."""

    hold: HoldState
    in_full: bool = False
    moved_back: bool = False


_RESERVED: Final = (Booked(hold=HoldState.OPEN),)
# By its time, which has ended none since a payment waits for its bank: the money is where it should be.
_FREE: Final = (Booked(hold=HoldState.VOIDED), Booked(hold=HoldState.EXPIRED))
_PAID: Final = (Booked(hold=HoldState.POSTED, in_full=True),)
_BACK: Final = (Booked(hold=HoldState.POSTED, in_full=True, moved_back=True),)

AGREED: Final[Mapping[DisbursementState, tuple[Booked, ...]]] = {
    DisbursementState.REQUESTED: _RESERVED,
    DisbursementState.SUBMITTED: _RESERVED,
    DisbursementState.REFUSED: _FREE,
    DisbursementState.SETTLED: _PAID,
    DisbursementState.RETURNED: _FREE,
    DisbursementState.RETURNED_LATE: _BACK,
}
"""What the books say of each state once its step was done."""

BEFORE: Final[Mapping[DisbursementState, tuple[Booked, ...]]] = {
    DisbursementState.REFUSED: _RESERVED,
    DisbursementState.SETTLED: _RESERVED,
    DisbursementState.RETURNED: _RESERVED,
    DisbursementState.RETURNED_LATE: _PAID,
}
"""What they say while it waits."""


def agrees(state: DisbursementState, booked: Booked, *, waits: bool) -> bool:
    """Say whether the books say what the rail has said.

    Args:
        state: what the rail has said.
        booked: what the books say.
        waits: the step that the state calls for is not decided, and is still being said.
    """
    return booked in AGREED[state] or (waits and booked in BEFORE.get(state, ()))
