"""The configuration in effect, as plain data that the loader would read back as the same values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

import yaml

from sentinel.runtime.config.shapes import (
    Choice,
    Hidden,
    Many,
    Maybe,
    Named,
    Scalar,
    Section,
    Shape,
    setting_fields,
)
from sentinel.runtime.config.text import Origin, join

SECRET_SHOWN = "***"  # noqa: S105  # what stands in place of a secret


def plain(config: object) -> dict[str, Any]:
    """Nested mappings, lists and YAML scalars, in the order of the classes; secrets are `***`."""
    return {
        one.name: _plain_value(one.shape, getattr(config, one.name))
        for one in setting_fields(type(config))
    }


def plain_value(shape: Shape, value: object) -> object:
    """One value as `plain` gives it."""
    return _plain_value(shape, value)


def _plain_value(shape: Shape, value: Any) -> Any:
    if value is None:
        return None
    match shape:
        case Maybe(inner=inner):
            return _plain_value(inner, value)
        case Section():
            return plain(value)
        case Many(item=item):
            return [_plain_value(item, one) for one in value]
        case Named(value=inner):
            return {key: _plain_value(inner, one) for key, one in value.items()}
        case Hidden():
            return SECRET_SHOWN
        case Choice():
            return value.value
        case Scalar(type=kind):
            return kind.show(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A setting that has another value in a new configuration.

    Attributes:
        path: its dotted path.
        restart: whether the new value waits for the next start.
    """

    path: str
    restart: bool


def differences(old: object, new: object) -> list[Difference]:
    """The settings in which two configurations of one class differ, secrets too, without their values."""
    return list(_differences(old, new, "", restart=False))


def _differences(old: object, new: object, path: str, *, restart: bool) -> Iterator[Difference]:
    for setting in setting_fields(type(old)):
        before, after = getattr(old, setting.name), getattr(new, setting.name)
        if before == after:
            continue
        where, waits = join(path, setting.name), restart or setting.restart
        if is_dataclass(before) and type(before) is type(after):
            yield from _differences(before, after, where, restart=waits)
        else:
            yield Difference(path=where, restart=waits)


def effective_digest(config: object) -> str:
    """Of the values in effect without the secrets; equal for configurations that decide alike, and fit to be shown."""
    text = json.dumps(plain(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def to_yaml(config: object, *, origins: Mapping[str, Origin] | None = None) -> str:
    """YAML text of the configuration; with `origins`, each line says where its value was written."""
    if origins is None:
        return yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True, width=2**20)
    rows = list(_lines(plain(config), "", 0))
    width = min(max((len(text) for text, _ in rows), default=0), 60)
    return "".join(
        f"{text:<{width}}  # {origins.get(path, Origin())}\n" if path else f"{text}\n"
        for text, path in rows
    )


def _lines(values: Mapping[str, Any], path: str, depth: int) -> Iterator[tuple[str, str]]:
    """Lines of YAML with the path of the setting that each shows; "" for the head of a section."""
    for key, value in values.items():
        where = join(path, key)
        head = "  " * depth + _flow(key)
        if isinstance(value, Mapping) and value:
            yield f"{head}:", ""
            yield from _lines(value, where, depth + 1)
        else:
            yield f"{head}: {_flow(value)}", where


def _flow(value: object) -> str:
    """A value on one line; JSON is YAML, and its escapes keep every value on its line."""
    if isinstance(value, str):
        text: str = yaml.safe_dump(value, width=2**20, default_flow_style=True)
        text = text.removesuffix("\n").removesuffix("\n...")
        return text if "\n" not in text else json.dumps(value)
    return _json(value)


def _json(value: object) -> str:
    """JSON whose numbers YAML reads as numbers: without a point it takes 1e-06 for a text."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{json.dumps(key)}: {_json(one)}" for key, one in value.items()) + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    text = json.dumps(value)
    if isinstance(value, float) and "." not in text:
        text = text.replace("e", ".0e")
    return text
