"""The difference of two JSON documents as a JSON Patch (RFC 6902).

Only what the injector makes is told apart finely: members of objects, a list with elements put in front or
behind, a list whose elements changed in place (and, where they have names, more behind them). Any other change of a list replaces it, which is right, if wordy.
"""

from __future__ import annotations

from typing import Any

Operation = dict[str, Any]


def difference(before: Any, after: Any, pointer: str = "") -> list[Operation]:
    """The operations that make `after` of `before`, in an order in which they can be applied.

    >>> difference({"a": 1}, {"a": 1, "b/c": 2})
    [{'op': 'add', 'path': '/b~1c', 'value': 2}]
    >>> difference([2], [1, 2])
    [{'op': 'add', 'path': '/0', 'value': 1}]
    """
    if before is after:
        return []
    # Objects are not compared before they are gone through: each level would be compared once for each level above it.
    if isinstance(before, dict) and isinstance(after, dict):
        return _difference_of_objects(before, after, pointer)
    if _same(before, after):
        return []
    if isinstance(before, list) and isinstance(after, list):
        return _difference_of_lists(before, after, pointer)
    return [{"op": "replace", "path": pointer, "value": after}]


def escape(token: str) -> str:
    """A member's name as a part of a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def _difference_of_objects(
    before: dict[str, Any], after: dict[str, Any], pointer: str
) -> list[Operation]:
    operations: list[Operation] = [
        {"op": "remove", "path": f"{pointer}/{escape(key)}"}
        for key in sorted(before.keys() - after.keys())
    ]
    for key, value in after.items():
        if key not in before:
            operations.append({"op": "add", "path": f"{pointer}/{escape(key)}", "value": value})
        elif (
            before[key] is not value
        ):  # what the injector leaves alone it shares, so that nearly all ends here
            operations += difference(before[key], value, f"{pointer}/{escape(key)}")
    return operations


def _difference_of_lists(before: list[Any], after: list[Any], pointer: str) -> list[Operation]:
    added = len(after) - len(before)
    if added > 0 and _same(after[added:], before):
        return [
            {"op": "add", "path": f"{pointer}/{index}", "value": value}
            for index, value in enumerate(after[:added])
        ]
    if added > 0 and _same(after[: len(before)], before):
        return [
            {"op": "add", "path": f"{pointer}/-", "value": value} for value in after[len(before) :]
        ]
    if added == 0 or (added > 0 and all(map(_have_one_name, before, after))):
        return [
            operation
            for index, (old, new) in enumerate(zip(before, after, strict=False))
            if old is not new
            for operation in difference(old, new, f"{pointer}/{index}")
        ] + [
            {"op": "add", "path": f"{pointer}/-", "value": value} for value in after[len(before) :]
        ]
    return [{"op": "replace", "path": pointer, "value": after}]


def _have_one_name(before: Any, after: Any) -> bool:
    """Whether two elements are the same thing, changed or not: Kubernetes merges its lists by name."""
    return (
        isinstance(before, dict)
        and isinstance(after, dict)
        and "name" in before
        and _same(before["name"], after.get("name"))
    )


def _same(before: Any, after: Any) -> bool:
    """Equality as JSON sees it: for Python True == 1, for JSON it is not."""
    if before is after:
        return True
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(
            _same(value, after[key]) for key, value in before.items()
        )
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return isinstance(before, bool) is isinstance(after, bool) and bool(before == after)
