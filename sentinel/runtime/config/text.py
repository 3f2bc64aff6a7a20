"""Configuration text to a tree in which every value knows where it was written.

The tree is built from the parser's events, not with `yaml.safe_load`: loading expands aliases without a bound,
lets the last of two equal keys win, recurses as deep as the text does, and turns `no`, `010` and `1:30` into
something nobody meant. Here nothing is interpreted: a scalar stays text until `config_types` knows what it is for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import yaml

from sentinel.errors import ConfigProblem
from sentinel.runtime.config.slips import slip_of
from sentinel.runtime.printable import printable

TEXT_BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
FAULTS_MAX = 100
"""Faults of form listed for one text; a file with more is not a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a value was written: a line of a file, or an environment variable; neither for a default."""

    file: str | None = None
    line: int | None = None
    variable: str | None = None

    def __str__(self) -> str:
        if self.variable is not None:
            return f"environment {self.variable}"
        if self.file is not None:
            return self.file if self.line is None else f"{self.file}:{self.line}"
        return "default"

    def beside(self, path: str) -> Path:
        """A path as it is meant here: a relative one in a file is beside the file, wherever Sentinel was started from."""
        return (Path(self.file).parent if self.file else Path()) / path

    def problem(self, path: str, message: str) -> ConfigProblem:
        """A fault of the setting `path`, at this place."""
        if self.variable is not None:
            message = f"{message} (from the environment variable {self.variable})"
        return ConfigProblem(path=path, message=message, file=self.file, line=self.line)


class Style(StrEnum):
    """How a scalar was written; it decides what the text may mean.

    BROKEN stands for a value that was refused already and must not be complained about again.
    """

    PLAIN = "plain"
    QUOTED = "quoted"
    ENVIRONMENT = "environment"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextNode:
    """One scalar, uninterpreted."""

    text: str
    style: Style
    origin: Origin

    @property
    def is_null(self) -> bool:
        """Whether it says that there is no value."""
        return self.style is Style.PLAIN and self.text in ("null", "Null", "NULL", "~")

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written after the key."""
        return self.style is Style.PLAIN and not self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class ListNode:
    """A list."""

    items: tuple[Node, ...]
    origin: Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class MapEntry:
    """A value and the place of its key."""

    origin: Origin
    value: Node


@dataclass(frozen=True, slots=True, kw_only=True)
class MapNode:
    """A mapping from text to values, in the order written."""

    entries: dict[str, MapEntry] = field(default_factory=dict)
    origin: Origin


Node = TextNode | ListNode | MapNode


def parse_text(
    data: bytes, *, file: str, variable: str | None = None
) -> tuple[Node | None, list[ConfigProblem]]:
    """The tree of one text, and every fault found in its form.

    The tree is None when the text is empty or its syntax is broken; a fault in one value leaves the rest usable.
    `variable` is given when the text came from the environment; faults then name it instead of a line.
    """
    if len(data) > TEXT_BYTES_MAX:
        message = f"has {len(data)} bytes; at most {TEXT_BYTES_MAX} are read"
        return None, [Origin(file=file, line=1).problem("", message)]
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return None, [Origin(file=file, line=line).problem("", "is not UTF-8")]
    builder = _Builder(file=file, variable=variable)
    try:
        # Iterating the events costs no recursion, so the depth limit is met before anything deep exists.
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except _StopReadingError:
        return None, builder.problems
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        builder.note(line, "has a control character, which YAML does not allow")
        return None, builder.problems
    except yaml.MarkedYAMLError as error:
        builder.note(*slip_of(error, text))
        return None, builder.problems
    except (ValueError, OverflowError):
        # The scanner turns `\U00110000` and very long %YAML versions into numbers without a check.
        builder.note(builder.line, "has an escape or a directive that is out of range")
        return None, builder.problems
    return builder.root, builder.problems


class _StopReadingError(Exception):
    """A fault after which the rest of the text means nothing."""


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is still being read."""

    origin: Origin
    is_map: bool
    items: list[Node] = field(default_factory=list)
    entries: dict[str, MapEntry] = field(default_factory=dict)
    awaits_value: bool = False
    key: str | None = None
    key_origin: Origin = field(default_factory=Origin)

    def close(self) -> Node:
        if self.is_map:
            return MapNode(entries=self.entries, origin=self.origin)
        return ListNode(items=tuple(self.items), origin=self.origin)


class _Builder:
    """Puts events together to a tree; a stack instead of recursion."""

    def __init__(self, *, file: str, variable: str | None) -> None:
        self._file = file
        self._variable = variable
        self._stack: list[_Frame] = []
        self._documents_count = 0
        self.root: Node | None = None
        self.problems: list[ConfigProblem] = []
        self.line = 1

    def take(self, event: yaml.Event) -> None:
        self.line = event.start_mark.line + 1 if event.start_mark else self.line
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents_count += 1
            if self._documents_count > 1:
                self.refuse(self.line, "has a second document (`---`): write one document a file")
                raise _StopReadingError
        elif isinstance(event, yaml.AliasEvent):
            self.refuse(self.line, f"aliases (`*{event.anchor}`) are refused: write the value out")
            self._add(TextNode(text="", style=Style.BROKEN, origin=self._here()))
        elif isinstance(event, yaml.ScalarEvent):
            self._check_properties(event.anchor, event.tag)
            style = Style.QUOTED if event.style else Style.PLAIN
            if _has_bad_character(event.value):
                self.refuse(self.line, "has a control character or a lone surrogate")
                style = Style.BROKEN
            self._add(TextNode(text=event.value, style=style, origin=self._here()))
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._check_properties(event.anchor, event.tag)
            if len(self._stack) >= DEPTH_MAX:
                self.refuse(self.line, f"is nested deeper than {DEPTH_MAX} levels")
                raise _StopReadingError
            is_map = isinstance(event, yaml.MappingStartEvent)
            self._stack.append(_Frame(origin=self._here(), is_map=is_map))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._add(self._stack.pop().close())

    def note(self, line: int, message: str) -> None:
        self.problems.append(self._here(line).problem(self._path(), message))

    def refuse(self, line: int, message: str) -> None:
        self.note(line, message)
        if len(self.problems) >= FAULTS_MAX:
            raise _StopReadingError

    def _here(self, line: int | None = None) -> Origin:
        if self._variable is not None:
            return Origin(variable=self._variable)
        return Origin(file=self._file, line=self.line if line is None else line)

    def _path(self) -> str:
        path = ""
        for frame in self._stack:
            path = path if frame.key is None else join(path, frame.key)
        return path

    def _check_properties(self, anchor: str | None, tag: str | None) -> None:
        if anchor is not None:
            self.refuse(self.line, f"anchors (`&{anchor}`) are refused: write the value out")
        if tag is not None:
            self.refuse(self.line, "tags (`!...`) are refused: the setting decides its type")

    def _add(self, node: Node) -> None:
        if not self._stack:
            self.root = node
            return
        frame = self._stack[-1]
        if not frame.is_map:
            frame.items.append(node)
        elif frame.awaits_value:
            frame.awaits_value = False
            if frame.key is not None:
                frame.entries[frame.key] = MapEntry(origin=frame.key_origin, value=node)
            frame.key = None
        else:
            frame.awaits_value = True
            frame.key = self._accepted_key(frame, node)
            frame.key_origin = node.origin

    def _accepted_key(self, frame: _Frame, node: Node) -> str | None:
        """The key as text, or None when it is refused; the value after it is then thrown away."""
        line = node.origin.line or self.line
        if not isinstance(node, TextNode) or node.is_empty:
            self.refuse(line, "keys must be plain text")
            return None
        if node.style is Style.BROKEN:
            return None
        if node.text == "<<":
            self.refuse(line, "merge keys (`<<`) are refused: write the values out")
            return None
        if node.text in frame.entries:
            first = frame.entries[node.text].origin
            self.refuse(line, f"the key {shown(node.text)} was given already (line {first.line})")
            return None
        return node.text


def join(path: str, key: str) -> str:
    """The dotted path of a key below a path; keys that are not names stand in brackets."""
    if not key.isidentifier():
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


def shown(text: str) -> str:
    """User text for a message: one line, quoted, escaped and cut."""
    return f"'{printable(text if len(text) <= 60 else text[:57] + '...')}'"


def _has_bad_character(text: str) -> bool:
    if text.isprintable():
        return False
    return any(
        (ord(character) < 0x20 and character not in "\n\t")
        or 0x7F <= ord(character) < 0xA0
        or 0xD800 <= ord(character) < 0xE000
        for character in text
    )
