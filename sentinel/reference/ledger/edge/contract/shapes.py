"""Small pieces of JSON Schema, in the dialect of OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

Schema = dict[str, Any]

UUID: Final[Mapping[str, Any]] = {"type": "string", "format": "uuid"}
MOMENT: Final[Mapping[str, Any]] = {"type": "string", "format": "date-time"}
COUNT: Final[Mapping[str, Any]] = {"type": "integer", "format": "int64", "minimum": 0}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def whole(pattern: str, **others: Any) -> Schema:
    """Return a text that is this pattern from end to end."""
    return {"type": "string", "pattern": f"^{pattern}$", **others}


def one_of(values: Collection[str], description: str = "") -> Schema:
    """Return a text that is one of a closed list: a new one would be a new version."""
    told = {"description": description} if description else {}
    return {"type": "string", **told, "enum": list(values)}


def known(values: Collection[str], description: str) -> Schema:
    """Return a text of which these values are known by now; programs must expect others."""
    return {"type": "string", "description": description, "x-extensible-enum": list(values)}


def or_null(schema: Mapping[str, Any]) -> Schema:
    """Return the same, or null.

    >>> or_null({"type": "string"})
    {'type': ['string', 'null']}
    """
    return {**schema, "type": [schema["type"], "null"]}


def record(
    properties: Mapping[str, Any],
    *,
    required: Collection[str] | None = None,
    closed: bool = False,
    description: str = "",
) -> Schema:
    """Return an object.

    Args:
        properties: its members.
        required: those that are always there; all when None.
        closed: whether a member that is not named is refused.
        description: what it is.
    """
    needed = [name for name in properties if required is None or name in required]
    return {
        "type": "object",
        **({"description": description} if description else {}),
        **({"required": needed} if needed else {}),
        "properties": dict(properties),
        **({"additionalProperties": False} if closed else {}),
    }
