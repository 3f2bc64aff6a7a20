"""What a tenant asks for: a new endpoint, another secret."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sentinel.reference.ledger.domain.errors import InvalidTransferError
from sentinel.reference.ledger.domain.webhooks.addresses import (
    AddressPolicy,
    Refused,
    RefusedAddressError,
    judge_url,
)
from sentinel.reference.ledger.domain.webhooks.message import CHOOSABLE, EventType

DESCRIPTION_CHARS_MAX: Final = 200
OVERLAP_DEFAULT_S: Final = 86_400
OVERLAP_MAX_S: Final = 7 * 86_400

_SAID: Final = {
    Refused.UNREADABLE: "is no URL such as https://example.com/hooks",
    Refused.TOO_LONG: "is longer than 2048 characters",
    Refused.SCHEME: "must be https",
    Refused.USERINFO: "must not hold a user or a password",
    Refused.FRAGMENT: "must not have a fragment",
    Refused.PORT: "names a port that is not allowed",
}


class Signature(StrEnum):
    """How an endpoint's webhooks are signed."""

    HMAC = "v1"
    ED25519 = "v1a"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEndpoint:
    """An endpoint that is to be registered."""

    url: str
    event_types: tuple[EventType, ...]
    signature: Signature
    description: str


def parse_endpoint(body: object, policy: AddressPolicy) -> AskedEndpoint:
    """Return the endpoint that a body asks for.

    Raises:
        InvalidTransferError: it asks for something else; the field is named.
    """
    asked = _object(body, {"url", "event_types", "signature", "description"})
    url = asked.get("url")
    if not isinstance(url, str):
        raise _invalid(field="url", message="url is required, as text.")
    try:
        known = str(judge_url(url, policy))
    except RefusedAddressError as error:
        said = _SAID.get(error.reason, "leads to an address that is not of the public internet")
        raise InvalidTransferError(
            code="refused_url", field="url", message=f"url {said}."
        ) from None
    description = asked.get("description", "")
    if not isinstance(description, str) or len(description) > DESCRIPTION_CHARS_MAX:
        raise _invalid(
            field="description", message="description is text of at most 200 characters."
        )
    if not description.isprintable():
        raise _invalid(
            field="description", message="description is text without control characters."
        )
    try:
        signature = Signature(str(asked.get("signature", Signature.HMAC.value)))
    except ValueError:
        raise _invalid(field="signature", message="signature is v1 or v1a.") from None
    return AskedEndpoint(
        url=known,
        event_types=_event_types(asked.get("event_types")),
        signature=signature,
        description=description,
    )


def parse_rotation(body: object) -> int:
    """Return for how many seconds the old secret shall still sign; without a body, a day.

    Raises:
        InvalidTransferError: the body asks for something else.
    """
    if body is None:
        return OVERLAP_DEFAULT_S
    overlap_s = _object(body, {"overlap_s"}).get("overlap_s", OVERLAP_DEFAULT_S)
    if type(overlap_s) is not int or not 0 <= overlap_s <= OVERLAP_MAX_S:
        raise _invalid(
            field="overlap_s",
            message=f"overlap_s is a number of seconds from 0 to {OVERLAP_MAX_S}.",
        )
    return overlap_s


def _event_types(asked: object) -> tuple[EventType, ...]:
    if asked is None:
        return CHOOSABLE
    names = {kind.value for kind in CHOOSABLE}
    if (
        not isinstance(asked, list)
        or not asked
        or not all(isinstance(one, str) and one in names for one in asked)
    ):
        raise _invalid(
            field="event_types", message=f"event_types are some of {', '.join(sorted(names))}."
        )
    return tuple(kind for kind in CHOOSABLE if kind.value in asked)


def _object(body: object, names: Collection[str]) -> dict[str, object]:
    if not isinstance(body, dict):
        raise InvalidTransferError(
            code="invalid_body", field="", message="The body is no JSON object."
        )
    for name in body:
        if name not in names:
            raise InvalidTransferError(
                code="unknown_field", field=str(name)[:64], message="No such field."
            )
    return body


def _invalid(*, field: str, message: str) -> InvalidTransferError:
    return InvalidTransferError(code="invalid_field", field=field, message=message)
