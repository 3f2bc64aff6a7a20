"""How a component declares what a user may set.

A `…Config` is a frozen dataclass with every default visible. Each field is made with `setting`, whose help
becomes docs/configuration.md. The types a field may have are those `sentinel.runtime.config.loader` can bind:
str, int, float, bool, a StrEnum, `Duration`, `ByteSize`, `FilePath`, `Ratio`, `Secret`, `Zone`, another config, a tuple of
these, a dict from str to these, and `X | None`.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, NewType

Duration = NewType("Duration", float)
"""Seconds; written with a unit: `250ms`, `10s`, `5m`, `2h`, `7d`, `4w`."""

ByteSize = NewType("ByteSize", int)
"""Bytes; written with a unit: `512B`, `64KiB`, `4MiB`, `2GiB`."""

Ratio = NewType("Ratio", float)
"""A share, 0-1."""

FilePath = NewType("FilePath", str)
"""The path of a file; empty for none. A relative one in a file is beside that file, as loaded it is whole."""

Zone = NewType("Zone", str)
"""An IANA time zone, such as `Europe/Berlin`."""


class Secret:
    """A text that never shows itself: `repr`, `str` and logs give `***`."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; call it only where it is used."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    def __str__(self) -> str:
        return "***"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


def setting(default: Any, *, help: str, restart: bool = False) -> Any:  # noqa: A002, ANN401, RUF100
    """A field of a config: its default, one sentence for the documentation, and whether a change needs a restart."""
    if isinstance(default, (list, dict, set)):
        frozen = default
        return field(
            default_factory=lambda: type(frozen)(frozen),
            metadata={"help": help, "restart": restart},
        )
    return field(default=default, metadata={"help": help, "restart": restart})
