"""Goal: the whole configuration holds together: defaults run, typos are named, schema and loader agree.

Method: every test walks the real config classes, so that a section added later is covered without a new test.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from sentinel.app.config import Mode, SentinelConfig, load_config
from sentinel.core.scoring.settings import Sensitivity
from sentinel.errors import ConfigError
from sentinel.runtime.config.loader import load
from sentinel.runtime.config.render import differences, effective_digest, plain, to_yaml
from sentinel.runtime.config.schema import json_schema
from sentinel.runtime.config.shapes import Many, Maybe, Section, Shape, setting_fields

SCHEMA = json_schema(SentinelConfig, title="test")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
TYPO_COUNT = 100


def sections(cls: type[Any] = SentinelConfig, path: tuple[str, ...] = ()) -> Iterator[Any]:
    """Every section that is there by default, as (path, names of its settings)."""
    settings = setting_fields(cls)
    yield path, [one.secret_key or one.name for one in settings]
    for one in settings:
        inner: Shape = one.shape.inner if isinstance(one.shape, Maybe) else one.shape
        if isinstance(inner, Section):
            yield from sections(inner.cls, (*path, one.name))


def nested(path: tuple[str, ...], value: object) -> object:
    for key in reversed(path):
        value = {key: value}
    return value


def one_slip(chance: random.Random, name: str) -> str:
    """The name with one slip of the keyboard: a letter lost, added, replaced, or swapped with its neighbour."""
    at = chance.randrange(len(name))
    letter = chance.choice("abcdefghijklmnopqrstuvwxyz")
    return chance.choice(
        [
            name[:at] + name[at + 1 :],
            name[:at] + letter + name[at:],
            name[:at] + letter + name[at + 1 :],
            name[:at] + name[at + 1 : at + 2] + name[at : at + 1] + name[at + 2 :],
        ]
    )


def is_ambiguous(typo: str, known: list[str]) -> bool:
    """Whether nobody can tell: it is a name itself, or one slip away from several."""
    slips = set()
    for name in known:
        if one_edit(typo, name):
            slips.add(name)
    return typo in known or len(slips) != 1 or len(typo) < 2


def one_edit(a: str, b: str) -> bool:
    """Whether one insertion, deletion, replacement or swap of neighbours leads from one to the other."""
    while a and b and a[0] == b[0]:
        a, b = a[1:], b[1:]
    while a and b and a[-1] == b[-1]:
        a, b = a[:-1], b[:-1]
    return len(a) + len(b) <= 1 or len(a) == len(b) == 1 or (len(a) == 2 and a[::-1] == b)


def typos() -> list[tuple[tuple[str, ...], str, str]]:
    """A hundred slips spread over all sections, always the same ones."""
    chance = random.Random(7)
    places = [place for place in sections() if place[1]]
    found: list[tuple[tuple[str, ...], str, str]] = []
    while len(found) < TYPO_COUNT:
        path, known = chance.choice(places)
        name = chance.choice(known)
        typo = one_slip(chance, name)
        if not is_ambiguous(typo, known):
            found.append((path, typo, name))
    return found


@pytest.mark.parametrize(("path", "typo", "meant"), typos())
def test_a_typo_is_refused_naming_what_was_meant(
    tmp_path: Path, path: tuple[str, ...], typo: str, meant: str
) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text(yaml.safe_dump(nested((*path, typo), "x")))
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    problem = next(one for one in caught.value.problems if "unknown" in one.message)
    assert problem.path == ".".join((*path, typo)) or f"['{typo}']" in problem.path
    assert problem.message.endswith(f": did you mean {meant}?")
    assert problem.line == len(path) + 1
    assert list(VALIDATOR.iter_errors(nested((*path, typo), "x")))


def test_the_defaults_need_no_file_and_no_secret() -> None:
    config = load_config(None).config
    assert (config.mode, config.sensitivity, config.zone) == (
        Mode.LIVE, Sensitivity.NORMAL, "UTC",
    )  # fmt: skip
    assert config == SentinelConfig()


def test_nothing_listens_off_loopback_by_default() -> None:
    text = to_yaml(load_config(None).config)
    addresses = {line.split()[-1] for line in text.splitlines() if "address:" in line}
    assert addresses == {"127.0.0.1"}


def test_live_without_a_destination_is_warned_about(tmp_path: Path) -> None:
    file = tmp_path / "sentinel.yaml"
    assert "nobody is paged" in str(load_config(None).warnings[0])
    file.write_text("mode: shadow\n")
    assert load_config(file).warnings == ()
    file.write_text("senders: {webhooks: [{name: a, url: 'http://127.0.0.1:1/'}]}\n")
    assert load_config(file).warnings == ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("senders: {webhooks: [{name: a, url: 'http://h/'}, {name: a, url: 'http://g/'}]}",
         "webhooks must have different names"),
        ("senders: {webhooks: [{name: a}]}", "webhooks must each have a url"),
        ("receivers: {otlp_http: {listen: {address: 192.0.2.1}}}", "needs tls"),
        ("web: {listen: {address: '::'}}", "needs tls"),
        ("receivers: {http_log: {enabled: true}, log_files: {sources: [{name: k, paths: [/k.log], format: kong}]}}",
         "each would count twice"),
        ("incidents: {hold_window_count: 0}", "hold must be at least one window"),
        ("incidents: {guards: {error_ratio: 0.0}}", "error_ratio must be above 0"),
        ("incidents: {worsen_score_ratio: -1}", "worsen_score_ratio must not be negative"),
        ("scoring: {errors: {weight_min: -1}}", "weight_min must not be negative"),
        ("series: {window: 7s}", "divide an hour"),
        ("zone: Europe/Berln", "did you mean Europe/Berlin?"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_together_are_faults_with_a_line(
    tmp_path: Path, text: str, fault: str
) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r".") as caught:
        load_config(file)
    assert len(caught.value.problems) == 1
    assert fault in caught.value.problems[0].message
    assert caught.value.problems[0].line == 1


def test_userinfo_of_a_url_is_refused_without_repeating_it(tmp_path: Path) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text(
        "senders:\n  alertmanager: {urls: ['http://u:CANARY@127.0.0.1:9093']}\n"
        "  webhooks: [{name: a, url: 'https://CANARY@127.0.0.1/x'}]\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert len(caught.value.problems) == 2
    assert "CANARY" not in str(caught.value)


def test_what_is_shown_loads_as_the_same(tmp_path: Path) -> None:
    file = tmp_path / "sentinel.yaml"
    shown = plain(load_config(None).config)
    VALIDATOR.validate(without_secrets(shown))
    file.write_text(yaml.safe_dump(without_secrets(shown)))
    loaded = load_config(file)
    assert loaded.config == SentinelConfig()
    assert to_yaml(loaded.config) == to_yaml(SentinelConfig())


def without_secrets(values: object, cls: type[Any] = SentinelConfig) -> object:
    """What `config show` prints without the keys of secrets, which are not written into a file."""
    assert isinstance(values, dict)
    kept = {}
    for one in setting_fields(cls):
        inner: Shape = one.shape.inner if isinstance(one.shape, Maybe) else one.shape
        value = values[one.name]
        if one.secret_key is not None:
            continue
        if isinstance(inner, Section) and value is not None:
            value = without_secrets(value, inner.cls)
        elif isinstance(inner, Many) and isinstance(inner.item, Section):
            value = [without_secrets(item, inner.item.cls) for item in value]
        kept[one.name] = value
    return kept


def test_origins_are_shown_line_by_line(tmp_path: Path) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text("mode: shadow\nincidents:\n  hold: 5m\n")
    loaded = load_config(file, environment={"SENTINEL_LOGGING__LEVEL": "debug"})
    text = to_yaml(loaded.config, origins=loaded.origins)
    lines = {line.split("#")[0].strip(): line.split("# ")[-1] for line in text.splitlines()}
    assert lines["mode: shadow"] == f"{file}:1"
    assert lines["hold: 5m"] == f"{file}:3"
    assert lines["level: debug"] == "environment SENTINEL_LOGGING__LEVEL"
    assert lines["zone: UTC"] == "default"
    assert yaml.safe_load(text) == plain(loaded.config)


def test_a_secret_shows_nowhere(tmp_path: Path) -> None:
    """A canary in every secret of the tree, then every form in which a configuration can be printed."""
    scopes = ("ingest", "ingest_next", "read", "read_next", "admin", "admin_next")
    canaries = {name: f"CANARY-{name}-{'x' * 32}" for name in scopes}
    webhook = {
        "name": "a",
        "url": "http://127.0.0.1/",
        "hmac_secret": "CANARY",
        "client": {"bearer_token": "CANARY"},
    }
    file = tmp_path / "sentinel.yaml"
    file.write_text(
        yaml.safe_dump(
            {"web": {"listen": {"tokens": canaries}}, "senders": {"webhooks": [webhook]}}
        )
    )
    loaded = load(SentinelConfig, file, allow_plain_secrets=True)
    printed = [
        repr(loaded), str(loaded.config), to_yaml(loaded.config), repr(plain(loaded.config)),
        to_yaml(loaded.config, origins=loaded.origins), repr(loaded.origins),
    ]  # fmt: skip
    assert loaded.config.web.listen.tokens.read is not None
    assert not [text for text in printed if "CANARY" in text]
    assert "***" in printed[2]


def test_differences_say_what_waits_for_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "sentinel.yaml"
    file.write_text(
        "sensitivity: high\nincidents: {guards: {latency: 2s}}\nstore: {max_bytes: 1GiB}\n"
    )
    new = load_config(file).config
    found = {one.path: one.restart for one in differences(SentinelConfig(), new)}
    assert found == {
        "sensitivity": False,
        "incidents.guards.latency": False,
        "store.max_bytes": True,
    }
    assert differences(new, new) == []
    assert effective_digest(new) != effective_digest(SentinelConfig())


def test_every_setting_has_a_sentence_and_every_section_a_docstring() -> None:
    def walk(cls: type[Any]) -> Iterator[str]:
        assert cls.__doc__
        assert not cls.__doc__.startswith(cls.__name__)
        for one in setting_fields(cls):
            if not one.help:
                yield f"{cls.__name__}.{one.name}"
            inner: Any = one.shape
            while isinstance(inner, (Maybe, Many)):
                inner = inner.inner if isinstance(inner, Maybe) else inner.item
            if isinstance(inner, Section):
                yield from walk(inner.cls)

    assert list(walk(SentinelConfig)) == []


@pytest.mark.parametrize(
    "document",
    [
        {"mode": "dead"},
        {"series": {"window": 10}},
        {"series": {"window": "10"}},
        {"store": {"max_bytes": "4MB"}},
        {"incidents": {"guards": {"error_ratio": 1.5}}},
        {"senders": {"webhooks": "x"}},
        {"web": {"listen": {"tokens": {"read": "plain"}}}},
    ],
)
def test_schema_and_loader_refuse_alike(tmp_path: Path, document: dict[str, Any]) -> None:
    assert list(VALIDATOR.iter_errors(document))
    file = tmp_path / "sentinel.yaml"
    file.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError):
        load_config(file)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    assert set(SCHEMA["properties"]) == {one.name for one in setting_fields(SentinelConfig)}
