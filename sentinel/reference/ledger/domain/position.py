"""How far the books had been written when an answer was read from them.

A position is a place in the database's log on one of its timelines. Whoever was told something hands the position
of that answer back with the next question, and is then answered by a server that has come at least as far. As
text it is opaque: what it says is the ledger's own business, and it is checked before it is believed.
"""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass
from typing import Final

from sentinel.reference.ledger.domain.errors import InvalidTransferError

HEADER: Final = "Ledger-Position"
_FORM: Final = struct.Struct(">BIQI")  # version, timeline, place, checksum of the three
_SUMMED: Final = struct.Struct(">BIQ")
_VERSION: Final = 1
_TEXT_LENGTH: Final = 23


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the log; one of a later timeline is the greater, wherever it lies.

    Attributes:
        timeline: which history of the database; a restore or a failover begins another.
        lsn: bytes of log since its beginning.
    """

    timeline: int
    lsn: int

    @property
    def token(self) -> str:
        """The position as clients carry it."""
        summed = _SUMMED.pack(_VERSION, self.timeline, self.lsn)
        return (
            base64.urlsafe_b64encode(summed + struct.pack(">I", binascii.crc32(summed)))
            .rstrip(b"=")
            .decode()
        )


def parse_position(token: str) -> Position:
    """Return the position in a client's token.

    Raises:
        InvalidTransferError: no answer ever carried this text.
    """
    wrong = InvalidTransferError(
        code="invalid_position",
        field=HEADER,
        message=f"{HEADER} must be what an earlier answer carried, unchanged.",
    )
    if len(token) != _TEXT_LENGTH or not token.isascii():
        raise wrong
    try:
        raw = base64.b64decode(token + "=", altchars=b"-_", validate=True)
        version, timeline, lsn, checksum = _FORM.unpack(raw)
    except (binascii.Error, struct.error, ValueError):
        raise wrong from None
    if version != _VERSION or checksum != binascii.crc32(raw[: _SUMMED.size]):
        raise wrong
    position = Position(timeline=timeline, lsn=lsn)
    # One text a position: the decoder takes others too.
    if position.token != token:
        raise wrong
    return position
