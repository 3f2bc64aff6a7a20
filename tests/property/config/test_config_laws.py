"""Goal: no text whatever makes the loader raise anything but ConfigError, and what it shows it reads back.

Method: hypothesis draws raw bytes, YAML-like text, broken copies of a good file, trees of settings with wrong
values, and variables; each goes through the real configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sentinel.app.config import SentinelConfig, load_config
from sentinel.errors import ConfigError
from sentinel.runtime.config.render import effective_digest, plain, to_yaml
from sentinel.runtime.config.shapes import Maybe, Section, Shape, setting_fields

GOOD = Path(__file__).parents[3] / "deploy" / "example.yaml"
FRAGMENTS = [
    "mode", "series", "web", "listen", "port", "senders", "webhooks", "window", ":", ": ", "\n", "  ", "- ", "[",
    "]", "{", "}", ",", "'", '"', "#", "|", ">", "&a", "*a", "!!int", "<<", "?", "---", "...", "%YAML 1.1", "\t",
    "null", "~", "true", "no", "010", "1:30", "10s", "4MiB", "0.5", "\\", '"\\x00"', '"\\ud800"', "\u2028", "\ufeff",
]  # fmt: skip


def names(cls: type[Any] = SentinelConfig) -> set[str]:
    found = set()
    for one in setting_fields(cls):
        found |= {one.name, one.secret_key or one.name}
        inner: Shape = one.shape.inner if isinstance(one.shape, Maybe) else one.shape
        if isinstance(inner, Section):
            found |= names(inner.cls)
    return found


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
KEYS = st.sampled_from(sorted(names())) | st.text(max_size=8)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


def only_config_errors(
    data: bytes, environment: Mapping[str, str] | None = None
) -> SentinelConfig | None:
    """The configuration, or None when it was refused as it should be; anything else fails the test."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "sentinel.yaml"
        path.write_bytes(data)
        try:
            return load_config(path, environment=environment).config
        except ConfigError as error:
            problems = error.problems
    assert problems
    assert all(problem.message for problem in problems)
    places = [(problem.file or "", problem.line or 0) for problem in problems]
    assert places == sorted(places)
    return None


@given(st.binary(max_size=300))
@example(b"\xff\xfe")
@example(b"a: " + b"[" * 5000)
@example(b'a: "\\U00110000"')
def test_bytes(data: bytes) -> None:
    only_config_errors(data)


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=4), max_size=40).map("".join))
def test_text_that_looks_like_yaml(text: str) -> None:
    only_config_errors(text.encode("utf-8", "surrogatepass"))


@given(TREES)
def test_trees_with_wrong_values(tree: object) -> None:
    only_config_errors(yaml.safe_dump(tree).encode("utf-8", "surrogatepass"))


@given(
    st.lists(
        st.tuples(st.integers(0, 6000), st.integers(0, 12), st.sampled_from(FRAGMENTS)),
        min_size=1,
        max_size=6,
    )
)
def test_broken_copies_of_a_good_file(edits: list[tuple[int, int, str]]) -> None:
    text = GOOD.read_text()
    for at, length, put in edits:
        text = text[:at] + put + text[at + length :]
    only_config_errors(text.encode())


VARIABLE_NAMES = st.lists(
    st.sampled_from(sorted(names())).map(str.upper)
    | st.text(st.characters(codec="ascii"), max_size=5),
    min_size=1,
    max_size=4,
).map(lambda parts: "SENTINEL_" + "__".join(parts))


@given(
    st.dictionaries(
        VARIABLE_NAMES,
        st.sampled_from(FRAGMENTS) | st.text(max_size=10).filter(lambda text: "\0" not in text),
        max_size=4,
    )
)
@settings(max_examples=60)
def test_variables(environment: dict[str, str]) -> None:
    only_config_errors(b"mode: shadow\n", environment)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "mode": st.sampled_from(["live", "shadow"]),
            "zone": st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
            "incidents": st.fixed_dictionaries(
                {},
                optional={
                    "hold": st.integers(1, 10**6).map(lambda n: f"{n}s"),
                    "reminder": st.integers(1, 10**6).map(lambda n: f"{n}ms"),
                    "worsen_score_ratio": st.floats(0, 1e6).map(lambda x: round(x, 6)),
                },
            ),
            "store": st.fixed_dictionaries(
                {}, optional={"max_bytes": st.integers(2**25, 2**40).map(lambda n: f"{n}B")}
            ),
            "web": st.fixed_dictionaries(
                {}, optional={"hosts": st.lists(st.text("abc.-:#'\" \n", max_size=9), max_size=3)}
            ),
        },
    )
)
@example({"incidents": {"worsen_score_ratio": 1e-06}})
@settings(max_examples=60)
def test_what_is_shown_loads_as_the_same(document: dict[str, Any]) -> None:
    """Every value a user can set survives being shown, with origins and without, to the last bit."""
    config = only_config_errors(yaml.safe_dump(document).encode())
    if config is None:
        return
    assert yaml.safe_load(to_yaml(config, origins={})) == plain(config)
    assert yaml.safe_load(to_yaml(config)) == plain(config)
    shown = {name: plain(config)[name] for name in document if name != "web"}
    if "web" in document:
        shown["web"] = {"hosts": plain(config)["web"]["hosts"]}
    again = only_config_errors(yaml.safe_dump(shown).encode())
    assert again == config
    assert effective_digest(again) == effective_digest(config)
