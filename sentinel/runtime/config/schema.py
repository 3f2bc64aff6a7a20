"""JSON Schema 2020-12 of a config class, for editors and for checks that do not have Sentinel."""

from __future__ import annotations

from typing import Any

from sentinel.runtime.config.render import plain_value
from sentinel.runtime.config.shapes import (
    Choice,
    Hidden,
    Many,
    Maybe,
    Named,
    Scalar,
    Section,
    SettingField,
    Shape,
    setting_fields,
)


def json_schema(cls: type[Any], *, title: str) -> dict[str, Any]:
    """The schema of a whole configuration; unknown keys are refused, as the loader refuses them."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **_section_schema(cls),
    }


def _section_schema(cls: type[Any], base: object = None) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for setting in setting_fields(cls, base):
        key = setting.secret_key or setting.name
        properties[key] = _setting_schema(setting)
        if setting.is_required:
            required.append(key)
    schema: dict[str, Any] = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
    }
    if required:
        schema["required"] = required
    return schema


def _setting_schema(setting: SettingField) -> dict[str, Any]:
    if setting.secret_key is not None:
        one = {"type": "string", "minLength": 1}
        inner = setting.shape.inner if isinstance(setting.shape, Maybe) else setting.shape
        many = {"anyOf": [one, {"type": "array", "items": one}]}
        schema: dict[str, Any] = many if isinstance(inner, Many) else one
        return {"description": f"{setting.help} The path of a file that holds it.", **schema}
    schema = {"description": setting.help, **_shape_schema(setting.shape, setting.default)}
    if not setting.is_required and not isinstance(setting.shape, Section):
        schema["default"] = plain_value(setting.shape, setting.default)
    return schema


def _shape_schema(shape: Shape, default: object = None) -> dict[str, Any]:
    match shape:
        case Maybe(inner=inner):
            return {"anyOf": [_shape_schema(inner, default), {"type": "null"}]}
        case Section(cls=cls):
            # A section of which every line is commented out is an empty value, and means the defaults.
            return {**_section_schema(cls, default), "type": ["object", "null"]}
        case Many(item=item):
            return {"type": "array", "items": _shape_schema(item)}
        case Named(value=value):
            return {"type": ["object", "null"], "additionalProperties": _shape_schema(value)}
        case Choice(enum=enum):
            return {"enum": [one.value for one in enum]}
        case Hidden():
            return {"type": "string"}
        case Scalar(type=kind):
            return dict(kind.schema)
