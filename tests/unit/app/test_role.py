"""Goal: a role that cannot work is refused with what to change, and what has no effect in it is told.

Method: configurations as files and as the environment, loaded as the program does.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.app.config import load_config
from sentinel.app.role import Role
from sentinel.errors import ConfigError


def loaded(folder: Path, text: str, **environment: str) -> list[str]:
    path = folder / "sentinel.yaml"
    path.write_text(text)
    return [str(one) for one in load_config(path, environment=environment).warnings]


def refused(folder: Path, text: str, **environment: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text, **environment)
    return str(caught.value)


def test_one_process_does_both_unless_told(tmp_path: Path) -> None:
    assert load_config(None, environment={}).config.role is Role.BOTH


def test_both_refuses_several_replicas_unless_each_is_meant_to_score(tmp_path: Path) -> None:
    told = refused(tmp_path, "replicas: 3\n")
    assert "role: `both` decides by what one process hears, and there are 3 replicas" in told
    assert "`role: collect`" in told
    assert "each would page" in refused(tmp_path, "mode: shadow\n", SENTINEL_REPLICAS="3")
    loaded(tmp_path, "replicas: 3\neach_replica_scores: true\n")
    loaded(tmp_path, "replicas: 1\n")


@pytest.mark.parametrize("role", ["both", "score"])
def test_a_replica_whose_name_is_not_the_first_is_not_the_only_one(
    role: str, tmp_path: Path
) -> None:
    text = f"role: {role}\n"
    told = refused(tmp_path, text, SENTINEL_REPLICA_NAME="sentinel-scorer-1")
    assert "sentinel-scorer-1 is" in told
    assert "not the only replica" in told or "scale back to one" in told
    refused(tmp_path, text, SENTINEL_REPLICA_NAME="pay-12")
    loaded(tmp_path, text, SENTINEL_REPLICA_NAME="sentinel-scorer-0")
    loaded(tmp_path, text, SENTINEL_REPLICA_NAME="a-1-00")
    both = role == "both"
    for count in ("SENTINEL_REPLICAS", "SENTINEL_REPLICA_NAME"):
        given = {count: "2" if count.endswith("S") else "pay-1"}
        given["SENTINEL_EACH_REPLICA_SCORES"] = "true"
        if both:
            loaded(tmp_path, text, **given)
        else:
            # Nothing makes two scorers of a service right.
            assert "there is one `score`" in refused(tmp_path, text, **given)


@pytest.mark.parametrize("name", ["scorer", "scorer-", "scorer-x", "1", "scorer-1234567890"])
def test_a_name_without_a_number_says_nothing_and_is_refused(name: str, tmp_path: Path) -> None:
    told = refused(tmp_path, "", SENTINEL_REPLICA_NAME=name)
    assert "replica_name: must end in the replica's number" in told


def test_collectors_may_be_as_many_as_there_are(tmp_path: Path) -> None:
    text = "role: collect\ncollect: {url: 'http://s:4319'}\n"
    several = loaded(tmp_path, text, SENTINEL_REPLICAS="9", SENTINEL_REPLICA_NAME="pay-8")
    assert several == loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("role: collect\n", "needs a scorer"),
        ("role: collect\ncollect: {url: 'scorer:4319'}\n", "absolute"),
        (
            "role: collect\ncollect: {url: 'http://s:1', nats: {urls: ['nats://n:4222']}}\n",
            "not both",
        ),
        ("role: collect\ncollect: {url: 'http://s:1', name: 'a b'}\n", "name must be"),
        ("role: score\nreplicas: 2\n", "there is one `score`"),
        ("role: score\nreceivers: {windows_http: {enabled: false}}\n", "needs a way in"),
        ("role: scorer\n", "role"),
        ("replicas: 0\n", "at least 1"),
        (
            "role: score\nreceivers: {windows_http: {listen: {address: 0.0.0.0}}}\n",
            "tokens.ingest",
        ),
        ("merge: {wait: 10m}\n", "at most 5m"),
        ("collect: {nats: {urls: ['nats://n:4222'], subject: 'a.*'}}\n", "subject must be"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in refused(tmp_path, text)


def test_what_has_another_effect_in_a_collector_is_told(tmp_path: Path) -> None:
    told = loaded(
        tmp_path,
        "role: collect\ncollect: {url: 'http://s:4319'}\n"
        "scrapers: {nats: [{urls: ['http://n:8222']}]}\n"
        "senders: {webhooks: [{name: hook, url: 'http://h/'}]}\n",
    )
    assert any("scrapers.nats: every collector would ask the same servers" in one for one in told)
    assert any("senders: a collector pages nobody" in one for one in told)
    assert not any("nobody is paged" in one for one in told)


@pytest.mark.parametrize(
    ("host", "is_told"), [("127.0.0.1", False), ("localhost", False), ("kong.gateway.svc", True)]
)
def test_a_gateway_in_the_collectors_own_pod_is_its_own(
    host: str, *, is_told: bool, tmp_path: Path
) -> None:
    """The shipped configuration of pods with a gateway was warned at each start of what is right there."""
    text = f"""
role: collect
collect: {{url: "http://127.0.0.1:4319"}}
scrapers: {{kong: [{{name: kong, url: "http://{host}:8007/metrics", service: kong}}]}}
"""
    told = [one for one in loaded(tmp_path, text) if "scrapers.kong" in one]
    assert bool(told) is is_told
