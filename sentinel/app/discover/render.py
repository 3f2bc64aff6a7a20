"""The configuration that follows from a look round: YAML with comments for people, plain data for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from sentinel import __version__
from sentinel.app.config import SentinelConfig
from sentinel.app.discover.findings import Entry, Finding, Nested, Outcome, name_for
from sentinel.runtime.config.shapes import Maybe, Section, setting_fields

_COLUMNS = 118
_WORDS = {
    Outcome.FOUND: "found",
    Outcome.LACKING: "found, but",
    Outcome.OTHER: "another",
    Outcome.ABSENT: "not found",
}
_SECTION_COMMENTS = {
    ("receivers",): "What is given to Sentinel, besides OTLP.",
    ("scrapers",): "What Sentinel asks for.",
}
_QUERIES = ("scrapers", "prometheus_queries")
_PLACE_KEYS = ("url", "urls", "host", "port", "paths")
_HEAD = """\
# Every setting and its default: docs/configuration.md. What is a comment below is for you to finish.

# Pages are decided and recorded, and none is sent. `live` sends them: give it a destination below first.
mode: shadow

# Where windows, baselines, incidents and pages are kept; one process at a time.
store:
  directory: ./sentinel-store
"""
_TAIL = """\
# OTLP is taken on loopback without a setting: send your telemetry to OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318

# Where pages go, with `mode: live`:
# senders:
#   alertmanager:
#     urls: ["http://127.0.0.1:9093"]
"""


@dataclass(slots=True)
class _Part:
    """A section of the configuration while it is put together."""

    entries: list[Entry] = field(default_factory=list)
    inner: dict[str, _Part] = field(default_factory=dict)

    @property
    def is_active(self) -> bool:
        """Whether anything in it takes effect."""
        return any(one.is_active for one in self.entries) or any(
            one.is_active for one in self.inner.values()
        )


def without_doubles(findings: Sequence[Finding]) -> list[Entry]:
    """What all findings say of the configuration: each thing once, each name once in its list."""
    kept: list[Entry] = []
    names: dict[tuple[str, ...], set[str]] = {}
    places: set[tuple[object, ...]] = set()
    entries = [
        entry if _is_known(entry.section) else replace(entry, is_active=False)
        for finding in findings
        for entry in finding.entries
    ]
    # What takes effect first: found once reachable and once not, a thing is reachable.
    for entry in _joined(sorted(entries, key=lambda one: not one.is_active)):
        place = (entry.section, *(str(entry.values.get(key)) for key in _PLACE_KEYS))
        if place in places:
            continue
        places.add(place)
        wished = str(entry.values["name"])
        taken = names.setdefault(entry.section, set())
        name = name_for(wished, taken)
        taken.add(name)
        values = {**entry.values, "name": name}
        if name != wished and entry.is_own_service:
            values["service"] = f"{values['service']}{name.removeprefix(wished)}"
        kept.append(replace(entry, values=values))
    return kept


def _joined(entries: Sequence[Entry]) -> list[Entry]:
    """Parts of one whole as one entry."""
    kept: list[Entry] = []
    for entry in entries:
        key = (entry.section, entry.group, entry.is_active)
        same = [
            at
            for at, one in enumerate(kept)
            if entry.group and (one.section, one.group, one.is_active) == key
        ]
        if not same:
            kept.append(entry)
            continue
        before = kept[same[0]]
        values = dict(before.values)
        for name, value in entry.values.items():
            if isinstance(value, list):
                values[name] = list(dict.fromkeys([*values[name], *value]))
        comments = (*before.comments, *entry.comments)
        kept[same[0]] = replace(before, values=values, comments=comments)
    return kept


def as_yaml(findings: Sequence[Finding]) -> str:
    """The whole file; loading it gives what `as_config` gives."""
    parts = ["\n".join(_told(findings)), _HEAD.rstrip("\n")]
    root = _tree(without_doubles(findings))
    for name, section in root.inner.items():
        comment = _SECTION_COMMENTS.get((name,), "")
        lines = [f"# {comment}"] if comment else []
        parts.append("\n".join([*lines, *_lines(name, section, 0, dead_at=None)]))
    parts.append(_TAIL.rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def as_config(findings: Sequence[Finding]) -> dict[str, Any]:
    """What of it takes effect, as plain data."""
    config: dict[str, Any] = {"mode": "shadow", "store": {"directory": "./sentinel-store"}}
    for entry in without_doubles(findings):
        if not entry.is_active:
            continue
        inner = config
        for name in entry.section[:-1]:
            inner = inner.setdefault(name, {})
        inner.setdefault(entry.section[-1], []).append(_plain(entry.values))
    return config


def finding_lines(finding: Finding) -> list[str]:
    """A finding and its advice in lines of text.

    >>> finding_lines(Finding(kind="nats", where="http://127.0.0.1:8222", outcome=Outcome.ABSENT, sentence="connection refused"))
    ['not found   nats       http://127.0.0.1:8222: connection refused']
    """
    head = f"{_WORDS[finding.outcome]:<12}{finding.kind:<11}{finding.where}: {finding.sentence}"
    return [head, *(f"{'':<12}{advice}" for advice in finding.advice)]


def _told(findings: Sequence[Finding]) -> Iterator[str]:
    yield f"# Sentinel's configuration as `sentinel discover` {__version__} wrote it. It was looked at:"
    yield "#"
    for finding in findings:
        for number, line in enumerate(finding_lines(finding)):
            gap = " " * (25 if number == 0 else 12)
            yield from _comment(line, depth=0, gap=gap)
    yield "#"
    yield "#   sentinel check config FILE             whether it is right"
    yield "#   sentinel check ready --config FILE     what of it is reachable, and why not"
    if any(entry.section == _QUERIES for finding in findings for entry in finding.entries):
        yield "#   sentinel preview --prometheus --config FILE    whom it would have paged in the last four weeks"
        yield "#   sentinel baseline backfill --config FILE       gives it that past, before it runs"
    yield "#   sentinel run --config FILE"


def _comment(text: str, *, depth: int, gap: str = "") -> Iterator[str]:
    mark = " " * depth + "# "
    width = max(_COLUMNS - len(mark), 40)
    for line in textwrap.wrap(
        text, width, subsequent_indent=gap, break_long_words=False, break_on_hyphens=False
    ) or [""]:
        yield (mark + line).rstrip()


def _tree(entries: Sequence[Entry]) -> _Part:
    root = _Part()
    for entry in entries:
        at = root
        for name in entry.section:
            at = at.inner.setdefault(name, _Part())
        at.entries.append(entry)
    return root


def _lines(name: str, section: _Part, depth: int, *, dead_at: int | None) -> Iterator[str]:
    """The lines of a section; from `dead_at` on they are comments."""
    if dead_at is None and not section.is_active:
        dead_at = depth
    yield _live(f"{' ' * depth}{name}:", dead_at)
    for inner_name, inner in section.inner.items():
        yield from _lines(inner_name, inner, depth + 2, dead_at=dead_at)
    for entry in section.entries:
        yield from _entry_lines(entry, depth + 2, dead_at=dead_at)


def _entry_lines(entry: Entry, depth: int, *, dead_at: int | None) -> Iterator[str]:
    if dead_at is None and not entry.is_active:
        dead_at = depth
    for sentence in entry.comments:
        for line in _comment(sentence, depth=depth):
            yield _live(line, dead_at)
    for line in _settings(entry.values, depth):
        yield _live(line, dead_at)
    for remark in entry.remarks:
        for line in _comment(remark, depth=depth + 2):
            yield _live(line, dead_at)


def _settings(values: Mapping[str, Any], depth: int) -> Iterator[str]:
    """The lines of one item of a list."""
    for number, (key, value) in enumerate(values.items()):
        before = f"{' ' * depth}{'  ' if number else '- '}{key}:"
        if not _is_nested(value):
            yield f"{before} {_value(value)}"
            continue
        yield before
        for item in value:
            for sentence in item.comments:
                yield from _comment(sentence, depth=depth + 4)
            yield from _settings(item.values, depth + 4)


def _is_nested(value: object) -> bool:
    return (
        isinstance(value, list) and bool(value) and all(isinstance(one, Nested) for one in value)
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same without comments."""
    return {
        key: [_plain(item.values) for item in value] if _is_nested(value) else value
        for key, value in values.items()
    }


def _live(line: str, dead_at: int | None) -> str:
    """The line, or the line as a comment that stands at the column `dead_at`."""
    return line if dead_at is None else f"{line[:dead_at]}# {line[dead_at:]}"


def _value(value: object) -> str:
    """A value on one line, as every reader of YAML takes it."""
    if isinstance(value, Mapping):
        value = dict(value)
    text: str = yaml.safe_dump(value, width=2**20, default_flow_style=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def _is_known(section: tuple[str, ...]) -> bool:
    """Whether the configuration has such a section; what it does not know is written as a comment."""
    inner: type[Any] | None = SentinelConfig
    for name in section:
        settings = {one.name: one.shape for one in setting_fields(inner)} if inner else {}
        if name not in settings:
            return False
        shape = settings[name]
        shape = shape.inner if isinstance(shape, Maybe) else shape
        inner = shape.cls if isinstance(shape, Section) else None
    return True
