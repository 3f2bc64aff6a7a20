"""What a sender's configuration refuses, so that no page meets it first; and that it tells no secret."""

from __future__ import annotations

import pytest

from sentinel.runtime.http.client import ClientConfig
from sentinel.runtime.settings import Duration, Secret
from sentinel.senders.alertmanager import AlertmanagerConfig, alertmanager_senders
from sentinel.senders.webhook import WebhookConfig, WebhookSender, fingerprint_of


@pytest.mark.parametrize(
    "url",
    [
        "http://user:pass@127.0.0.1:9093",
        "http://user@127.0.0.1",
        "ftp://127.0.0.1",
        "127.0.0.1:9093",
        "//127.0.0.1",
        "http://",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://127.0.0.1/#x",
        "",
        "file:///etc/passwd",
    ],
)
def test_a_url_that_is_not_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        AlertmanagerConfig(urls=(url,))
    with pytest.raises(ValueError, match="URL"):
        WebhookSender(WebhookConfig(url=url))


def test_credentials_in_a_url_are_refused_with_a_hint_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="basic_password_file") as refusal:
        WebhookConfig(url="https://user:hunter2@example.com/")
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"urls": ("http://a:1/x?y=1",)}, "query"),
        ({"urls": ("http://a:1/x", "http://a:1/y")}, "twice"),
        ({"firing_lifetime": Duration(239.0)}, "four times"),
        ({"resend": Duration(0.0)}, "at least 1s"),
        ({"batch_max": 0}, "batch_max"),
    ],
    ids=["query", "twice", "lifetime", "resend", "batch"],
)
def test_an_alertmanager_that_cannot_work_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        AlertmanagerConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"bearer_token": Secret("x"), "basic_username": "u"}, "not both"),
        ({"basic_username": "u"}, "belong together"),
        ({"basic_password": Secret("x")}, "belong together"),
        ({"basic_username": "a:b", "basic_password": Secret("x")}, "colon"),
        ({"cert_file": "x.pem"}, "belong together"),
        ({"timeout": Duration(3600.0)}, "60s"),
        ({"connect_timeout": Duration(0.0)}, "above 0"),
    ],
    ids=["both", "no password", "no user", "colon", "no key", "for ever", "never"],
)
def test_a_client_that_cannot_work_is_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ClientConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a" * 64, "a\n"], ids=repr)
def test_a_webhooks_name_is_fit_for_a_metric(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        WebhookConfig(name=name, url="http://127.0.0.1:1/")


def test_every_instance_is_a_destination_of_its_own() -> None:
    config = AlertmanagerConfig(urls=("http://127.0.0.1:9093/", "https://[::1]/prefix"))
    first, second = alertmanager_senders(config)
    assert (first.name, second.name) == ("alertmanager:127.0.0.1:9093", "alertmanager:[::1]:443")
    assert first.wants_resend
    assert first.heartbeat


def test_nothing_shows_a_secret() -> None:
    config = WebhookConfig(
        url="http://127.0.0.1:1/",
        hmac_secret=Secret("k3y"),
        client=ClientConfig(bearer_token=Secret("t0ken")),
    )
    assert "k3y" not in repr(config)
    assert "t0ken" not in repr(config)


def test_a_fingerprint_does_not_depend_on_the_order_of_labels() -> None:
    assert fingerprint_of({"a": "1", "b": "2"}) == fingerprint_of({"b": "2", "a": "1"})
    assert fingerprint_of({"a": "1"}) != fingerprint_of({"a": "2"})
