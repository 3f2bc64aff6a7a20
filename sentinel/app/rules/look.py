"""What is wrong with files of rules, as far as Sentinel can know better than `promtool check rules`.

A fault is a rule that can never fire, or of which nobody would know what to do. A note is what cannot be known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from sentinel.app.rules.known import FOREIGN, OF_PROMETHEUS, OWN, SCRAPE_LABELS
from sentinel.app.rules.promql import Selector, selectors, words
from sentinel.errors import SentinelError

SEVERITIES: Final = ("page", "ticket", "info")
_ANNOTATIONS: Final = ("summary", "description", "runbook_url")
_FILE_BYTES_MAX: Final = 8 * 1024 * 1024
_LINE: Final = "\0line"


class RuleFileUnreadableError(SentinelError):
    """A file cannot be read, so nothing can be said about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with a rule, or only worth knowing.

    Attributes:
        file: the file's name as it was given.
        line: where the rule begins, from 1.
        rule: its name; `""` of a file as a whole.
        what: a sentence without its full stop.
        is_fault: False for a note.
    """

    file: str
    line: int
    rule: str
    what: str
    is_fault: bool = True

    def __str__(self) -> str:
        """One line for people."""
        word = "" if self.is_fault else "note: "
        name = f"{self.rule}: " if self.rule else ""
        return f"{self.file}:{self.line}: {word}{name}{self.what}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was looked at, and what was found, in the order of the files."""

    files: tuple[str, ...]
    alert_count: int
    record_count: int
    findings: tuple[Finding, ...]

    @property
    def fault_count(self) -> int:
        """How many findings are faults."""
        return sum(finding.is_fault for finding in self.findings)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    file: str
    line: int
    fields: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.fields.get("alert") or self.fields.get("record") or "")

    def fault(self, what: str) -> Finding:
        return Finding(file=self.file, line=self.line, rule=self.name, what=what)

    def note(self, what: str) -> Finding:
        return Finding(file=self.file, line=self.line, rule=self.name, what=what, is_fault=False)


def look(
    paths: Sequence[Path], *, runbooks: Path | None = None, severities: Sequence[str] = SEVERITIES
) -> Looked:
    """Look at files, and at every `*.yaml` and `*.yml` of folders.

    Args:
        paths: files and folders.
        runbooks: the folder with a page for each alert; None, whether there is one is not looked at.
        severities: what the label `severity` may say.

    Raises:
        RuleFileUnreadableError: a path is not there, cannot be read, is too large, or a folder holds no such file.
    """
    if runbooks is not None and not runbooks.is_dir():
        msg = f"{runbooks}: there is no such folder"
        raise RuleFileUnreadableError(msg)
    files = [file for path in paths for file in _files(path)]
    findings: list[Finding] = []
    rules: list[_Rule] = []
    for file in files:
        try:
            rules.extend(_rules(file, _read(file)))
        except _NotRulesError as error:
            findings.append(Finding(file=str(file), line=error.line, rule="", what=error.what))
    recorded = {rule.name for rule in rules if "record" in rule.fields}
    seen: set[tuple[str, str]] = set()
    for rule in rules:
        findings += _about_expression(rule, recorded)
        if "alert" in rule.fields:
            findings += _about_alert(rule, runbooks, severities)
        identity = (rule.name, repr(sorted(_texts(rule.fields.get("labels")).items())))
        if identity in seen:
            findings.append(rule.fault("another rule has the same name and the same labels"))
        seen.add(identity)
    order = {str(file): at for at, file in enumerate(files)}
    return Looked(
        files=tuple(map(str, files)),
        alert_count=sum("alert" in rule.fields for rule in rules),
        record_count=len(recorded),
        findings=tuple(sorted(findings, key=lambda one: (order[one.file], one.line))),
    )


class _NotRulesError(Exception):
    """A file that is no file of rules."""

    def __init__(self, line: int, what: str) -> None:
        super().__init__(what)
        self.line = line
        self.what = what


class _Loader(yaml.SafeLoader):
    """Notes on every mapping the line it begins at."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002  # the base class's
        made: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        made[_LINE] = node.start_mark.line + 1
        return made


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if one.suffix in (".yaml", ".yml"))
    if not found:
        msg = f"{path}: there is no *.yaml or *.yml in it"
        raise RuleFileUnreadableError(msg)
    return found


def _read(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > _FILE_BYTES_MAX:
            msg = f"{path}: {size} bytes are more than the {_FILE_BYTES_MAX} that are read"
            raise RuleFileUnreadableError(msg)
        return path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise RuleFileUnreadableError(msg) from None
    except UnicodeDecodeError:
        msg = f"{path}: it is no text in UTF-8"
        raise RuleFileUnreadableError(msg) from None


def _rules(path: Path, text: str) -> Iterator[_Rule]:
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise _NotRulesError(line, f"it is no YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise _NotRulesError(1, "it is no YAML") from None
    if isinstance(document, dict) and document.get("kind") == "PrometheusRule":
        document = document.get("spec")
    groups = document.get("groups") if isinstance(document, dict) else None
    if not isinstance(groups, list):
        raise _NotRulesError(1, "it has no list `groups`, and so is no file of rules")
    for group in groups:
        if not isinstance(group, dict) or not isinstance(group.get("rules"), list):
            raise _NotRulesError(_line(group), "a group has no list `rules`")
        for fields in group["rules"]:
            if not isinstance(fields, dict) or ("alert" in fields) == ("record" in fields):
                raise _NotRulesError(
                    _line(fields), "a rule has neither `alert` nor `record`, or both"
                )
            if not isinstance(fields.get("expr"), str | int | float):
                raise _NotRulesError(_line(fields), "a rule has no `expr`")
            yield _Rule(file=str(path), line=_line(fields), fields=fields)


def _line(fields: object) -> int:
    return int(fields.get(_LINE, 1)) if isinstance(fields, dict) else 1


def _about_expression(rule: _Rule, recorded: set[str]) -> Iterator[Finding]:
    try:
        asked = list(selectors(words(str(rule.fields["expr"]))))
    except ValueError as error:
        yield rule.fault(f"its expression: {error}")
        return
    unknown = []
    for name in dict.fromkeys(one.metric for one in asked):
        if name in OWN or name in OF_PROMETHEUS or name in recorded:
            continue
        of = next((names for begin, names in FOREIGN.items() if name.startswith(begin)), None)
        if of is not None and name in of:
            continue
        if name.startswith("sentinel_"):
            yield rule.fault(f"Sentinel has no metric {name}{_nearest(name, OWN)}")
        elif of is not None:
            yield rule.fault(f"no metric {name} is known of its exporter{_nearest(name, of)}")
        elif ":" in name:
            yield rule.fault(f"none of these files records {name}; name the one that does as well")
        else:
            unknown.append(name)
    if unknown:
        yield rule.note(f"not known here, and not looked at: {', '.join(unknown)}")
    yield from _about_matchers(rule, asked)


def _about_matchers(rule: _Rule, asked: Sequence[Selector]) -> Iterator[Finding]:
    for one in asked:
        if one.metric not in OWN:
            continue
        strange = [
            label
            for label, _, _ in one.matchers
            if label not in OWN[one.metric] and label not in SCRAPE_LABELS
        ]
        if strange:
            yield rule.note(
                f"{one.metric} has no label {', '.join(strange)} by itself: it must come from how it is scraped"
            )


def _about_alert(
    rule: _Rule, runbooks: Path | None, severities: Sequence[str]
) -> Iterator[Finding]:
    labels = _texts(rule.fields.get("labels"))
    severity = labels.get("severity", "")
    if severity not in severities:
        given = f"is {severity!r}" if severity else "is missing"
        yield rule.fault(f"the label severity {given}; it must be {' or '.join(severities)}")
    yield from (
        rule.fault(
            f"the label {name} has a measured value in it: each value would be another alert"
        )
        for name, text in labels.items()
        if re.search(r"\$value|\.Value", text)
    )
    annotations = _texts(rule.fields.get("annotations"))
    missing = [name for name in _ANNOTATIONS if not annotations.get(name, "").strip()]
    if missing:
        yield rule.fault(f"it has no {' and no '.join(missing)}")
    runbook = annotations.get("runbook_url", "")
    if not runbook:
        return
    page = runbook.partition("#")[0].rstrip("/").rpartition("/")[2].removesuffix(".md")
    if page.lower() != rule.name.lower():
        yield rule.fault(f"its runbook is {page!r} and has not the alert's name")
    elif runbooks is not None and not (runbooks / f"{rule.name}.md").is_file():
        yield rule.fault(f"there is no {rule.name}.md in {runbooks}")


def _texts(found: object) -> dict[str, str]:
    if not isinstance(found, dict):
        return {}
    return {str(key): str(value) for key, value in found.items() if key != _LINE}


def _nearest(name: str, names: Mapping[str, object] | frozenset[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), n=1, cutoff=0.8)
    return f"; is {near[0]} meant?" if near else ""
