"""Kubernetes manifests: read strictly, the sidecar put into every pod template, written back.

Documents that hold no pod (a Service, a ConfigMap) pass through as they are. Nothing is guessed: a key given twice,
an anchor, a tag or a document that is not an object is a problem with its file and document number.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from sentinel.admission.fields import unknown_fields
from sentinel.admission.json_patch import Operation, difference
from sentinel.admission.patch import EXPLANATIONS, Outcome, patch_pod
from sentinel.admission.profiles import SidecarConfig, SidecarRole
from sentinel.admission.replicas import Scaler, counts_from_zero, several_pods
from sentinel.errors import MalformedInputError

SIZE_BYTES_MAX = 4 * 1024 * 1024
_DEPTH_MAX = 64
_INTEGER_BITS_MAX = (
    64  # more than any field of Kubernetes; text of more cannot even be written back
)

_TEMPLATE_ADVICE = "`{{` is a template: render it first, such as by `helm template`"
_LISTS_MAX = 8
"""Lists in lists are read so deep; Kubernetes takes them, and nobody writes more than one."""
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")
)

_TEMPLATE_PATHS: dict[str, tuple[str, ...]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""Where each kind keeps its pod; kinds that are not here hold none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedDocument:
    """One document after injection.

    Attributes:
        document: the object as it should be.
        operations: JSON Patch from the document that was read.
        injected_count: pods and templates in it that have the sidecar now.
        problems: sentences for pods that were refused; with any of them nothing should be written.
        warnings: sentences for a person, who need do nothing.
    """

    document: dict[str, Any]
    operations: tuple[Operation, ...]
    injected_count: int
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def read_documents(text: str) -> list[tuple[int, dict[str, Any]]]:
    """The objects of a multi-document YAML or JSON text, each with its number; empty documents are left out.

    Raises:
        MalformedInputError: naming the document, counted from 1, and the line.
    """
    documents: list[tuple[int, dict[str, Any]]] = []
    number = 0
    try:
        loader = _StrictLoader(text)
        while loader.check_data():  # type: ignore[no-untyped-call]
            number += 1
            document = loader.get_data()
            if document is None:
                continue
            if not isinstance(document, dict) or not isinstance(document.get("kind"), str):
                msg = f"document {number}: not an object with a kind"
                raise MalformedInputError(msg)
            documents.append((number, document))
    except yaml.YAMLError as error:
        msg = f"document {max(number, 1)}: {_in_one_line(error)}"
        raise MalformedInputError(msg) from error
    except ValueError as error:
        msg = f"document {max(number, 1)}: {error}"
        raise MalformedInputError(msg) from error
    return documents


def write_documents(documents: list[dict[str, Any]]) -> str:
    """The objects as YAML, in the order of their keys."""
    return yaml.dump_all(documents, Dumper=_PlainDumper, sort_keys=False, width=1_000)


def objects_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The document itself, or what is an object with a kind among the items of a List."""
    return _objects(document, [])


def inject_document(
    document: dict[str, Any], config: SidecarConfig, *, scalers: Sequence[Scaler] = ()
) -> InjectedDocument:
    """Put the sidecar into every pod and pod template of a document, also inside a List; the input is not changed.

    Args:
        document: an object with a kind.
        config: what the operator decided.
        scalers: what scales workloads, wherever it stands in the input.
    """
    after = copy.deepcopy(document)
    problems: list[str] = []
    warnings: list[str] = []
    injected_count = 0
    for item in _objects(after, problems):
        name = _name(item)
        try:
            injection = _inject_object(item, config, scalers)
        except MalformedInputError as error:
            problems.append(f"{name}: {error}")
            continue
        if injection is None:
            if _holds_a_pod(item):
                warnings.append(
                    f"{name}: its pods get no sidecar, because where this kind keeps them is not known here;"
                    " the injector reaches them when they are made"
                )
            continue
        outcome, remarks = injection
        warnings.extend(f"{name}: {remark}" for remark in remarks)
        if outcome is Outcome.INJECTED:
            injected_count += 1
        elif outcome in (Outcome.OPTED_OUT, Outcome.RUNS_TO_END):
            warnings.append(f"{name}: {EXPLANATIONS[outcome]}")
        else:
            problems.append(f"{name}: {EXPLANATIONS[outcome]}")
    return InjectedDocument(
        document=after,
        operations=tuple(difference(document, after)),
        injected_count=injected_count,
        problems=tuple(problems),
        warnings=tuple(warnings),
    )


def _inject_object(
    item: dict[str, Any], config: SidecarConfig, scalers: Sequence[Scaler]
) -> tuple[Outcome, tuple[str, ...]] | None:
    """Inject in place; None when the kind holds no pod.

    Raises:
        MalformedInputError: there is no pod where it should be, or there would be several where one is to decide.
    """
    path = _TEMPLATE_PATHS.get(item["kind"])
    if path is None:
        return None
    holder: dict[str, Any] = {"pod": item}
    key = "pod"
    for name in path:
        holder, key = holder[key], name
        if not isinstance(holder.get(key), dict):
            msg = f"{'.'.join(path)} is missing or is not an object"
            raise MalformedInputError(msg)
    if unknown := unknown_fields(holder[key]):
        raise MalformedInputError("; ".join(unknown))
    injection = patch_pod(holder[key], config, is_numbered=counts_from_zero(item))
    profile = config.profiles[injection.profile]
    decides_alone = profile.role is SidecarRole.BOTH and not profile.each_replica_scores
    if (
        injection.outcome is Outcome.INJECTED
        and decides_alone
        and (several := several_pods(item, scalers))
    ):
        msg = (
            f"{several}: with role both, which profile {injection.profile} has, each pod would page for its share of the"
            " traffic. Have them collect for one scorer (role collect), or say each_replica_scores where each is a service"
            " of its own"
        )
        raise MalformedInputError(msg)
    # An object that is itself the pod is changed in place, because the list it may stand in holds it.
    target = holder[key]
    if injection.pod is not target:
        target.clear()
        target.update(injection.pod)
    return injection.outcome, injection.warnings


def _holds_a_pod(item: dict[str, Any]) -> bool:
    """Whether an object of another kind has what looks like the template of pods, as an Argo Rollout."""
    found: object = item
    for name in ("spec", "template", "spec", "containers"):
        found = found.get(name) if isinstance(found, dict) else None
    return isinstance(found, list) and bool(found)


def _objects(
    document: dict[str, Any], problems: list[str], *, depth: int = 0
) -> list[dict[str, Any]]:
    """The document itself, or the items of a List of any kind, Lists among them."""
    if not document["kind"].endswith("List") or "items" not in document:
        return [document]
    items = document["items"]
    if not isinstance(items, list) or depth >= _LISTS_MAX:
        what = "items is not a list" if depth < _LISTS_MAX else f"nested deeper than {_LISTS_MAX}"
        problems.append(f"{document['kind']}: {what}")
        return []
    objects: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        if isinstance(item, dict) and isinstance(item.get("kind"), str):
            objects += _objects(item, problems, depth=depth + 1)
        else:
            problems.append(f"{document['kind']}: items[{index}] is not an object with a kind")
    return objects


def _name(item: dict[str, Any]) -> str:
    metadata = item.get("metadata")
    known = metadata if isinstance(metadata, dict) else {}
    return f"{item['kind']} {known.get('name') or known.get('generateName') or '(no name)'}"


def _in_one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        told = f"line {error.problem_mark.line + 1}: {error.problem}"
        return f"{told}; {_TEMPLATE_ADVICE}" if "{{" in _line_of(error.problem_mark) else told
    return " ".join(str(error).split())


def _line_of(mark: yaml.Mark) -> str:
    """The line that a mark is in."""
    if mark.buffer is None or mark.pointer is None:
        return ""
    text = mark.buffer.rstrip("\0")
    first = text.rfind("\n", 0, mark.pointer) + 1
    last = text.find("\n", mark.pointer)
    return text[first : last if last >= 0 else len(text)]


class _StrictLoader(yaml.SafeLoader):
    """Plain data only: no key twice, no anchor, no tag, no date, no bottomless nesting."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(
                None, None, "anchors and aliases are not taken", event.start_mark
            )
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise yaml.composer.ComposerError(
                None, None, f"nested deeper than {_DEPTH_MAX}", event.start_mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and node.tag not in _TAGS:
            # Such as !!binary and !!set: Python has values for them that neither JSON nor Kubernetes has.
            raise yaml.composer.ComposerError(
                None, None, f"the tag {node.tag} is not taken", node.start_mark
            )
        if isinstance(node, yaml.ScalarNode):
            node.value = _paired(node)
        return node

    def construct_decimal(self, node: yaml.ScalarNode) -> float:
        """A number with a fraction; none that JSON cannot write."""
        number: float = self.construct_yaml_float(node)
        if not math.isfinite(number):
            raise yaml.constructor.ConstructorError(
                None, None, "a number that is infinite or none", node.start_mark
            )
        return number

    def construct_integer(self, node: yaml.ScalarNode) -> int:
        """A number as Kubernetes' fields can hold it."""
        # No way to write 64 bits takes more than 67 characters; of thousands, Python makes no number.
        number: int = self.construct_yaml_int(node) if len(node.value) < 100 else 1 << 64
        if number.bit_length() > _INTEGER_BITS_MAX:
            raise yaml.constructor.ConstructorError(
                None, None, f"an integer of more than {_INTEGER_BITS_MAX} bits", node.start_mark
            )
        return number

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002  # PyYAML's signature
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                problem = "a key is not text"
            elif key.value in seen:
                problem = f"key {key.value!r} is there twice"
            else:
                seen.add(key.value)
                continue
            raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
        return super().construct_mapping(node, deep)


def _paired(node: yaml.ScalarNode) -> str:
    """The text, with the two escapes that JSON needs for one character beyond 16 bits made that character."""
    text: str = node.value
    if text.isascii():
        return text
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        problem = "text with half a surrogate pair, which is no character"
        raise yaml.composer.ComposerError(None, None, problem, node.start_mark) from None


def _plain_resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """The implicit types Kubernetes' readers know: no date, no `<<` and no `=`, and `1:30` is text, not ninety."""
    ours = {
        "tag:yaml.org,2002:int": r"[-+]?(0b[01]+|0x[0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\Z",
        "tag:yaml.org,2002:float": r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?\Z",
    }
    python_only = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "merge", "value")}
    dropped = {*python_only, *ours}
    resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag not in dropped]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "-+.0123456789":
        resolvers[first] = [(tag, re.compile(pattern)) for tag, pattern in ours.items()]
    return resolvers


_StrictLoader.yaml_implicit_resolvers = _plain_resolvers()
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_integer)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _StrictLoader.construct_decimal)


class _PlainDumper(yaml.SafeDumper):
    """Writes what is in two places twice: Kubernetes' readers need not know aliases."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002, ANN401, RUF100  # PyYAML's signature
        return True


__all__ = [
    "SIZE_BYTES_MAX",
    "InjectedDocument",
    "inject_document",
    "objects_of",
    "read_documents",
    "write_documents",
]
