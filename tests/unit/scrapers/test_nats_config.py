"""Goal: a NATS target that cannot work is refused with what is wrong; a key's file is read without a word of it being shown.

Method: configurations and key files made wrong in one place each.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import VerifyKey

from sentinel.app.config import ScrapersConfig
from sentinel.errors import ConfigError
from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.nats.nkey import Signer, public_of, seed_of
from sentinel.runtime.settings import Duration, Secret
from sentinel.scrapers.nats.config import NatsAdvisoriesConfig, NatsConfig
from tests.support.nats_keys import Key, credentials

URLS = ("http://127.0.0.1:8222",)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "Main"}, "name"),
        ({"service": " "}, "service"),
        ({"urls": ("ftp://a",)}, "http"),
        ({"urls": ("http://u:p@a:8222",)}, "credentials"),
        ({"urls": ("http://a:8222/?x=1",)}, "query"),
        ({"urls": ("http://a:8222", "http://a:8222/")}, "twice"),
        ({"interval": Duration(0.5)}, "interval"),
        ({"interval": Duration(5.0)}, "shorter than interval"),
        ({"streams_max": 0}, "streams_max"),
        ({"consumers_max": 10**6}, "consumers_max"),
        ({"body_max": 10}, "body_max"),
        ({"account": "a b"}, "account"),
        ({"domain": "hub.leaf"}, "domain"),
    ],
)
def test_a_target_that_cannot_work_is_refused(changed: dict[str, Any], says: str) -> None:
    NatsConfig(urls=URLS)
    with pytest.raises(ValueError, match=says):
        NatsConfig(**{"urls": URLS, **changed})


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"urls": ("http://a",)}, "nats://"),
        ({"urls": ("nats://user:word@a:4222",)}, "credentials"),
        ({"urls": ("nats://a:4222/x",)}, "path"),
        ({"user": "u"}, "belong together"),
        ({"user": "u", "password": Secret("p"), "token": Secret("t")}, "one of"),
        ({"token": Secret("t"), "nkey_seed_file": "/x"}, "one of"),
        ({"cert_file": "/x"}, "belong together"),
        ({"queue_group": "a b"}, "queue_group"),
        ({"connect_timeout": Duration(0.0)}, "connect_timeout"),
        ({"reconnect_max": Duration(0.0)}, "reconnect_max"),
    ],
)
def test_a_connection_that_cannot_work_is_refused(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        NatsAdvisoriesConfig(**changed)


def test_targets_have_names_and_addresses() -> None:
    one = NatsConfig(urls=URLS)
    assert ScrapersConfig(nats=(one,)).nats == (one,)
    with pytest.raises(ValueError, match="different names"):
        ScrapersConfig(nats=(one, one))
    with pytest.raises(ValueError, match="urls"):
        ScrapersConfig(nats=(NatsConfig(),))


def test_secrets_never_show() -> None:
    config = NatsConfig(
        urls=URLS,
        client=ClientConfig(bearer_token=Secret("hunter2"), timeout=Duration(5.0)),
        advisories=NatsAdvisoriesConfig(user="u", password=Secret("hunter2")),
    )
    assert "hunter2" not in repr(config)


def test_a_seed_signs_as_its_public_key_says(tmp_path: Path) -> None:
    key = Key("user", "sentinel")
    file = tmp_path / "key"
    signer = Signer(str(file), setting="nkey_seed_file")
    for text in (key.seed + "\n", credentials(key, "a.b.c")):
        file.write_text(text)
        assert signer.public() == key.public
        signature = base64.b64decode(signer.sign("nonce"))
        VerifyKey(bytes(key.pair.verify_key)).verify(b"nonce", signature)
    assert signer.jwt() == b"a.b.c"
    assert seed_of(key.seed) == bytes(key.pair)
    assert public_of(bytes(key.pair.verify_key)) == key.public
    assert (key.seed[:2], key.public[0]) == ("SU", "U")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a key",
        Key("account", "a").seed,
        Key("user", "a").public,
        Key("user", "a").seed[:-1] + ("A" if Key("user", "a").seed[-1] != "A" else "B"),
        "-----BEGIN USER NKEY SEED-----",
        "\u00e9",
    ],
)
def test_a_file_that_is_no_seed_is_named_and_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        Signer(str(file), setting="nkey_seed_file").sign("nonce")
    assert "nkey_seed_file" in str(told.value)
    assert not text.strip() or text.strip() not in str(told.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        Signer(str(tmp_path / "none"), setting="credentials_file").jwt()
