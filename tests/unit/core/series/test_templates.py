"""Goal: lines of free text that say the same are one series, those that do not are several, there is a bound, and a restart changes no name.

Method: gists handed to the templates in several orders; rows written and read again.
"""

from __future__ import annotations

import random

import pytest

from sentinel.core.redact.varying import Gists
from sentinel.core.series.templates import Templates, TemplateSettings

DEPENDENCIES = [f"could not connect to {name}" for name in ("redis", "postgres", "nats")]
USERS = [f"user {name} logged in" for name in ("ann", "bob", "cy", "di", "eve", "fay")]


def names(templates: Templates, gists: list[str], *, now_ns: int = 0) -> list[str]:
    return [templates.name_of("pay", gist, now_ns) for gist in gists]


def test_a_few_variants_stay_apart_and_many_become_one() -> None:
    templates = Templates()
    assert names(templates, DEPENDENCIES) == DEPENDENCIES
    names(templates, USERS)
    assert set(names(templates, USERS)) == {"user <*> logged in"}
    assert names(templates, DEPENDENCIES) == DEPENDENCIES
    assert templates.count == 4


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_lines_does_not_matter_in_the_end(seed: int) -> None:
    gists = [*USERS, *DEPENDENCIES, "disk is full", "queue is empty", "queue is full"]
    random.Random(seed).shuffle(gists)
    templates = Templates()
    names(templates, gists)
    found = dict(zip(gists, names(templates, gists), strict=True))
    assert {found[gist] for gist in USERS} == {"user <*> logged in"}
    assert all(found[gist] == gist for gist in gists if gist not in USERS)


def test_a_service_has_so_many_and_no_more() -> None:
    templates = Templates(TemplateSettings(per_service_max=3, services_max=2))
    found = names(templates, [f"word{chr(97 + n)} happened here today" for n in range(10)])
    assert [bool(name) for name in found] == [True] * 3 + [False] * 7
    assert templates.refused_count == 7
    assert templates.name_of("other", "x", 0) == "x"
    assert templates.name_of("third", "x", 0) == ""


def test_what_was_not_met_for_long_gives_way() -> None:
    templates = Templates(TemplateSettings(per_service_max=2))
    assert names(templates, ["old one here"], now_ns=1) == ["old one here"]
    assert names(templates, ["new one here"], now_ns=100) == ["new one here"]
    assert names(templates, ["third"], now_ns=100) == [""]
    templates.forget_idle(50)
    assert names(templates, ["third", "new one here"], now_ns=101) == ["third", "new one here"]


def test_names_are_the_same_after_a_restart() -> None:
    before = Templates()
    gists = [*USERS, *DEPENDENCIES]
    names(before, gists)
    kept = names(before, gists)
    assert before.is_changed
    after = Templates()
    after.restore(before.rows())
    assert not after.is_changed
    assert names(after, list(reversed(gists))) == list(reversed(kept))
    assert not after.is_changed


def test_a_clock_that_was_ahead_keeps_nothing_alive() -> None:
    templates = Templates()
    names(templates, ["x y z"], now_ns=10**12)
    templates.set_back(10)
    templates.forget_idle(11)
    assert templates.count == 0


@pytest.mark.parametrize(
    ("text", "gist"),
    [
        ("order 8842 of 10.0.0.7:5432 took 0.3 s", "order * of * took * s"),
        ("at 2026-11-22T06:35:37.250Z 6f1c2a9e-0c1d-4a5b-8e7f-001122334455", "at * *"),
        ("no 'such thing' as \"this\"", "no * as *"),
        ("mail jane@example.com\nand\x00more", "mail [EMAIL] and more"),
        ("", ""),
        ("plain words", "plain words"),
    ],
)
def test_gists(text: str, gist: str) -> None:
    gists = Gists()
    assert gists.of(text) == gist
    assert gists.of(text) == gist


def test_gists_are_bounded() -> None:
    gists = Gists()
    assert len(gists.of("word " * 5000)) <= 200
    for number in range(10_000):
        gists.of(f"w{chr(97 + number % 26) * (number % 150)} {'x' * (number // 100)}")
    assert len(gists._by_text) <= 2048
    assert len(gists._by_shape) <= 2048
