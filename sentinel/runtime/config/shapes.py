"""The form of every setting, from the annotations of the config classes; loader, schema and documents walk it."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

from sentinel.runtime.config.types import SCALARS, ScalarType
from sentinel.runtime.settings import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A setting that holds one scalar."""

    type: ScalarType


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A setting that holds one value of an enumeration."""

    enum: type[StrEnum]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hidden:
    """A secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Many:
    """A list."""

    item: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A mapping from free keys."""

    value: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A config class."""

    cls: type[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Maybe:
    """Something that may be `null`."""

    inner: Shape


Shape = Scalar | Choice | Hidden | Many | Named | Section | Maybe


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingField:
    """One field of a config class.

    Attributes:
        name, shape: what it is called and holds.
        default: its default; `MISSING` where it must be given.
        help: its sentence in the documentation.
        restart: whether a change needs a restart.
    """

    name: str
    shape: Shape
    default: Any
    help: str
    restart: bool

    @property
    def is_required(self) -> bool:
        """Whether it has no default."""
        return self.default is MISSING

    @property
    def secret_key(self) -> str | None:
        """The key that names a file with the secret, for a secret."""
        inner = self.shape.inner if isinstance(self.shape, Maybe) else self.shape
        holds = inner.item if isinstance(inner, Many) else inner
        return f"{self.name}_file" if isinstance(holds, Hidden) else None


def setting_fields(cls: type[Any], base: object = None) -> list[SettingField]:
    """The settings of a config class, in their order.

    A section may be given defaults of its own where it is used; `base` is that default, and its values count
    for what is left unset in the section.
    """
    hints = typing.get_type_hints(cls)
    return [
        SettingField(
            name=one.name,
            shape=shape_of(hints[one.name], where=f"{cls.__name__}.{one.name}"),
            default=getattr(base, one.name) if isinstance(base, cls) else _default_of(one),
            help=str(one.metadata.get("help", "")),
            restart=bool(one.metadata.get("restart", False)),
        )
        for one in fields(cls)
        if one.init
    ]


def _default_of(one: Field[Any]) -> object:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return one.default


def shape_of(annotation: Any, *, where: str) -> Shape:
    """The shape of an annotation; TypeError, at import time of a test, where the loader could not bind it."""
    if annotation in SCALARS:
        return Scalar(type=SCALARS[annotation])
    if annotation is Secret:
        return Hidden()
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return Choice(enum=annotation)
    if isinstance(annotation, type) and is_dataclass(annotation):
        return Section(cls=annotation)
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is tuple and len(arguments) == 2 and arguments[1] is ...:
        return Many(item=shape_of(arguments[0], where=where))
    if origin is dict and arguments[0] is str:
        return Named(value=shape_of(arguments[1], where=where))
    if origin in (typing.Union, types.UnionType) and len(arguments) == 2:
        inner = [one for one in arguments if one is not types.NoneType]
        if len(inner) == 1:
            return Maybe(inner=shape_of(inner[0], where=where))
    msg = f"{where} has the type {annotation}, which a setting cannot have"
    raise TypeError(msg)
