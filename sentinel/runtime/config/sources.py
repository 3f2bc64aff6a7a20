"""Where configuration comes from: one file or a folder of them, and the environment, merged to one tree.

A folder's files are merged in name order. Mappings merge deeply; everything else, lists too, is one value and
may be written in one file only: a value that silently wins over another is a value nobody finds. The environment
comes last and does override, because that is what it is for.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sentinel.errors import ConfigProblem
from sentinel.runtime.config.slips import colon_hint
from sentinel.runtime.config.text import (
    TEXT_BYTES_MAX,
    MapEntry,
    MapNode,
    Node,
    Origin,
    Style,
    TextNode,
    join,
    parse_text,
    shown,
)
from sentinel.runtime.nearest import nearest

VARIABLE_PREFIX = "SENTINEL_"
FILES_MAX = 64
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The bytes of a configuration.

    Attributes:
        files: each file with its bytes, in the order they are merged.
        problems: why the rest could not be had.
        unreadable: whether something could not be read at all.
    """

    files: dict[Path, bytes]
    problems: tuple[ConfigProblem, ...]
    unreadable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What was read, merged.

    Attributes:
        tree: the merged mapping.
        contents: the files it came from.
        problems: faults of form, duplicates between files, files that cannot be read.
        warnings: things that are allowed and yet probably wrong.
    """

    tree: MapNode
    contents: Contents
    problems: tuple[ConfigProblem, ...]
    warnings: tuple[ConfigProblem, ...]


class UnreadableFileError(Exception):
    """A file cannot be read; the message is a clause without the file's name."""


def read_sources(
    path: Path | None, environment: Mapping[str, str], *, top_level: Iterable[str]
) -> Sources:
    """Read and merge everything; faults are collected, not raised.

    Args:
        path: a file, a folder, or None for the defaults and the environment alone.
        environment: variables; only those of Sentinel are looked at.
        top_level: names of the settings and sections that `SENTINEL_NAME` may set.
    """
    warnings: list[ConfigProblem] = []
    contents = read_contents(path)
    problems = list(contents.problems)
    tree = MapNode(origin=Origin())
    for file, data in contents.files.items():
        node, faults = parse_text(data, file=str(file))
        problems += faults
        if isinstance(node, MapNode):
            tree = _merged(tree, node, "", problems)
        elif node is not None and not _is_nothing(node):
            hint = colon_hint(node.text) if isinstance(node, TextNode) else ""
            message = "must be a mapping of settings" + (f": {hint}" if hint else "")
            problems.append(node.origin.problem("", message))
    for name, keys in _overrides(environment, set(top_level), warnings):
        value = TextNode(
            text=environment[name], style=Style.ENVIRONMENT, origin=Origin(variable=name)
        )
        tree = _overridden(tree, keys, value, problems)
    return Sources(
        tree=tree,
        contents=contents,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def read_contents(path: Path | None) -> Contents:
    """The files of a configuration and their bytes, bounded in number and size."""
    files: dict[Path, bytes] = {}
    problems: list[ConfigProblem] = []
    unreadable = False
    total_bytes = 0
    try:
        names = [] if path is None else config_files(path)
    except UnreadableFileError as error:
        problem = ConfigProblem(path="", message=f"{path} {error}")
        return Contents(files={}, problems=(problem,), unreadable=True)
    for file in names:
        try:
            data = read_file(file, limit_bytes=TEXT_BYTES_MAX)
        except UnreadableFileError as error:
            problems.append(ConfigProblem(path="", message=f"{file} {error}"))
            unreadable = True
            continue
        total_bytes += len(data)
        if total_bytes > TEXT_BYTES_MAX:
            message = (
                f"brings the configuration above {TEXT_BYTES_MAX} bytes, the most that is read"
            )
            problems.append(Origin(file=str(file), line=1).problem("", message))
            break
        files[file] = data
    return Contents(files=files, problems=tuple(problems), unreadable=unreadable)


def contents_digest(
    files: Mapping[Path, bytes], secrets: Mapping[Path, bytes], environment: Mapping[str, str]
) -> str:
    """Changes when a byte of the files, the secrets or Sentinel's variables does."""
    parts: list[bytes] = []
    for path, data in [*files.items(), *sorted(secrets.items())]:
        parts += [str(path).encode("utf-8", "surrogateescape"), data]
    for name in sorted(environment):
        if name.startswith(VARIABLE_PREFIX):
            parts += [one.encode("utf-8", "surrogateescape") for one in (name, environment[name])]
    framed = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return hashlib.sha256(framed).hexdigest()


def config_files(path: Path) -> list[Path]:
    """The files of a configuration: the path itself, or a folder's `*.yaml` and `*.yml` in name order.

    Hidden names are left out: Kubernetes keeps the old and new contents of a mounted folder in them.
    """
    try:
        if not path.is_dir():
            return [path]
        with os.scandir(path) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.name.endswith(_SUFFIXES) and not entry.name.startswith(".")
            )
    except OSError as error:
        msg = f"cannot be read: {_reason(error)}"
        raise UnreadableFileError(msg) from error
    if not names:
        msg = "is a folder without a *.yaml file"
        raise UnreadableFileError(msg)
    if len(names) > FILES_MAX:
        msg = f"is a folder with {len(names)} *.yaml files; at most {FILES_MAX} are read"
        raise UnreadableFileError(msg)
    return [path / name for name in names]


def read_file(path: Path, *, limit_bytes: int) -> bytes:
    """The bytes of a regular file, at most one more than the limit so that the caller can tell.

    Opened without blocking: a named pipe nobody writes to would stop the start, or a reload, for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        msg = f"cannot be read: {_reason(error)}"
        raise UnreadableFileError(msg) from error
    # Looked at before it is made a file object, which a folder cannot become.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        msg = "is not a regular file"
        raise UnreadableFileError(msg)
    with os.fdopen(descriptor, "rb") as handle:
        try:
            return handle.read(limit_bytes + 1)
        except OSError as error:
            msg = f"cannot be read: {_reason(error)}"
            raise UnreadableFileError(msg) from error


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return "its name is not a path"


def _merged(first: MapNode, second: MapNode, path: str, problems: list[ConfigProblem]) -> MapNode:
    """Both mappings as one; a leaf in both is refused, and the first is kept to go on with."""
    entries = dict(first.entries)
    for key, entry in second.entries.items():
        known = entries.get(key)
        where = join(path, key)
        if known is None or _is_nothing(known.value):
            entries[key] = entry
        elif isinstance(known.value, MapNode) and isinstance(entry.value, MapNode):
            value = _merged(known.value, entry.value, where, problems)
            entries[key] = MapEntry(origin=known.origin, value=value)
        elif not _is_nothing(entry.value):
            message = f"was given already in {known.origin}; write it in one file only"
            problems.append(entry.origin.problem(where, message))
    return MapNode(entries=entries, origin=first.origin if first.entries else second.origin)


def _is_nothing(node: Node) -> bool:
    """Whether it is a section of which every line is commented out, or null."""
    return isinstance(node, TextNode) and (node.is_empty or node.is_null)


def _overrides(
    environment: Mapping[str, str], top_level: set[str], warnings: list[ConfigProblem]
) -> list[tuple[str, list[str]]]:
    """The variables that are overrides, with the keys they lead to.

    `SENTINEL_NAME` without a double underscore counts only when it is a setting's name: Kubernetes sets
    `SENTINEL_SERVICE_HOST` and its like in every pod that shares a namespace with a service called sentinel.
    """
    found = []
    for name in sorted(environment):
        if not name.startswith(VARIABLE_PREFIX):
            continue
        rest = name.removeprefix(VARIABLE_PREFIX).lower()
        if "__" in rest or rest in top_level:
            found.append((name, rest.split("__")))
        elif near := nearest(rest, top_level):
            message = (
                f"the environment variable {name} sets nothing:"
                f" did you mean {VARIABLE_PREFIX}{near.upper()}?"
            )
            warnings.append(ConfigProblem(path="", message=message))
    return found


def _overridden(
    tree: MapNode, keys: list[str], value: TextNode, problems: list[ConfigProblem]
) -> MapNode:
    """The tree with one value put in; mappings on the way are made where there are none."""
    key, rest = keys[0], keys[1:]
    if not key:
        problems.append(value.origin.problem("", "has an empty name between its underscores"))
        return tree
    known = tree.entries.get(key)
    if not rest:
        new: Node = value
    elif known is not None and isinstance(known.value, MapNode):
        new = _overridden(known.value, rest, value, problems)
    elif known is None or _is_nothing(known.value):
        new = _overridden(MapNode(origin=value.origin), rest, value, problems)
    else:
        message = f"cannot be set inside {shown(key)}, which is a value at {known.origin}"
        problems.append(value.origin.problem(".".join(keys), message))
        return tree
    origin = known.origin if known is not None and rest else value.origin
    entries = {**tree.entries, key: MapEntry(origin=origin, value=new)}
    return MapNode(entries=entries, origin=tree.origin)
