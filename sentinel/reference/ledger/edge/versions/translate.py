"""Bodies from one form into another, by the table: version 1 to 2, version 2 to what the domain reads, and back.

The domain names its fields as version 1 did. A field that is wrong is told by the name that the client has
for it, whichever way it has come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sentinel.reference.ledger.domain import InvalidTransferError
from sentinel.reference.ledger.edge.versions.table import Form

_NAME_LENGTH_MAX = 64


def to_v2(form: Form, body: object) -> object:
    """Return a body of version 1 as one of version 2; what is no object is left for others to refuse.

    Raises:
        InvalidTransferError: a field that version 1 does not have.
    """
    return _each(form, body, lambda fields: _nested(form, fields))


def from_v2(form: Form, body: object) -> object:
    """Return a body of version 2 under the domain's names.

    A gateway that knows no objects may write a place as one name, `"amount.minor"`.

    Raises:
        InvalidTransferError: a field is not known, is given twice, or is no object where one must be.
    """
    return _each(form, body, lambda fields: _flat(form, fields))


def told_in_v2(form: Form, error: InvalidTransferError) -> InvalidTransferError:
    """Return an error of the domain's by the names of version 2."""
    before, name = re.fullmatch(r"(.*\.)?([^.]*)", error.field, re.DOTALL).groups("")  # type: ignore[union-attr]
    place = form.fields.get(name)
    others = [told_in_v2(form, other) for other in error.others]
    if place is None or (form.each and not before):
        return InvalidTransferError(
            code=error.code, field=error.field, message=error.message, others=others
        )
    return InvalidTransferError(
        code=error.code,
        field=before + place,
        message=re.sub(rf"\b{re.escape(name)}\b", place, error.message),
        others=others,
    )


def answer_in(version: int, form: Form, answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as the version has it; what is not there, or nothing, is not moved."""
    if version == 1:
        return answer
    moved: dict[str, Any] = {}
    for name, value in answer.items():
        if name not in form.moves:
            moved[name] = value
        elif value is not None:
            _place(moved, form.moves[name], value)
    return moved


def _each(form: Form, body: object, turn: Callable[[Mapping[str, object]], object]) -> object:
    if not isinstance(body, Mapping):
        return body
    if not form.each:
        return turn(body)
    items = body.get(form.each)
    if not isinstance(items, list):
        return body
    turned = []
    for place, item in enumerate(items):
        try:
            turned.append(turn(item) if isinstance(item, Mapping) else item)
        except InvalidTransferError as error:
            raise error.within(place=f"{form.each}[{place}]") from error
    return {**body, form.each: turned}


def _nested(form: Form, body: Mapping[str, object]) -> dict[str, object]:
    nested: dict[str, object] = {}
    for name, value in body.items():
        if name not in form.fields:
            raise _unknown(name)
        _place(nested, form.fields[name], value)
    return nested


def _flat(form: Form, body: Mapping[str, object]) -> dict[str, object]:
    names = {place: name for name, place in form.fields.items()}
    objects = form.objects
    flat: dict[str, object] = {}
    for name, value in body.items():
        places = {name: value}
        if name in objects:
            inner = [f"{name}.{one}" for one in objects[name]]
            if not isinstance(value, Mapping) or not value:
                # An empty object is no way to say nothing: `pending: {}` would move money at once.
                raise InvalidTransferError(
                    code="invalid_field",
                    field=name,
                    message=f"{name} must be an object with {' and '.join(inner)}.",
                )
            places = {f"{name}.{one}": within for one, within in value.items()}
        for place, within in places.items():
            if place not in names:
                raise _unknown(place)
            if names[place] in flat:
                raise InvalidTransferError(
                    code="invalid_field", field=place, message=f"{place} is given twice."
                )
            flat[names[place]] = within
    return flat


def _place(nested: dict[str, Any], place: str, value: object) -> None:
    name, dot, inner = place.partition(".")
    if dot:
        nested.setdefault(name, {})[inner] = value
    else:
        nested[name] = value


def _unknown(name: str) -> InvalidTransferError:
    return InvalidTransferError(
        code="unknown_field",
        field=name[:_NAME_LENGTH_MAX],
        message="The body has a field that is not known.",
    )
