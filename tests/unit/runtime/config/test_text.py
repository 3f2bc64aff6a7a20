"""Goal: configuration text becomes a tree with places, and every dangerous form of YAML is refused by name.

Method: short texts through `parse_text`, one trap each, asserting message and line; large texts for the limits.
"""

from __future__ import annotations

import pytest

from sentinel.runtime.config.text import (
    DEPTH_MAX,
    FAULTS_MAX,
    TEXT_BYTES_MAX,
    ListNode,
    MapNode,
    Origin,
    Style,
    TextNode,
    parse_text,
    shown,
)


def faults_of(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [str(one) for one in parse_text(data, file="c.yaml")[1]]


def test_every_node_knows_its_line() -> None:
    tree, faults = parse_text(b"a: 1\nb:\n  c:\n    - x\n    - 'y'\n", file="c.yaml")
    assert not faults
    assert isinstance(tree, MapNode)
    assert tree.entries["a"].origin == Origin(file="c.yaml", line=1)
    section = tree.entries["b"].value
    assert isinstance(section, MapNode)
    items = section.entries["c"].value
    assert isinstance(items, ListNode)
    first, second = items.items
    assert isinstance(first, TextNode)
    assert isinstance(second, TextNode)
    assert (first.text, first.style, first.origin.line) == ("x", Style.PLAIN, 4)
    assert (second.text, second.style, second.origin.line) == ("y", Style.QUOTED, 5)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3\n", "c.yaml:3: the key 'a' was given already (line 1)"),
        ("s:\n  a: 1\n  a: 2\n", "c.yaml:3: s: the key 'a' was given already (line 2)"),
        ("a: &x 1\n", "c.yaml:1: a: anchors (`&x`) are refused: write the value out"),
        ("a: *x\n", "c.yaml:1: a: aliases (`*x`) are refused: write the value out"),
        ("a: !!int 3\n", "c.yaml:1: a: tags (`!...`) are refused: the setting decides its type"),
        ("a: !x {}\n", "c.yaml:1: a: tags (`!...`) are refused: the setting decides its type"),
        ("a:\n  <<: {b: 1}\n", "c.yaml:2: a: merge keys (`<<`) are refused: write the values out"),
        ("? [a]\n: 1\n", "c.yaml:1: keys must be plain text"),
        ("?\n: 1\n", "c.yaml:1: keys must be plain text"),
        ("a: 1\n---\nb: 1\n", "c.yaml:2: has a second document (`---`): write one document a file"),
        ("a:\n\t- 1\n", "c.yaml:2: a: is not valid YAML: a tab cannot indent, use spaces"),
        ('a: "\\U00110000"\n', "c.yaml:1: a: has an escape or a directive that is out of range"),
        ("%YAML 1." + "9" * 5000 + "\n---\na: 1\n",
         "c.yaml:1: has an escape or a directive that is out of range"),
        ('a: "\\uD800"\n', "c.yaml:1: a: has a control character or a lone surrogate"),
        ('a: "\\0"\n', "c.yaml:1: a: has a control character or a lone surrogate"),
        ('"a\\0": 1\n', "c.yaml:1: has a control character or a lone surrogate"),
        ("a: 1\nb: \x07\n", "c.yaml:2: has a control character, which YAML does not allow"),
    ],
)  # fmt: skip
def test_trap_is_refused_with_its_line(text: str, fault: str) -> None:
    assert faults_of(text) == [fault]


def test_text_that_is_not_utf8_names_the_line_of_the_first_bad_byte() -> None:
    assert faults_of(b"a: 1\nb: \xff\n") == ["c.yaml:2: is not UTF-8"]
    assert faults_of("a: 1\n".encode("utf-16")) == ["c.yaml:1: is not UTF-8"]


def test_a_byte_order_mark_is_no_fault() -> None:
    tree, faults = parse_text("\ufeffa: 1\n".encode(), file="c.yaml")
    assert not faults
    assert isinstance(tree, MapNode)
    assert list(tree.entries) == ["a"]


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n"])
def test_an_empty_text_has_no_faults(text: str) -> None:
    assert faults_of(text) == []


def test_size_is_bounded_before_anything_is_parsed() -> None:
    fault = f"c.yaml:1: has {TEXT_BYTES_MAX + 1} bytes; at most {TEXT_BYTES_MAX} are read"
    assert faults_of(b"#" * (TEXT_BYTES_MAX + 1)) == [fault]
    assert faults_of(b"#" * TEXT_BYTES_MAX) == []


@pytest.mark.parametrize("opener", ["[", "{", "- ", "? "])
def test_depth_is_bounded_however_deep_the_text_is(opener: str) -> None:
    """20,000 levels cost `safe_load` a second and then a RecursionError."""
    fault = f"is nested deeper than {DEPTH_MAX} levels"
    assert [one for one in faults_of(opener * 20_000) if fault in one]


def test_the_deepest_allowed_nesting_is_read() -> None:
    assert faults_of("[" * DEPTH_MAX + "]" * DEPTH_MAX) == []
    assert len(faults_of("[" * (DEPTH_MAX + 1) + "]" * (DEPTH_MAX + 1))) == 1


def test_an_alias_bomb_is_refused_without_being_expanded() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    faults = faults_of("\n".join(levels))
    assert len(faults) == FAULTS_MAX
    assert faults[0].startswith("c.yaml:1: a0: anchors")


def test_a_fault_in_one_value_leaves_the_rest_readable() -> None:
    tree, faults = parse_text(b"a: *x\nb: &y 2\nb: 3\nc: 4\n", file="c.yaml")
    assert len(faults) == 3
    assert isinstance(tree, MapNode)
    assert list(tree.entries) == ["a", "b", "c"]
    broken = tree.entries["a"].value
    assert isinstance(broken, TextNode)
    assert broken.style is Style.BROKEN


def test_faults_of_a_variable_name_it_and_no_line() -> None:
    _, faults = parse_text(b"[a", file="", variable="SENTINEL_X")
    assert faults[0].line is None
    assert "(from the environment variable SENTINEL_X)" in str(faults[0])


def test_shown_text_is_one_short_printable_line() -> None:
    assert shown("a\nb\x1b[31m\u202e") == "'a\\nb\\x1b[31m\\u202e'"
    assert len(shown("x" * 1000)) == 62
