"""JSON Patch applied, as an API server does it: the other half of what the injector writes."""

from __future__ import annotations

import copy
from typing import Any


def apply_patch(document: Any, operations: list[dict[str, Any]]) -> Any:
    """A copy with `add`, `replace` and `remove` done in order; raises when one cannot be done."""
    root: dict[str, Any] = {"": copy.deepcopy(document)}
    for operation in operations:
        *parents, last = ["", *_tokens(operation["path"])] if operation["path"] else [""]
        target: Any = root
        for token in parents:
            target = target[int(token)] if isinstance(target, list) else target[token]
        _apply_one(target, last, operation)
    return root[""]


def _tokens(pointer: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def _apply_one(target: Any, last: str, operation: dict[str, Any]) -> None:
    match operation["op"], target:
        case "add", list():
            index = len(target) if last == "-" else int(last)
            assert 0 <= index <= len(target), operation
            target.insert(index, operation["value"])
        case "add", dict():
            target[last] = operation["value"]
        case "replace", list():
            target[int(last)] = operation["value"]
        case "replace", dict():
            assert last in target, operation
            target[last] = operation["value"]
        case "remove", dict():
            del target[last]
        case _:
            msg = f"cannot be done: {operation}"
            raise AssertionError(msg)
