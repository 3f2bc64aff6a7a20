"""How much of a bounded stream's room is taken by what one reader has not read."""

from __future__ import annotations


def unread_share(
    unread_count: int,
    *,
    messages_count: int,
    bytes_count: int,
    bytes_max: int | None,
    messages_max: int | None,
) -> float:
    """Return what waits for a reader as a share of what the stream can hold; 1 where the next message costs it one.

    Messages are taken to be as large as those that the stream holds are on average. A limit that is not above 0 is none.

    >>> unread_share(50, messages_count=100, bytes_count=1_000, bytes_max=2_000, messages_max=None)
    0.25
    """
    shares = [0.0]
    if bytes_max is not None and bytes_max > 0 and messages_count > 0:
        shares.append(unread_count * bytes_count / messages_count / bytes_max)
    if messages_max is not None and messages_max > 0:
        shares.append(unread_count / messages_max)
    return min(max(shares), 1.0)
