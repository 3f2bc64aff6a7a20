"""Goal: what a look round writes is a configuration whatever it found, and says the same to people and to programs.

Method: findings made of hostile text, rendered, and read back by the strict loader's own parser and an independent one.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sentinel.app.config import load_config
from sentinel.app.discover import (
    Entry,
    Finding,
    Outcome,
    as_config,
    as_yaml,
    finding_lines,
    login_of,
)
from sentinel.app.discover import render as render_module
from sentinel.app.discover.findings import name_for, told
from sentinel.runtime.config.text import parse_text

HOSTILE = [
    "no",
    "010",
    "1:30",
    "a: b",
    "# x",
    "- y",
    "&a *b",
    '"',
    "\u2028",
    "~",
    "{}",
    "",
    "!!x",
    "é\u202e",
]


def entry(name: str, url: str, comment: str = "", *, active: bool = True) -> Entry:
    return Entry(
        section=("scrapers", "prometheus"),
        values={"name": name, "url": url, "service": name_for(name)},
        comments=(told(comment),),
        remarks=("password_file: /etc/x",),
        is_active=active,
    )


def found(*entries: Entry, sentence: str = "it is there") -> Finding:
    return Finding(
        kind="metrics",
        where="http://127.0.0.1:1",
        outcome=Outcome.FOUND,
        sentence=told(sentence),
        entries=entries,
    )


@pytest.fixture(autouse=True)
def _any_section_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render_module, "_is_known", lambda section: True)


TEXT = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40))


@given(
    entries=st.lists(
        st.builds(
            lambda name, url, comment, active: entry(name, told(url), comment, active=active),
            TEXT,
            TEXT,
            st.one_of(TEXT, st.just("a\nb: c\r\n- d " * 30)),
            st.booleans(),
        ),
        max_size=6,
    ),
    sentence=TEXT,
)
def test_both_forms_say_the_same(entries: list[Entry], sentence: str) -> None:
    findings = [found(*entries, sentence=sentence)]
    text = as_yaml(findings)
    config = as_config(findings)
    assert yaml.safe_load(text) == config
    node, problems = parse_text(text.encode(), file="x")
    assert node is not None
    assert problems == []
    names = [one["name"] for one in config.get("scrapers", {}).get("prometheus", [])]
    assert len(set(names)) == len(names)


def test_what_is_a_comment_works_when_its_marks_are_taken_off() -> None:
    """A sentence above a setting must stay a comment then."""
    lines = as_yaml([found(entry("a", "http://h/", "Not reached.", active=False))]).splitlines()
    first = lines.index("# scrapers:")
    block = [line.removeprefix("# ") for line in lines[first : first + 8]]
    assert yaml.safe_load("\n".join(block)) == {
        "scrapers": {"prometheus": [{"name": "a", "url": "http://h/", "service": "a"}]}
    }
    assert "    # Not reached." in block


def test_the_same_place_found_twice_is_written_once_and_reachable_wins() -> None:
    findings = [
        found(entry("far", "http://h/m", active=False)),
        found(entry("near", "http://h/m"), entry("near", "http://i/m")),
    ]
    config = as_config(findings)["scrapers"]["prometheus"]
    assert [one["name"] for one in config] == ["near", "near-2"]
    assert [one["service"] for one in config] == ["near", "near-2"]
    assert "far" not in as_yaml(findings)


def test_servers_of_one_cluster_are_one_item() -> None:
    def server(url: str, group: str) -> Entry:
        values = {"name": "main", "service": "nats", "urls": [url]}
        return Entry(section=("scrapers", "nats"), values=values, group=group)

    config = as_config(
        [
            found(server("http://a", "east"), server("http://b", "east")),
            found(server("http://c", "")),
        ]
    )
    assert [one["urls"] for one in config["scrapers"]["nats"]] == [
        ["http://a", "http://b"],
        ["http://c"],
    ]


def test_nothing_found_is_a_configuration_too(tmp_path: Path) -> None:
    path = tmp_path / "sentinel.yaml"
    path.write_text(as_yaml([]))
    loaded = load_config(path, environment={})
    assert loaded.config.mode.value == "shadow"
    assert loaded.warnings == ()


def test_a_finding_tells_its_advice_below() -> None:
    finding = Finding(
        kind="kong",
        where="http://k",
        outcome=Outcome.LACKING,
        sentence="half of it",
        advice=("Switch it on.",),
    )
    assert finding_lines(finding) == [
        "found, but  kong       http://k: half of it",
        "            Switch it on.",
    ]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_is_one_the_configuration_takes(text: str) -> None:
    name = name_for(text, {"target"})
    assert name.isascii()
    assert name == name.lower()
    assert name not in ("", "target")


@pytest.mark.parametrize(
    ("dsn", "host", "port", "user", "database"),
    [
        (
            "postgresql://sentinel@db.example.com:6432/app",
            "db.example.com",
            6432,
            "sentinel",
            "app",
        ),
        ("postgres://[::1]", "::1", 5432, "", "postgres"),
        ("127.0.0.1:5433/app", "127.0.0.1", 5433, "", "app"),
    ],
)
def test_a_dsn_is_taken_apart(dsn: str, host: str, port: int, user: str, database: str) -> None:
    login = login_of(dsn)
    assert (login.host, login.port, login.user, login.database) == (host, port, user, database)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://me:word@h/db",
        "postgresql://h/db?password=word",
        "http://h",
        "postgresql:///db",
        "h:port",
    ],
)
def test_a_dsn_with_a_password_or_without_a_host_is_refused(dsn: str) -> None:
    with pytest.raises(ValueError, match=r"password|host|DSN|[Pp]ort"):
        login_of(dsn)
