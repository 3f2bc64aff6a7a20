"""Configuration into frozen dataclasses: strict, every fault at once, each with its file and line.

`load` reads the sources, binds the tree to a config class by the class's own annotations, and raises one
`ConfigError` with everything it found, in the order of files and lines. Start-up, reload and
`sentinel check config` call it alike, so what is checked is what runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final, Generic, TypeVar, cast

from sentinel.errors import ConfigError, ConfigProblem, ConfigUnreadableError
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
from sentinel.runtime.config.slips import colon_hint
from sentinel.runtime.config.sources import (
    UnreadableFileError,
    contents_digest,
    read_contents,
    read_file,
    read_sources,
)
from sentinel.runtime.config.text import (
    ListNode,
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
from sentinel.runtime.config.types import parse_scalar
from sentinel.runtime.nearest import hint_for, nearest
from sentinel.runtime.settings import Secret

Config = TypeVar("Config")

SECRET_BYTES_MAX = 64 * 1024
_NAMES_LISTED_MAX = 16
_PLACES_LISTED_MAX = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[Config]):
    """A configuration that may be run.

    Attributes:
        config: the values.
        origins: where each value that is not a default was written, by its dotted path.
        files: the files read, in the order they were merged.
        secret_files: the files secrets were read from.
        digest: changes when anything that was read changes, secrets too; for noticing a change, not for showing.
        warnings: things that are allowed and yet probably wrong.
    """

    config: Config
    origins: dict[str, Origin]
    files: tuple[Path, ...]
    secret_files: tuple[Path, ...]
    digest: str
    warnings: tuple[ConfigProblem, ...]


def load(
    cls: type[Config],
    path: Path | None,
    *,
    environment: Mapping[str, str] | None = None,
    allow_plain_secrets: bool = False,
) -> Loaded[Config]:
    """Load a file or folder, with overrides from the environment; without either, the defaults.

    Args:
        cls: the config class of the whole tree.
        path: a YAML file, a folder of them, or None.
        environment: variables, of which those beginning with `SENTINEL_` are overrides.
        allow_plain_secrets: accept secrets written in the file itself; for tests.

    Raises:
        ConfigUnreadableError: a file cannot be read.
        ConfigError: anything else is wrong; every fault is in `problems`.
    """
    settings = setting_fields(cls)
    sources = read_sources(path, environment or {}, top_level=[one.name for one in settings])
    binder = _Binder(allow_plain_secrets=allow_plain_secrets)
    config = binder.bind(Section(cls=cls), sources.tree, "")
    problems = sorted(
        [*sources.problems, *binder.problems],
        key=lambda one: (one.file or "", one.line or 0, one.path, one.message),
    )
    if problems:
        unreadable = sources.contents.unreadable
        raise ConfigUnreadableError(problems) if unreadable else ConfigError(problems)
    return Loaded(
        config=cast("Config", config),
        origins=binder.origins,
        files=tuple(sources.contents.files),
        secret_files=tuple(binder.secrets),
        digest=contents_digest(sources.contents.files, binder.secrets, environment or {}),
        warnings=tuple(dict.fromkeys([*sources.warnings, *binder.warnings])),
    )


def changed(
    loaded: Loaded[Config], path: Path | None, environment: Mapping[str, str] | None = None
) -> bool:
    """Whether a file of the configuration, or of its secrets, has other contents now than when it was loaded.

    Contents are compared, not times: a mounted folder is swapped whole, and an editor rewrites what it did not
    change. A file that cannot be read counts as changed; loading then says what is wrong with it.
    """
    contents = read_contents(path)
    if contents.problems:
        return True
    try:
        secrets = {
            file: read_file(file, limit_bytes=SECRET_BYTES_MAX) for file in loaded.secret_files
        }
    except UnreadableFileError:
        return True
    return contents_digest(contents.files, secrets, environment or {}) != loaded.digest


class _Invalid:
    """What binding gives for a value that was refused."""


_INVALID: Final = _Invalid()


@dataclass(slots=True)
class _Binder:
    """Walks tree and classes together, collecting values, origins and faults."""

    allow_plain_secrets: bool
    problems: list[ConfigProblem] = field(default_factory=list)
    warnings: list[ConfigProblem] = field(default_factory=list)
    origins: dict[str, Origin] = field(default_factory=dict)
    secrets: dict[Path, bytes] = field(default_factory=dict)

    def bind(self, shape: Shape, node: Node, path: str, base: object = None) -> object:
        """The value of a node, or `_INVALID` once its faults are noted; `base` is the setting's default."""
        if isinstance(node, TextNode) and node.style is Style.BROKEN:
            return _INVALID
        if isinstance(shape, Maybe):
            if _says_null(node):
                self.origins[path] = node.origin
                return None
            return self.bind(shape.inner, node, path, base)
        if isinstance(node, TextNode) and node.style is Style.ENVIRONMENT:
            if not isinstance(shape, (Scalar, Choice, Hidden)):
                return self._bind_environment_text(shape, node, path, base)
        elif _says_null(node):
            return self._refuse(node, path, "cannot be null: write a value or remove the line")
        if isinstance(shape, Section):
            return self._bind_section(shape, node, path, base)
        if isinstance(shape, Named):
            return self._bind_named(shape, node, path)
        if isinstance(shape, Many):
            return self._bind_many(shape, node, path)
        if not isinstance(node, TextNode):
            found = "a list" if isinstance(node, ListNode) else "a mapping"
            return self._refuse(node, path, f"is {found}; one value belongs here")
        if node.is_empty:
            return self._refuse(node, path, "has no value: write one or remove the line")
        self.origins[path] = node.origin
        if isinstance(shape, Choice):
            return self._bind_choice(shape, node, path)
        if isinstance(shape, Hidden):
            return self._bind_plain_secret(node, path)
        try:
            value = parse_scalar(shape.type, node)
        except ValueError as error:
            return self._refuse(node, path, str(error))
        return str(node.origin.beside(str(value))) if shape.type.is_file and value else value

    def _refuse(self, node: Node, path: str, message: str) -> _Invalid:
        self.problems.append(node.origin.problem(path, message))
        return _INVALID

    def _bind_environment_text(
        self, shape: Shape, node: TextNode, path: str, base: object
    ) -> object:
        """Lists, and sections as a whole, are written in a variable as YAML, such as `[a, b]`."""
        variable = node.origin.variable
        data = node.text.encode("utf-8", "surrogateescape")
        parsed, faults = parse_text(data, file="", variable=variable)
        self.problems += faults
        if parsed is None:
            return _INVALID if faults else self._refuse(node, path, "has no value")
        return self.bind(shape, parsed, path, base)

    def _bind_choice(self, shape: Choice, node: TextNode, path: str) -> object:
        try:
            return shape.enum(node.text)
        except ValueError:
            values = [one.value for one in shape.enum]
            message = f"{shown(node.text)} is not one of {', '.join(values)}"
            return self._refuse(node, path, message + hint_for(node.text, values))

    def _bind_plain_secret(self, node: TextNode, path: str) -> object:
        if node.style is not Style.ENVIRONMENT and not self.allow_plain_secrets:
            message = (
                "a secret is not written into the configuration:"
                f" put it in a file and name that in {path.rpartition('.')[2]}_file"
            )
            return self._refuse(node, path, message)
        return Secret(node.text)

    def _bind_many(self, shape: Many, node: Node, path: str) -> object:
        if not isinstance(node, ListNode):
            return self._refuse(node, path, "must be a list, such as [a, b]")
        self.origins[path] = node.origin
        values = [
            self.bind(shape.item, item, f"{path}[{index}]")
            for index, item in enumerate(node.items)
        ]
        return _INVALID if any(isinstance(one, _Invalid) for one in values) else tuple(values)

    def _bind_named(self, shape: Named, node: Node, path: str) -> object:
        if isinstance(node, TextNode) and node.is_empty:
            return {}
        if not isinstance(node, MapNode):
            return self._refuse(node, path, "must be a mapping, such as {name: value}")
        values = {
            key: self.bind(shape.value, entry.value, join(path, key))
            for key, entry in node.entries.items()
        }
        bad = any(isinstance(one, _Invalid) for one in values.values())
        return _INVALID if bad else values

    def _bind_section(self, shape: Section, node: Node, path: str, base: object) -> object:
        if isinstance(node, TextNode) and node.is_empty:
            node = MapNode(origin=node.origin)
        if not isinstance(node, MapNode):
            told = "must be a section: settings on lines of their own"
            known = [one.name for one in setting_fields(shape.cls)]
            hint = colon_hint(node.text) if isinstance(node, TextNode) else ""
            if any(hint.endswith(f"'{name}'") for name in known):
                told += f"; {hint}"
            elif len(known) <= _NAMES_LISTED_MAX:
                told += f"; known here are {', '.join(known)}"
            return self._refuse(node, path, told)
        settings = setting_fields(shape.cls, base)
        values: dict[str, object] = {}
        for setting in settings:
            bound = self._bind_setting(setting, node, path)
            if bound is not None:
                values[setting.name] = bound.value
            elif isinstance(base, shape.cls):
                values[setting.name] = setting.default
        self._refuse_unknown(settings, node, path)
        if any(isinstance(one, _Invalid) for one in values.values()):
            return _INVALID
        try:
            return shape.cls(**values)
        except ValueError as error:
            self.problems.append(self._section_problem(str(error), settings, node, path))
            return _INVALID

    def _bind_setting(self, setting: SettingField, node: MapNode, path: str) -> _Bound | None:
        where = join(path, setting.name)
        entry = node.entries.get(setting.name)
        secret_key = setting.secret_key
        secret = None if secret_key is None else node.entries.get(secret_key)
        if secret_key is not None and secret is not None:
            if entry is not None:
                message = f"is given as {setting.name} and as {secret_key}: keep one"
                return _Bound(value=self._refuse(secret.value, where, message))
            return _Bound(value=self._bind_secret_files(setting, secret, join(path, secret_key)))
        if entry is not None:
            value = self.bind(setting.shape, entry.value, where, setting.default)
            return _Bound(value=value)
        if setting.is_required:
            key = secret_key or setting.name
            return _Bound(value=self._refuse(node, join(path, key), "must be given"))
        return None

    def _bind_secret_files(self, setting: SettingField, entry: MapEntry, path: str) -> object:
        """The secret, or the list of secrets, that stands in the named file or files."""
        shape = setting.shape.inner if isinstance(setting.shape, Maybe) else setting.shape
        node = entry.value
        if isinstance(shape, Many):
            if isinstance(node, TextNode) and node.style is Style.ENVIRONMENT:
                parsed, faults = parse_text(
                    node.text.encode("utf-8", "surrogateescape"),
                    file="",
                    variable=node.origin.variable,
                )
                self.problems += faults
                node = parsed if isinstance(parsed, ListNode) else node
            items = node.items if isinstance(node, ListNode) else (node,)
            found = [self._read_secret(item, path) for item in items]
            self.origins[path.removesuffix("_file")] = node.origin
            return _INVALID if any(isinstance(one, _Invalid) for one in found) else tuple(found)
        self.origins[path.removesuffix("_file")] = node.origin
        return self._read_secret(node, path)

    def _read_secret(self, node: Node, path: str) -> Secret | _Invalid:
        if not isinstance(node, TextNode) or not node.text:
            return self._refuse(node, path, "must be the path of a file")
        if node.style is Style.BROKEN:
            return _INVALID
        file = node.origin.beside(node.text)
        try:
            data = read_file(file, limit_bytes=SECRET_BYTES_MAX)
            is_open = bool(file.stat().st_mode & 0o077)
        except UnreadableFileError as error:
            return self._refuse(node, path, f"the file {shown(str(file))} {error}")
        except OSError:
            return self._refuse(node, path, f"the file {shown(str(file))} went away")
        text = _secret_text(data)
        if not text:
            wrong = (
                "is empty" if text == "" else f"is not UTF-8 text of 1 to {SECRET_BYTES_MAX} bytes"
            )
            return self._refuse(node, path, f"the file {shown(str(file))} {wrong}")
        if is_open:
            message = f"the file {shown(str(file))} can be read by others: chmod 600 it"
            self.warnings.append(node.origin.problem(path, message))
        self.secrets[file] = data
        return Secret(text)

    def _refuse_unknown(self, settings: list[SettingField], node: MapNode, path: str) -> None:
        known = [setting.name for setting in settings]
        known += [setting.secret_key for setting in settings if setting.secret_key]
        for key, entry in node.entries.items():
            if key in known:
                continue
            message = f"unknown setting {shown(key)}"
            if near := nearest(key, known):
                message += f": did you mean {near}?"
            elif places := list(islice(_places_of(key, settings), _PLACES_LISTED_MAX)):
                within = f"{path}." if path else ""
                message += f": did you mean {' or '.join(within + place for place in places)}?"
            elif len(known) <= _NAMES_LISTED_MAX:
                message += f": known here are {', '.join(known)}"
            self.problems.append(entry.origin.problem(join(path, key), message))

    def _section_problem(
        self, message: str, settings: list[SettingField], node: MapNode, path: str
    ) -> ConfigProblem:
        """A fault the class itself found: at the setting its sentence begins with, else at the section."""
        first = message.split(" ", 1)[0].strip("`'\",:")
        entry = node.entries.get(first) or node.entries.get(f"{first}_file")
        if entry is not None and any(setting.name == first for setting in settings):
            return entry.origin.problem(join(path, first), message.rstrip("."))
        return node.origin.problem(path, message.rstrip("."))


@dataclass(frozen=True, slots=True)
class _Bound:
    """A value that was bound, so that null and "not given" differ."""

    value: object


def _places_of(key: str, settings: list[SettingField]) -> Iterator[str]:
    """Where below these settings ones with just this name are, for a value that was written a level too high."""
    for setting in settings:
        shape = setting.shape.inner if isinstance(setting.shape, Maybe) else setting.shape
        if isinstance(shape, Section):
            inner = setting_fields(shape.cls)
            yield from (f"{setting.name}.{one.name}" for one in inner if one.name == key)
            yield from (f"{setting.name}.{place}" for place in _places_of(key, inner))


def _says_null(node: Node) -> bool:
    if not isinstance(node, TextNode):
        return False
    return node.is_null or (node.style is Style.ENVIRONMENT and node.text == "null")


def _secret_text(data: bytes) -> str | None:
    if len(data) > SECRET_BYTES_MAX:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text.removesuffix("\n").removesuffix("\r")
