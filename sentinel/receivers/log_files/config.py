"""What a user may set about log files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from sentinel.core.normalise.logs.settings import (
    ContainerFormat,
    JoinSettings,
    LogFormat,
    LogKeys,
    Multiline,
    ReaderSettings,
)
from sentinel.runtime.settings import ByteSize, Duration, Zone, setting

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_CHUNK_BYTES_MIN = 4096


class StartAt(StrEnum):
    """Where a file that was there before is read from the first time."""

    END = "end"
    BEGINNING = "beginning"


class Encoding(StrEnum):
    """Encodings of text."""

    UTF_8 = "utf-8"
    LATIN_1 = "latin-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogKeysConfig:
    """Names of fields that are looked for before the well-known ones; `a>b` is `b` inside `a`."""

    time: tuple[str, ...] = setting((), help="When the line was written.", restart=True)
    severity: tuple[str, ...] = setting((), help="Its severity, a word or a number.", restart=True)
    event: tuple[str, ...] = setting((), help="The event's name.", restart=True)
    message: tuple[str, ...] = setting((), help="The text.", restart=True)
    trace: tuple[str, ...] = setting((), help="The trace id, in hexadecimal.", restart=True)
    service: tuple[str, ...] = setting((), help="The service that wrote it.", restart=True)
    method: tuple[str, ...] = setting((), help="Method of a finished call.", restart=True)
    status: tuple[str, ...] = setting((), help="Status code of a finished call.", restart=True)
    route: tuple[str, ...] = setting((), help="Route of a finished call.", restart=True)
    duration_s: tuple[str, ...] = setting((), help="How long it took, in seconds.", restart=True)
    duration_ms: tuple[str, ...] = setting(
        (), help="How long it took, in milliseconds.", restart=True
    )

    def keys(self) -> LogKeys:
        """The same for the core."""
        return LogKeys(**{name: getattr(self, name) for name in LogKeys.__dataclass_fields__})


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSourceConfig:
    """Files that are read in one way."""

    name: str = setting("", help="Name of the source, unique; a label of metrics.", restart=True)
    paths: tuple[str, ...] = setting(
        (), help="Patterns of absolute paths; `**` is any number of folders.", restart=True
    )
    exclude: tuple[str, ...] = setting(
        ("*.gz", "*.zst", "*.bz2", "*.xz", "*.zip"),
        help="Patterns of names or paths that are left out.",
        restart=True,
    )
    service: str = setting(
        "",
        help="The service that writes them; unset, the line's own field says it, or else the path.",
        restart=True,
    )
    format: LogFormat = setting(
        LogFormat.AUTO,
        help="How lines are read: `auto` tells by each line, `json`, `combined` (access logs), `nginx` (its error log), `postgres`,"
        " `klog`, `logfmt`, `plain`, or `kong` for its file-log plugin.",
        restart=True,
    )
    container: ContainerFormat = setting(
        ContainerFormat.AUTO,
        help="How a container runtime wrapped the lines: `auto`, `cri`, `docker`, or `none`.",
        restart=True,
    )
    multiline: Multiline = setting(
        Multiline.NONE,
        help="Which lines belong to the one before: `none`; `indent`, those of a stack trace; `first`, all that do not match"
        " `first_line`.",
        restart=True,
    )
    first_line: str = setting(
        "",
        help="With `multiline: first`, a regular expression that first lines match.",
        restart=True,
    )
    start: StartAt = setting(
        StartAt.END,
        help="Where a file that was there before is read from the first time: `end` or `beginning`. New files are read whole.",
        restart=True,
    )
    encoding: Encoding = setting(
        Encoding.UTF_8,
        help="Encoding of the text: `utf-8` or `latin-1`; what cannot be read is replaced and counted.",
        restart=True,
    )
    zone: Zone = setting(
        Zone("UTC"), help="Whose wall clock times without a zone are of.", restart=True
    )
    keys: LogKeysConfig = setting(
        LogKeysConfig(), help="Names of fields besides the well-known ones.", restart=True
    )

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            msg = "a log source must have a name of lower-case letters, digits, - and _"
            raise ValueError(msg)
        if not self.paths or not all(path.startswith("/") for path in self.paths):
            msg = f"paths of log source {self.name} must be given, and absolute"
            raise ValueError(msg)
        if (self.multiline is Multiline.FIRST) != bool(self.first_line):
            msg = "first_line goes with multiline: first, and the other way round"
            raise ValueError(msg)
        self.join_settings()

    def join_settings(self) -> JoinSettings:
        """How lines become records; ValueError when the expression is none."""
        first: re.Pattern[bytes] | None = None
        if self.first_line:
            try:
                first = re.compile(self.first_line.encode())
            except re.error as error:
                msg = f"first_line is no regular expression: {error}"
                raise ValueError(msg) from error
        return JoinSettings(container=self.container, multiline=self.multiline, first=first)

    def reader_settings(self) -> ReaderSettings:
        """How records are read."""
        return ReaderSettings(
            format=self.format,
            keys=self.keys.keys(),
            own_service=bool(self.service),
            encoding=self.encoding.value,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilesConfig:
    """Log files and container logs."""

    sources: tuple[LogSourceConfig, ...] = setting(
        (), help="Which files are read, and how; none by default.", restart=True
    )
    poll: Duration = setting(
        Duration(0.05), help="How often files are looked at for new lines.", restart=True
    )
    discover: Duration = setting(
        Duration(0.5), help="How often new files are looked for.", restart=True
    )
    files_max: int = setting(
        512, help="Most files followed at once; each is kept open.", restart=True
    )
    chunk_max: ByteSize = setting(
        ByteSize(128 * 1024),
        help="Most bytes read of one file before the others have their turn.",
        restart=True,
    )
    finished_after: Duration = setting(
        Duration(30.0),
        help="How long a file that was renamed or deleted is read on after its last line.",
        restart=True,
    )
    unshipped_after: Duration = setting(
        Duration(1800.0),
        help="How long such a file is kept open, once it was read, for endpoints that had no room for its lines.",
        restart=True,
    )
    unfinished_after: Duration = setting(
        Duration(10.0),
        help="How long the rest of a line is waited for before what there is is taken for all of it.",
        restart=True,
    )
    joined_after: Duration = setting(
        Duration(0.25),
        help="How long another line of a record of many lines is waited for.",
        restart=True,
    )

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            msg = "log sources must have different names"
            raise ValueError(msg)
        for name in (
            "poll",
            "discover",
            "finished_after",
            "unshipped_after",
            "unfinished_after",
            "joined_after",
        ):
            if getattr(self, name) <= 0:
                msg = f"{name} must be above 0"
                raise ValueError(msg)
        if self.files_max < 1:
            msg = "files_max must be at least 1"
            raise ValueError(msg)
        if self.chunk_max < _CHUNK_BYTES_MIN:
            msg = "chunk_max must be at least 4KiB"
            raise ValueError(msg)
