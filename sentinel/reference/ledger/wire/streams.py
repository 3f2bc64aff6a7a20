"""What a stream has held and still holds, by its own account: the side of the comparison that no database wrote."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from nats.aio.client import Client

from sentinel.reference.ledger.domain import UnavailableError
from sentinel.reference.ledger.wire.nats.reaching import reaching

_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """A stream's numbers.

    Attributes:
        created_at: when it was made; its numbers began at 1 then.
        first: the lowest number that may still be in it; `last + 1` when it is empty.
        last: the highest number it has given out.
        gone: numbers between `first` and `last` that have left it.
    """

    created_at: datetime
    first: int
    last: int
    gone: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadUpTo:
    """How far a consumer has read: every number up to `acknowledged` is done, of those up to `last`."""

    acknowledged: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Dead letters.

    Attributes:
        of: stream and number of the messages that they are of.
        gone_count: letters that the stream has stored and no longer has.
        read_up_to: the number of the last that was read.
        whole: whether that is all.
    """

    of: frozenset[tuple[str, int]]
    gone_count: int
    read_up_to: int
    whole: bool


async def stream_state(client: Client, stream: str) -> StreamState:
    """Return the state of a stream.

    Raises:
        UnavailableError: there is no such stream.
    """
    answer = await _ask(client, f"STREAM.INFO.{stream}", b'{"deleted_details": true}')
    state = answer["state"]
    last = int(state["last_seq"])
    return StreamState(
        created_at=_moment(answer["created"]),
        first=int(state["first_seq"]) if state["messages"] else last + 1,
        last=last,
        # A stream that was made anew and is empty tells of a number 0.
        gone=frozenset(one for one in state.get("deleted") or () if one > 0),
    )


async def read_up_to(client: Client, stream: str, durable: str) -> ReadUpTo | None:
    """Return how far a durable consumer has read, or None when there is none.

    Raises:
        UnavailableError: there is no such stream.
    """
    last = (await stream_state(client, stream)).last
    try:
        answer = await _ask(client, f"CONSUMER.INFO.{stream}.{durable}", b"")
    except UnavailableError as error:
        if error.code == "404":
            return None
        raise
    if not answer["num_pending"] and not answer["num_ack_pending"]:
        return ReadUpTo(acknowledged=last, last=last)
    return ReadUpTo(acknowledged=int(answer["ack_floor"]["stream_seq"]), last=last)


async def leader_of(client: Client, stream: str) -> str | None:
    """Return the name of the server that leads a stream; None while none does, or where there is one server.

    Raises:
        UnavailableError: there is no such stream, or nobody answers in time, as while nobody leads.
    """
    with reaching(f"{stream} has no leader that answers"):
        answer = await _ask(client, f"STREAM.INFO.{stream}", b"")
    return (answer.get("cluster") or {}).get("leader")


async def step_down(client: Client, stream: str) -> None:
    """Have a stream's leader step down, so that another server is elected.

    Raises:
        UnavailableError: nobody leads it, or nobody answers in time.
    """
    with reaching(f"{stream} has no leader that answers"):
        await _ask(client, f"STREAM.LEADER.STEPDOWN.{stream}", b"")


async def read_letters(client: Client, stream: str, *, after: int, count_max: int) -> Letters:
    """Return what the stream of dead letters holds behind the number `after`, at most `count_max` letters.

    Raises:
        UnavailableError: there is no such stream.
    """
    state = await stream_state(client, stream)
    found: set[tuple[str, int]] = set()
    # One that was made anew begins its numbers anew.
    place, whole = after if after <= state.last else 0, False
    for _ in range(count_max):
        request = orjson.dumps({"seq": max(place + 1, state.first), "next_by_subj": ">"})
        try:
            answer = await _ask(client, f"STREAM.MSG.GET.{stream}", request)
        except UnavailableError as error:
            if error.code != "404":
                raise
            whole = True
            break
        place = int(answer["message"]["seq"])
        of = _letter_of(base64.b64decode(answer["message"].get("hdrs") or b""))
        if of is not None:
            found.add(of)
    return Letters(
        of=frozenset(found),
        gone_count=state.first - 1 + len(state.gone),
        read_up_to=place,
        whole=whole or place >= state.last,
    )


def _letter_of(headers: bytes) -> tuple[str, int] | None:
    r"""Return which message a dead letter says it is of.

    >>> _letter_of(b"NATS/1.0\r\nLedger-Stream: LEDGER_C1\r\nLedger-Sequence: 7\r\n\r\n")
    ('LEDGER_C1', 7)
    """
    told = dict(
        line.partition(": ")[::2] for line in headers.decode("utf-8", "replace").splitlines()[1:]
    )
    number = told.get("Ledger-Sequence", "")
    if "Ledger-Stream" not in told or not number.isdecimal():
        return None
    return told["Ledger-Stream"], int(number)


async def _ask(client: Client, what: str, payload: bytes) -> dict[str, Any]:
    message = await client.request(f"$JS.API.{what}", payload, timeout=_TIMEOUT_S)
    answer: dict[str, Any] = orjson.loads(message.data)
    error = answer.get("error")
    if error:
        text = f"NATS does not tell of {what}: {error.get('description')}"
        raise UnavailableError(text, code=str(error.get("code", "")))
    return answer


def _moment(text: str) -> datetime:
    """Return a time of NATS, which has nanoseconds that Python's have not."""
    whole, _, rest = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{(rest + '000000')[:6]}+00:00")
