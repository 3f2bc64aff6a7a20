"""docs/configuration.md, docs/admission.md, docs/metrics.md and docs/cli.md: every setting, self-metric and command."""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from sentinel.admission.config import AdmissionConfig
from sentinel.app.config import SentinelConfig
from sentinel.runtime.catalogue import CATALOGUE
from sentinel.runtime.config.render import plain_value
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
from sentinel.runtime.config.types import SCALARS
from sentinel.runtime.verdict_metrics import SERIES_METRICS
from sentinel.web.metrics import (
    LATENCY_HELP,
    LATENCY_METRIC,
    LATENCY_QUANTILES,
    LEFT_TO_RULES_HELP,
    LEFT_TO_RULES_METRIC,
)
from sentinel.web.told import TOLD_METRICS

_CONFIGURATION_INTRO = """\
Sentinel runs without a file: every setting has a default, and the defaults listen on loopback only.
[`deploy/example.yaml`](../deploy/example.yaml) is a file to start from.

- `sentinel check config PATH` checks a file with the code that starts the sidecar, and lists every fault at once with file
  and line.
- `sentinel config show PATH --origin` prints what is in effect and where each value was written.
- `sentinel config schema` prints a JSON Schema for editors.

PATH is a YAML file, or a folder whose `*.yaml` and `*.yml` are merged in name order (hidden names are left out). Sections
merge; any other value, a list too, may be written in one file only. All files together have at most 256 KiB.

A variable `SENTINEL_SECTION__KEY=value` overrides a file: the path of the setting in capitals, its parts joined by two
underscores, such as `SENTINEL_RECEIVERS__OTLP_HTTP__LISTEN__PORT=0`. A setting outside every section needs no
double underscore: `SENTINEL_MODE=shadow`. Lists are written as in YAML: `SENTINEL_WEB__HOSTS='[a, b]'`.

Secrets are not written into the file. Where a setting below is called `..._file`, it is the path of a file: a secret, a
certificate, a key. A relative path is beside the file that names it, in a variable beside where Sentinel was started. Of a
secret one line end at its end is taken off, and a file that others can read is warned about. A variable without `_FILE`
may hold the secret itself.

YAML is read strictly: unknown and duplicate keys, aliases, anchors, tags and second documents are faults, and so is what
YAML readers disagree on: only `true` and `false` are booleans, `010` and `1:30` are not numbers, and text that another
reader would take for something else must stand in quotes.

A change of the file is noticed by its contents. A setting that says `reload` follows it; one that says `restart` waits for
the next start. A file with a fault changes nothing: the last good configuration stays. So it does when the file became
empty, or when it no longer names any destination of pages: that is more often a file half written than a wish. Who means
it writes `mode: shadow`, or `senders: {webhooks: []}`. The look comes every two seconds; SIGHUP asks for one at once, and
the log says what came of it.
"""


def configuration_lines() -> Iterator[str]:
    """docs/configuration.md, from the config classes."""
    yield _CONFIGURATION_INTRO
    yield from _table(["Kind", "How it is written"], [[k.name, k.how] for k in SCALARS.values()])
    yield from _section_lines(SentinelConfig, "", SentinelConfig(), restart=False)


_ADMISSION_INTRO = """\
What `sentinel admission --config PATH` goes by; [what it does](components/admission.md) is told apart. It is written and checked as
[the sidecar's configuration](configuration.md) is, in a file of its own, and a variable `SENTINEL_SECTION__KEY` overrides it as
there. `sentinel admission --config PATH --check` says whether it is right, and asks nobody.
"""


def admission_lines() -> Iterator[str]:
    """docs/admission.md, from the config classes."""
    yield _ADMISSION_INTRO
    yield from _section_lines(AdmissionConfig, "", None, restart=False)


def _section_lines(cls: type[Any], path: str, base: object, *, restart: bool) -> Iterator[str]:
    """A table of the section's own settings, then its sections, each with a heading."""
    settings = setting_fields(cls, base)
    leaves = [one for one in settings if _inner_section(one.shape) is None]
    if leaves:
        yield f"## {f'`{path}`' if path else 'Outside sections'}"
        yield ""
        if path:
            is_one_of_many = path.endswith(("[]", ".NAME"))
            unset = "" if base is not None or is_one_of_many else " Unset by default."
            yield f"{_first_sentence(cls)}{unset}"
            yield ""
        rows = [_setting_row(one, restart=restart or one.restart) for one in leaves]
        yield from _table(["Setting", "Kind", "Default", "Meaning", "Takes effect"], rows)
    for one in settings:
        inner = _inner_section(one.shape)
        if inner is None:
            continue
        where = f"{path}.{one.name}" if path else one.name
        is_list = isinstance(one.shape, Many)
        is_named = isinstance(one.shape, Named)
        yield from _section_lines(
            inner,
            f"{where}[]" if is_list else f"{where}.NAME" if is_named else where,
            None if is_list or is_named else one.default,
            restart=restart or one.restart,
        )


def _inner_section(shape: Shape) -> type[Any] | None:
    """The config class inside a setting, where it is one or a list of them."""
    match shape:
        case Section(cls=cls):
            return cls
        case Maybe(inner=inner) | Many(item=inner) | Named(value=inner):
            return _inner_section(inner)
        case _:
            return None


def _setting_row(setting: SettingField, *, restart: bool) -> list[str]:
    when = "restart" if restart else "reload"
    key = setting.secret_key or setting.name
    if setting.secret_key is not None:
        return [f"`{key}`", "path of a secret", "none", setting.help, when]
    default = "must be given"
    if not setting.is_required:
        value = plain_value(setting.shape, setting.default)
        default = "none" if value is None else f"`{_yaml_text(value)}`"
    return [f"`{key}`", _kind_text(setting.shape), default, setting.help, when]


def _yaml_text(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _kind_text(shape: Shape) -> str:
    match shape:
        case Scalar(type=kind):
            return kind.name
        case Choice(enum=enum):
            return " or ".join(f"`{one.value}`" for one in enum)
        case Maybe(inner=inner):
            return f"{_kind_text(inner)}, or `null`"
        case Many(item=item):
            return f"list of {_kind_text(item)}"
        case Named(value=value):
            return f"mapping to {_kind_text(value)}"
        case Hidden() | Section():
            return "secret" if isinstance(shape, Hidden) else "section"


def metrics_lines() -> Iterator[str]:
    """docs/metrics.md, from the catalogue."""
    yield "What Sentinel says about itself on `/metrics`. Labels are bounded: names of components, closed lists of"
    yield "reasons, configured destinations; never a route, a service or free text."
    yield ""
    rows = [
        [f"`{one.name}`", one.type.value, ", ".join(f"`{x}`" for x in one.labels), one.help]
        for one in CATALOGUE
    ]
    yield from _table(["Metric", "Type", "Labels", "Meaning"], rows)
    yield "## Verdicts"
    yield ""
    yield "On `/metrics/series`, for the last evaluated window of the configured routes and the strangest others, each with the"
    yield "labels `service`, `stage`, `route` and `signal`. A value that is not known is left out, not zero."
    yield ""
    verdicts = [[f"`{name}`", "gauge", text] for name, text in SERIES_METRICS.items()]
    told = " or ".join(f"`{q:g}`" for q in LATENCY_QUANTILES)
    durations = f"{LATENCY_HELP} With the label `quantile`: {told}."
    verdicts.append([f"`{LATENCY_METRIC}`", "gauge", durations])
    verdicts.append(
        [f"`{LEFT_TO_RULES_METRIC}`", "gauge", f"{LEFT_TO_RULES_HELP} Without labels."]
    )
    yield from _table(["Metric", "Type", "Meaning"], verdicts)
    yield "## Beside verdicts"
    yield ""
    yield "On `/metrics/series` too, for the boards: what is open, calls to look at, and versions that services came to run."
    yield ""
    beside = [
        [f"`{name}`", one.type, ", ".join(f"`{x}`" for x in one.labels), one.help]
        for name, one in TOLD_METRICS.items()
    ]
    yield from _table(["Metric", "Type", "Labels", "Meaning"], beside)


def cli_lines() -> Iterator[str]:
    """docs/cli.md, from the parser."""
    # The command line stands above `app`; it is read here as any document's subject is, not built upon.
    parser = importlib.import_module("sentinel.cli.main").build_parser()
    yield "Tables are for people; `-o json` or `ndjson`, where a command has it, is for programs. Exit codes: 0 done, 1 the"
    yield "thing asked about is wrong, 2 usage, 3 could not tell (unreachable, unreadable)."
    yield "The commands of [the ledger](components/ledger.md), `sentinel-ledger`, stand at the end."
    yield ""
    yield from _command_lines(parser, "")
    # A program of its own, which nothing else of this one knows.
    ledger = importlib.import_module("sentinel.reference.ledger.operate.cli").build_parser()
    yield from _command_lines(ledger, "")


def _command_lines(parser: argparse.ArgumentParser, about: str) -> Iterator[str]:
    """A heading, a usage line and the arguments of every command that does something itself."""
    actions = parser._actions  # noqa: SLF001  # argparse has no public list of its arguments
    branches = [one for one in actions if isinstance(one, argparse._SubParsersAction)]  # noqa: SLF001
    if not branches:
        shown = [one for one in actions if one.help != argparse.SUPPRESS and one.dest != "help"]
        yield f"## `{parser.prog}`"
        yield ""
        if about:
            yield f"{about[0].upper()}{about[1:].rstrip('.')}."
            yield ""
        yield f"    {' '.join([parser.prog, *(_usage_of(one) for one in shown)])}"
        yield ""
        if parser.description and parser.description.rstrip(".") != about.rstrip("."):
            yield f"{' '.join(parser.description.split())}"
            yield ""
        rows = [[f"`{_name_of(one)}`", _help_of(parser, one)] for one in shown]
        if rows:
            yield from _table(["Argument", "Meaning"], rows)
    for branch in branches:
        summaries = {one.dest: one.help or "" for one in branch._choices_actions}  # noqa: SLF001
        for name, inner in branch.choices.items():
            yield from _command_lines(inner, summaries.get(name, ""))


def _name_of(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings)
    value = "" if action.nargs == 0 else _value_of(action)
    return " ".join(part for part in (names, value) if part)


def _value_of(action: argparse.Action) -> str:
    if action.option_strings and action.nargs == "?":
        return f"[{action.metavar}]"
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None:
        return "{" + ",".join(str(one) for one in action.choices) + "}"
    return action.dest.upper()


def _usage_of(action: argparse.Action) -> str:
    value = _value_of(action) + (" ..." if action.option_strings and action.nargs == "+" else "")
    if action.option_strings:
        text = " ".join([action.option_strings[-1], *([] if action.nargs == 0 else [value])])
        return text if action.required else f"[{text}]"
    return {"?": f"[{value}]", "*": f"[{value} ...]", "+": f"{value} ..."}.get(
        str(action.nargs), value
    )


def _help_of(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = (action.help or "default: %(default)s") % {**vars(action), "prog": parser.prog}
    return f"{text[:1].upper()}{text[1:]}"


def _first_sentence(cls: type[Any]) -> str:
    return " ".join((cls.__doc__ or "").strip().split("\n\n")[0].split())


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""
