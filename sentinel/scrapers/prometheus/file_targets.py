"""Targets from a file in the form of Prometheus' file-based discovery.

A file is a list of groups, each with `targets`, of host and port, and `labels` that all of them share:

| label | means |
|---|---|
| `__scheme__`, `__metrics_path__` | parts of the page's URL; http and /metrics when not given |
| `__param_<name>` | a parameter of it |
| any other that begins with `__` | nothing here |
| any other | a label of every series of the target; `service_name`, `service` or `job` names its service |
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import yaml

from sentinel.errors import MalformedInputError
from sentinel.runtime.http.client import checked_url

FILE_BYTES_MAX = 1 << 20
_LABELS_MAX = 64
_TEXT_CHARS_MAX = 1024
_DEFAULT_PATH = "/metrics"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTarget:
    """One page that a file names.

    Attributes:
        url: where it is.
        address: host and port, and the path where it is not the usual one; for its name.
        labels: of all its series, sorted.
    """

    url: str
    address: str
    labels: tuple[tuple[str, str], ...] = ()


def targets_of(text: bytes, *, is_json: bool) -> tuple[FileTarget, ...]:
    """The targets a file names, each once.

    Raises:
        MalformedInputError: it is not of this form; the message says where.
    """
    groups = _document(text, is_json=is_json)
    if groups is None:
        return ()
    if not isinstance(groups, list):
        msg = "it must be a list of groups"
        raise MalformedInputError(msg)
    found: dict[FileTarget, None] = {}
    for number, group in enumerate(groups, start=1):
        try:
            for target in _group(group):
                found[target] = None
        except ValueError as error:
            msg = f"group {number}: {error}"
            raise MalformedInputError(msg) from None
    return tuple(found)


def _document(text: bytes, *, is_json: bool) -> Any:  # noqa: ANN401, RUF100 - of any form, until it was looked at
    try:
        if is_json:
            return json.loads(text)
        return yaml.load(text, Loader=yaml.CSafeLoader)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = getattr(error, "lineno", None) or (None if mark is None else mark.line + 1)
        where = f"line {line}: " if line else ""
        msg = f"{where}it is not valid {'JSON' if is_json else 'YAML'}"
        raise MalformedInputError(msg) from None


def _group(group: object) -> list[FileTarget]:
    if not isinstance(group, dict) or not isinstance(group.get("targets"), list):
        msg = "it has no list of targets"
        raise ValueError(msg)  # noqa: TRY004 - told as what is wrong with the file
    if unknown := group.keys() - {"targets", "labels"}:
        msg = f"{sorted(map(str, unknown))[0][:80]!r} is none of targets and labels"
        raise ValueError(msg)
    labels = _labels(group.get("labels") or {})
    return [_target(address, labels) for address in group["targets"]]


def _labels(labels: object) -> dict[str, str]:
    if not isinstance(labels, dict) or len(labels) > _LABELS_MAX:
        msg = f"labels must be names with values, at most {_LABELS_MAX}"
        raise ValueError(msg)
    for name, value in labels.items():
        if not isinstance(name, str) or not isinstance(value, str):
            msg = f"label {str(name)[:80]!r} must be text, in quotes where it looks like a number"
            raise ValueError(msg)  # noqa: TRY004 - told as what is wrong with the file
        if max(len(name), len(value)) > _TEXT_CHARS_MAX:
            msg = f"label {name[:80]!r} is too long"
            raise ValueError(msg)
    return labels


def _target(address: object, labels: Mapping[str, str]) -> FileTarget:
    if not isinstance(address, str) or not address or len(address) > _TEXT_CHARS_MAX:
        msg = "a target must be host:port"
        raise ValueError(msg)
    if any(mark in address for mark in "/@?#") or address != address.strip():
        msg = f"target {address[:80]!r} must be host:port and nothing else"
        raise ValueError(msg)
    path = labels.get("__metrics_path__", _DEFAULT_PATH)
    if not path.startswith("/"):
        msg = "__metrics_path__ must begin with /"
        raise ValueError(msg)
    parameters = {
        name.removeprefix("__param_"): value
        for name, value in labels.items()
        if name.startswith("__param_")
    }
    query = f"?{urlencode(sorted(parameters.items()))}" if parameters else ""
    url = checked_url(f"{labels.get('__scheme__', 'http')}://{address}{path}{query}")
    own = tuple(sorted(one for one in labels.items() if not one[0].startswith("__")))
    where = path + query
    return FileTarget(
        url=url, address=address if where == _DEFAULT_PATH else address + where, labels=own
    )
