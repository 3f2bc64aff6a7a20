"""A folder of logs: which files grow there and in which form they are, by reading a little of each."""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from sentinel.app.discover.asking import system_reason
from sentinel.app.discover.findings import Entry, Finding, Outcome, name_for, told

SECTION = ("receivers", "log_files", "sources")
_FILES_MAX = 2000
_READ_FILES_MAX = 60
_DEPTH_MAX = 4
_READ_BYTES = 32 * 1024
_LINES_MAX = 40
_LOG_SUFFIXES = (".log", ".json", ".out", ".err", ".txt")
_ROTATED = re.compile(r"(\.(gz|bz2|xz|zst|zip|old|bak)|[.-]\d{1,3}|[.-]\d{8}([.-]\d+)?)$")
_CRI = re.compile(rb"\d{4}-\d\d-\d\dT\S+ (stdout|stderr) [FP]( |$)")
_NGINX_ACCESS = re.compile(rb'\S+ \S+ \S+ \[[^\]]+\] "[^"]*" \d{3} (\d+|-)')
_NGINX_ERROR = re.compile(rb"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[[a-z]+\] \d+#\d+:")
_LOGFMT = re.compile(rb'(\S+=("[^"]*"|\S*) ?){3,}')
_SYSLOG = re.compile(rb"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|\d{4}-\d\d-\d\dT\S+) \S+ [^ :]+: ")


@dataclass(slots=True, kw_only=True)
class LogGroup:
    """Files of one folder whose names end alike.

    Attributes:
        folder, pattern: where, and what their names have in common.
        by_form: how many there are of each form; "" are those that are empty so far.
        size_bytes: all of them together.
    """

    folder: Path
    pattern: str
    by_form: Counter[str] = field(default_factory=Counter)
    size_bytes: int = 0


def look_at_logs(folder: Path, *, asked: bool = True) -> Finding:
    """The files of a folder and of those below it, grouped by folder and form."""
    where = told(str(folder))
    try:
        if not folder.is_dir():
            folder.stat()
            return _finding(where, Outcome.OTHER, "is not a folder", asked=asked)
        groups, advice = _groups(folder)
    except OSError as error:
        return _finding(where, Outcome.ABSENT, system_reason(error), asked=asked)
    if not groups:
        outcome = Outcome.LACKING if advice else Outcome.ABSENT
        sentence = "no log files that can be read"
        return _finding(where, outcome, sentence, asked=asked, advice=tuple(advice))
    all_forms = sum((group.by_form for group in groups), Counter[str]())
    return _finding(
        where,
        Outcome.FOUND,
        _counted(all_forms),
        asked=asked,
        advice=tuple(advice),
        entries=tuple(map(_entry, groups)),
    )


def form_of(start: bytes) -> str:
    r"""The form of a file by its first lines; "" when it is empty or not text.

    >>> form_of(b'2026-01-01T00:00:00.1Z stdout F hello\n')
    'CRI'
    >>> form_of(b'{"level": "info", "msg": "hello"}\n')
    'JSON lines'
    """
    if b"\x00" in start:
        return ""
    lines = [line for line in start.split(b"\n")[:_LINES_MAX] if line.strip()]
    if len(start) >= _READ_BYTES and len(lines) > 1 and not start.endswith(b"\n"):
        lines = lines[:-1]  # the last was cut
    if not lines:
        return ""
    votes = Counter(_form_of_line(line) for line in lines)
    form, count = votes.most_common(1)[0]
    # A form is one where nearly all lines have it; free text has lines that look like anything.
    return form if count * 4 >= len(lines) * 3 else "plain text"


def _form_of_line(line: bytes) -> str:
    if line.lstrip().startswith(b"{"):
        return _form_of_object(line)
    for pattern, form in (
        (_CRI, "CRI"),
        (_NGINX_ACCESS, "nginx access"),
        (_NGINX_ERROR, "nginx error"),
        (_SYSLOG, "syslog"),
    ):
        if pattern.match(line):
            return form
    return "logfmt" if _LOGFMT.fullmatch(line.rstrip(b"\r")) else "plain text"


def _form_of_object(line: bytes) -> str:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return "plain text"
    if not isinstance(found, dict):
        return "plain text"
    if {"log", "stream", "time"} <= found.keys():
        return "Docker JSON"
    if "error_severity" in found and "message" in found:
        return "PostgreSQL jsonlog"
    if {"latencies", "request", "response"} <= found.keys():
        return "Kong file-log"
    return "JSON lines"


def _groups(folder: Path) -> tuple[list[LogGroup], list[str]]:
    """The groups of files below a folder, and what is to be said of others."""
    groups: dict[tuple[Path, str], LogGroup] = {}
    unreadable: Counter[str] = Counter()
    read_count = left_out_count = 0
    for path, size_bytes in _files(folder):
        if _ROTATED.search(path.name) or (not size_bytes and path.suffix not in _LOG_SUFFIXES):
            continue
        if read_count >= _READ_FILES_MAX:
            left_out_count += 1
            continue
        read_count += 1
        try:
            form = form_of(_start_of(path))
        except OSError as error:
            unreadable[system_reason(error)] += 1
            continue
        if form or not size_bytes:
            pattern = f"*{path.suffix}" if path.suffix else path.name
            group = groups.setdefault(
                (path.parent, pattern), LogGroup(folder=path.parent, pattern=pattern)
            )
            group.by_form[form] += 1
            group.size_bytes += size_bytes
    advice = [f"{count} of its files cannot be read: {why}." for why, count in unreadable.items()]
    if left_out_count:
        advice.append(
            f"{left_out_count} more files were not looked at; name a folder further down."
        )
    return [groups[key] for key in sorted(groups)], advice


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    """Regular files below a folder with their sizes, bounded; links to folders are not followed."""
    seen_count = 0
    for parent, folders, names in os.walk(folder, onerror=_raise_at(folder)):
        depth = len(Path(parent).relative_to(folder).parts)
        folders[:] = sorted(folders) if depth < _DEPTH_MAX else []
        for name in sorted(names):
            seen_count += 1
            if seen_count > _FILES_MAX:
                return
            path = Path(parent) / name
            try:
                found = path.stat()
            except OSError:
                continue  # went away, or a link to nowhere
            if stat.S_ISREG(found.st_mode):
                yield path, found.st_size


def _raise_at(folder: Path) -> Callable[[OSError], None]:
    def note(error: OSError) -> None:
        if error.filename == str(folder):
            raise error

    return note


def _start_of(path: Path) -> bytes:
    # Opened so that a pipe that took the file's place does not hang the look.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        return file.read(_READ_BYTES)


def _entry(group: LogGroup) -> Entry:
    is_of_folder = group.pattern.startswith("*")
    name = name_for(group.folder.name if is_of_folder else Path(group.pattern).stem)
    return Entry(
        section=SECTION,
        values={
            "name": name,
            "paths": [str(group.folder / group.pattern)],
            "service": name,
        },
        comments=(f"{_counted(group.by_form)}; {group.size_bytes / 1e6:.1f} MB.",),
    )


def _counted(by_form: Counter[str]) -> str:
    """How many files there are, by form.

    >>> _counted(Counter({"CRI": 2, "": 1}))
    '3 files: 2 of CRI, 1 empty so far'
    """
    count = by_form.total()
    parts = [
        f"{number} of {form}" if form else f"{number} empty so far"
        for form, number in by_form.most_common()
    ]
    return f"{count} file{'' if count == 1 else 's'}: {', '.join(parts)}"


def _finding(
    where: str,
    outcome: Outcome,
    sentence: str,
    *,
    asked: bool,
    advice: tuple[str, ...] = (),
    entries: tuple[Entry, ...] = (),
) -> Finding:
    return Finding(
        kind="logs",
        where=where,
        outcome=outcome,
        sentence=sentence,
        asked=asked,
        advice=advice,
        entries=entries,
    )
