"""Secrets out of OTLP requests: attributes, bodies, names, events, messages; the rest stays as it was.

Not imported with the package, because it brings OTLP's own messages, which only forwarding needs. Traces and logs are taken
apart by `core.normalise.otlp_rewrite`, which asks here what each part becomes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from sentinel.core.redact.fields import (
    DEPTH_MAX,
    HIDDEN,
    TOO_DEEP,
    hides,
    redact_number,
    redact_text_value,
    redact_value,
)
from sentinel.core.redact.keys import KeyKind
from sentinel.core.redact.text import Redactor
from sentinel.errors import MalformedInputError

_JSON_DEPTH_MAX = 3 * DEPTH_MAX
# Numbers of metrics, which are not text and say nothing of a person.
_NUMBERS = frozenset(
    (
        *("asInt", "asDouble", "count", "sum", "min", "max", "bucketCounts", "explicitBounds"),
        *("zeroCount", "zeroThreshold", "scale", "offset", "quantile", "flags", "kind"),
    )
)
_NUMBER_TEXT = re.compile(
    r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,3})?|-?Infinity|NaN"
)


class OtlpRedactor:
    """Rewrites requests by one policy; every method raises MalformedInputError for what is no OTLP."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._text = redactor.text

    def metrics(self, body: bytes) -> bytes:
        """An `ExportMetricsServiceRequest` without secrets in its attributes and texts; else as `traces`."""
        request = _parsed(ExportMetricsServiceRequest, body)
        changed = False
        for group in request.resource_metrics:
            changed |= self._about(group)
            for scope in group.scope_metrics:
                changed |= self._about(scope)
                for metric in scope.metrics:
                    changed |= self._metric(metric)
        return bytes(request.SerializeToString()) if changed else body

    def json(self, body: bytes) -> bytes:
        """A request of any signal as JSON; the same bytes when there was no secret in it."""
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            msg = "the body is not JSON"
            raise MalformedInputError(msg) from error
        hidden = self._json(value, KeyKind.PLAIN, 0)
        return body if hidden is value else orjson.dumps(hidden)

    # Parts of messages, for whoever takes a request apart; each tells whether it changed something.

    def plain(self, text: str) -> str:
        """A text of its own, such as a name."""
        return self._text(text)

    def attributes(self, pairs: Iterable[Any]) -> bool:
        """Key-values, in place."""
        return self._attributes(pairs)

    def fields(self, message: Any, *names: str) -> bool:  # noqa: ANN401, RUF100
        """Text fields of a message, in place."""
        changed = [self._field(message, name) for name in names]
        return any(changed)

    def entities(self, refs: Iterable[Any]) -> bool:
        """References of a resource to entities, in place."""
        changed = False
        for ref in refs:
            changed |= self.fields(ref, "schema_url", "type")
            for keys in (ref.id_keys, ref.description_keys):
                for at, key in enumerate(keys):
                    hidden = self._text(key)
                    if hidden != key:
                        keys[at] = hidden
                        changed = True
        return changed

    def body(self, value: Any) -> bool:  # noqa: ANN401, RUF100
        """The body of a log record, in place."""
        if value.WhichOneof("value") != "string_value":
            return self._value(value, KeyKind.PLAIN, 0)
        # A line of its own: its bound is the line's, not that of an attribute.
        text = value.string_value
        hidden = self._text(text)
        if hidden == text:
            return False
        value.string_value = hidden
        return True

    def _about(self, group: Any) -> bool:  # noqa: ANN401, RUF100  # a group by resource or by scope
        changed = self._field(group, "schema_url")
        if group.HasField("resource" if hasattr(group, "resource") else "scope"):
            about = group.resource if hasattr(group, "resource") else group.scope
            changed |= self._attributes(about.attributes)
            if hasattr(group, "resource"):
                changed |= self.entities(about.entity_refs)
            else:
                changed |= self.fields(about, "name", "version")
        return changed

    def _metric(self, metric: Any) -> bool:  # noqa: ANN401, RUF100
        changed = self._field(metric, "name") | self._field(metric, "description")
        changed |= self._field(metric, "unit") | self._attributes(metric.metadata)
        which = metric.WhichOneof("data")
        for point in getattr(metric, which).data_points if which else ():
            changed |= self._attributes(point.attributes)
            for exemplar in getattr(point, "exemplars", ()):
                changed |= self._attributes(exemplar.filtered_attributes)
        return changed

    def _field(self, message: Any, name: str) -> bool:  # noqa: ANN401, RUF100
        text = getattr(message, name)
        if not text:
            return False
        hidden = self._text(text)
        if hidden == text:
            return False
        setattr(message, name, hidden)
        return True

    def _attributes(self, pairs: Iterable[Any], depth: int = 0) -> bool:
        changed = False
        for pair in pairs:
            key = pair.key
            changed |= self._value(pair.value, self._redactor.kind_of(key), depth)
            hidden = self._text(key)
            if hidden != key:
                pair.key = hidden
                changed = True
        return changed

    def _value(self, value: Any, kind: KeyKind, depth: int) -> bool:  # noqa: ANN401, RUF100
        which = value.WhichOneof("value")
        if which is None or which == "bool_value":
            return False
        if which == "string_value":
            text = value.string_value
            if hides(kind, text):
                hidden = HIDDEN if text else ""
            else:
                hidden = redact_text_value(text, self._redactor, kind)
            if hidden == text:
                return False
            value.string_value = hidden
            return True
        if hides(kind, which):
            value.string_value = HIDDEN
            return True
        if which in ("int_value", "double_value"):
            shown = redact_number(getattr(value, which), self._redactor, kind)
            if not isinstance(shown, str):
                return False
            value.string_value = shown
            return True
        if depth >= DEPTH_MAX:
            value.string_value = TOO_DEEP
            return True
        if which == "array_value":
            changed = [self._value(each, kind, depth + 1) for each in value.array_value.values]
            return any(changed)
        if which == "kvlist_value":
            return self._attributes(value.kvlist_value.values, depth + 1)
        text = value.bytes_value.decode("utf-8", "replace")
        hidden = self._text(text)
        if hidden == text:
            return False
        value.string_value = hidden
        return True

    # JSON; the same object comes back when nothing was hidden.

    def _json(self, value: Any, kind: KeyKind, depth: int) -> Any:  # noqa: ANN401, RUF100
        if depth > _JSON_DEPTH_MAX:
            return TOO_DEEP
        if hides(kind, value) and value != "":
            return HIDDEN
        if type(value) is list:
            shown = [self._json(each, kind, depth + 1) for each in value]
            return value if all(a is b for a, b in zip(shown, value, strict=True)) else shown
        if type(value) is not dict:
            return (
                redact_value(value, self._redactor)
                if kind is KeyKind.PLAIN
                else self._typed(value, kind)
            )
        if type(name := value.get("key")) is str and type(value.get("value")) is dict:
            kept = self._json_any(value["value"], self._redactor.kind_of(name), depth + 1)
            shown_name = self._text(name)
            if kept is value["value"] and shown_name == name:
                return value
            return {**value, "key": shown_name, "value": kept}
        changed = False
        shown_fields: dict[str, Any] = {}
        for name, each in value.items():
            if name in _NUMBERS and _is_number(each):
                kept = each
            elif name == "body" and type(each) is dict and type(each.get("stringValue")) is str:
                text = self._text(each["stringValue"])
                kept = each if text == each["stringValue"] else {**each, "stringValue": text}
            elif name == "body" and type(each) is dict:
                kept = self._json_any(each, KeyKind.PLAIN, depth + 1)
            else:
                kept = self._json(each, self._redactor.kind_of(name), depth + 1)
            changed |= kept is not each
            shown_fields[self._text(name)] = kept
        return shown_fields if changed or shown_fields.keys() != value.keys() else value

    def _typed(self, value: Any, kind: KeyKind) -> Any:  # noqa: ANN401, RUF100
        if isinstance(value, str):
            shown = redact_text_value(value, self._redactor, kind)
            return value if shown == value else shown
        if type(value) in (int, float):
            return redact_number(value, self._redactor, kind)
        return value

    def _json_any(self, value: dict[str, Any], kind: KeyKind, depth: int) -> dict[str, Any]:
        """An AnyValue."""
        if depth > _JSON_DEPTH_MAX:
            return {"stringValue": TOO_DEEP}
        for which, inside in value.items():
            if which == "boolValue" or inside is None:
                continue
            if which == "stringValue" and isinstance(inside, str):
                text = (
                    HIDDEN
                    if inside and hides(kind, inside)
                    else redact_text_value(inside, self._redactor, kind)
                )
                return value if text == inside else {"stringValue": text}
            if hides(kind, which):
                return {"stringValue": HIDDEN}
            if which in ("arrayValue", "kvlistValue") and type(inside) is dict:
                return self._json_list(value, which, inside, kind, depth)
            number = _number(inside) if which in ("intValue", "doubleValue") else None
            if number is not None:
                shown = redact_number(number, self._redactor, kind)
                return {"stringValue": shown} if isinstance(shown, str) else value
            text = self._text(_text_of(which, inside))
            return value if text == _text_of(which, inside) else {"stringValue": text}
        return value

    def _json_list(
        self, value: dict[str, Any], which: str, inside: dict[str, Any], kind: KeyKind, depth: int
    ) -> dict[str, Any]:
        each = inside.get("values")
        if type(each) is not list:
            return value
        if which == "kvlistValue":
            shown = self._json(each, KeyKind.PLAIN, depth + 1)
        else:
            shown = [
                self._json_any(one, kind, depth + 2)
                if type(one) is dict
                else self._json(one, kind, depth + 2)
                for one in each
            ]
            if all(a is b for a, b in zip(shown, each, strict=True)):
                shown = each
        return value if shown is each else {which: {"values": shown}}


def _parsed(kind: Any, body: bytes) -> Any:  # noqa: ANN401, RUF100
    try:
        return kind.FromString(body)
    except DecodeError as error:
        msg = "the body is not a valid OTLP request"
        raise MalformedInputError(msg) from error


def _is_number(value: object) -> bool:
    """Whether it is a number as OTLP/JSON writes it, or a list of them."""
    if type(value) is list:
        return all(_is_number(each) and type(each) is not list for each in value)
    if type(value) is str:
        return _NUMBER_TEXT.fullmatch(value) is not None
    return type(value) in (int, float)


def _number(inside: object) -> int | float | None:
    """A number of protobuf's JSON, whose 64-bit integers are texts."""
    if isinstance(inside, (int, float)):
        return inside
    if isinstance(inside, str) and len(inside) <= 32:
        try:
            return int(inside) if inside.lstrip("-").isdigit() else float(inside)
        except ValueError:
            return None
    return None


def _text_of(which: str, inside: object) -> str:
    if which == "bytesValue" and isinstance(inside, str):
        try:
            return base64.b64decode(inside).decode("utf-8", "replace")
        except (ValueError, binascii.Error):
            return inside
    return str(inside)
