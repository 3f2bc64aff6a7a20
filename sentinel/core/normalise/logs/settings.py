"""What is settled of a source of lines before one is read; apart from the readers, so that a configuration loads none."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from sentinel.core.redact.text import LINE_CHARS_MAX


class ContainerFormat(StrEnum):
    """How a runtime wraps the lines of a container; `auto` tells by each line, `none` is a file the program itself wrote."""

    NONE = "none"
    AUTO = "auto"
    CRI = "cri"
    DOCKER = "docker"


class Multiline(StrEnum):
    """Which lines belong to the one before: none; those that are indented or empty; those that do not look like a first line."""

    NONE = "none"
    INDENT = "indent"
    FIRST = "first"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinSettings:
    """How lines become records.

    Attributes:
        container: how lines are wrapped.
        multiline: which lines belong together.
        first: with `Multiline.FIRST`, what the first line of a record looks like.
        bytes_max, lines_max: bounds of a record.
    """

    container: ContainerFormat = ContainerFormat.NONE
    multiline: Multiline = Multiline.NONE
    first: re.Pattern[bytes] | None = None
    bytes_max: int = LINE_CHARS_MAX
    lines_max: int = 500


class LogFormat(StrEnum):
    """How records are read; `auto` tells by each record. Those of Kong's file-log are read by `kong_files`."""

    AUTO = "auto"
    JSON = "json"
    COMBINED = "combined"
    NGINX = "nginx"
    POSTGRES = "postgres"
    KLOG = "klog"
    LOGFMT = "logfmt"
    PLAIN = "plain"
    KONG = "kong"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeys:
    """Names of fields that are looked for before the known ones; `a>b` is `b` inside `a`.

    Attributes:
        time, severity, event, message, trace, service, method, status, route: of what each is named after.
        duration_s, duration_ms: of how long the call took, in these units.
    """

    time: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    event: tuple[str, ...] = ()
    message: tuple[str, ...] = ()
    trace: tuple[str, ...] = ()
    service: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    duration_s: tuple[str, ...] = ()
    duration_ms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSettings:
    """How a source's records are read.

    Attributes:
        format: see `LogFormat`.
        keys: names of fields that come before the known ones.
        own_service: the service a record is read for is certain, whatever it says itself.
        encoding: of the text, `utf-8` or `latin-1`.
    """

    format: LogFormat = LogFormat.AUTO
    keys: LogKeys = field(default_factory=LogKeys)
    own_service: bool = False
    encoding: str = "utf-8"
