"""What a look round brings: what stands where, what it lacks, and what of the configuration follows from it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sentinel.runtime.logging import scrub
from sentinel.runtime.printable import printable

_SENTENCE_CHARACTERS_MAX = 300
_NAME_CHARACTERS_MAX = 40


class Outcome(StrEnum):
    """How a look at one place ended.

    FOUND is as it should be; LACKING was found and gives less than it could, or wants credentials; OTHER is something
    else than was said; ABSENT is not there or does not answer.
    """

    FOUND = "found"
    LACKING = "lacking"
    OTHER = "other"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """One item of a list inside an entry, such as one query of a server.

    Attributes:
        values: the settings.
        comments: sentences that stand above it.
    """

    values: Mapping[str, Any]
    comments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One item of a list of the configuration.

    Attributes:
        section: the list: `("scrapers", "nats")`.
        values: the settings; `name` is one of them. A list of `Nested` is a list of settings of its own.
        comments: sentences that stand above it.
        remarks: lines that stand below it as comments, such as a secret's setting.
        group: parts of one whole share it, such as a cluster: they are one item, whose lists hold what each has.
        is_own_service: whether another of its kind is another service, and not one more node of the same.
        is_active: whether it takes effect as it stands; if not, it is written as a comment for a person to finish.
    """

    section: tuple[str, ...]
    values: Mapping[str, Any]
    comments: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    group: str = ""
    is_own_service: bool = True
    is_active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was looked at and what came of it.

    Attributes:
        kind: `prometheus`, `metrics`, `kong`, `nats`, `postgres` or `logs`.
        where: its address or folder, without credentials.
        outcome: in a word.
        sentence: in a sentence.
        asked: whether a person named it; what is only usually there may be absent.
        advice: what to change on the other side, one sentence each.
        entries: what follows for the configuration.
    """

    kind: str
    where: str
    outcome: Outcome
    sentence: str
    asked: bool = True
    advice: tuple[str, ...] = ()
    entries: tuple[Entry, ...] = field(default=())


def told(text: str) -> str:
    r"""Text from outside on one line, without secrets, bounded.

    >>> told("a\nb")
    'a\\nb'
    """
    text = printable(scrub(text[: 4 * _SENTENCE_CHARACTERS_MAX]))
    if len(text) > _SENTENCE_CHARACTERS_MAX:
        return text[: _SENTENCE_CHARACTERS_MAX - 3] + "..."
    return text


def name_for(text: str, taken: Collection[str] = ()) -> str:
    """A name for a target that no other has: lower case, digits, `-` and `_`.

    >>> name_for("Node Exporter"), name_for("kong", {"kong"}), name_for("")
    ('node-exporter', 'kong-2', 'target')
    """
    name = re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:_NAME_CHARACTERS_MAX]
    name = name or "target"
    number = 2
    chosen = name
    while chosen in taken:
        chosen = f"{name}-{number}"
        number += 1
    return chosen
