"""What a store is given before its sidecar starts: once, from where it was ended, and never in the way of the start for ever.

A container in front of the sidecar runs at each start of the pod. The note says what was asked for when the first of these began: what came
later the sidecar has heard itself, so it is never read over it. A run that ends in words, however it ends, is counted out again; one that was
killed is not. After `DEATHS_MAX` of those the sidecar starts without; its next start tries once more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum

from sentinel.pipeline.backfill.progress import Span

DEATHS_MAX = 5
"""Runs that were killed in the middle, one after another, before the sidecar starts without."""


class Turn(StrEnum):
    """What to do at this start."""

    READ = "read"
    THERE = "there"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstPast:
    """What is known of the past that a store is given before its sidecar starts.

    Attributes:
        span: what is asked for.
        is_whole: whether all of it is stored.
        death_count: runs that began and have not ended in words since the last one that did.
    """

    span: Span
    is_whole: bool = False
    death_count: int = 0

    def ended(self, *, is_whole: bool) -> FirstPast:
        """After a run that ended in words."""
        return replace(self, is_whole=is_whole, death_count=0)

    def to_bytes(self) -> bytes:
        """For `first_past_of`."""
        return json.dumps([*self.span, self.is_whole, self.death_count]).encode()


def first_past_of(payload: bytes) -> FirstPast | None:
    """What was stored by `to_bytes`; None where there is nothing, or nothing that can be read.

    >>> first_past_of(FirstPast(span=(0, 600), death_count=2).to_bytes())
    FirstPast(span=(0, 600), is_whole=False, death_count=2)
    >>> first_past_of(b"") is None
    True
    """
    try:
        start_ns, end_ns, is_whole, death_count = json.loads(payload)
        return FirstPast(
            span=(int(start_ns), int(end_ns)),
            is_whole=bool(is_whole),
            death_count=int(death_count),
        )
    except (ValueError, TypeError):
        return None


def turn_of(known: FirstPast | None, asked: Span) -> tuple[Turn, FirstPast]:
    """What to do, and the note to store before it is done.

    The present moves on: what is asked for later than the first end is left to the sidecar, and what lies before the start that is asked for now
    need not be read any more. An earlier start than what is whole has all of it read again.

    >>> turn_of(None, (0, 600))
    (<Turn.READ: 'read'>, FirstPast(span=(0, 600), is_whole=False, death_count=1))
    >>> turn_of(FirstPast(span=(0, 600), is_whole=True), (300, 900))[0]
    <Turn.THERE: 'there'>
    >>> turn_of(FirstPast(span=(0, 600)), (300, 900))[1].span
    (300, 600)
    """
    if known is None:
        return Turn.READ, FirstPast(span=asked, death_count=1)
    first_ns, last_ns = known.span
    if asked[0] >= last_ns or (known.is_whole and asked[0] >= first_ns):
        return Turn.THERE, known
    if known.death_count >= DEATHS_MAX:
        return Turn.GIVEN_UP, replace(known, death_count=DEATHS_MAX - 1)
    return Turn.READ, FirstPast(span=(asked[0], last_ns), death_count=known.death_count + 1)
