"""Goal: nobody reaches a page without the token for it, and nothing is exposed by accident.

Method: decisions over values: every scope against every token, and the addresses that look like loopback.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from sentinel.runtime.auth import AccessDecision, AccessScope, TokensConfig, TokenTable
from sentinel.runtime.listen import ListenConfig, refuse_exposed
from sentinel.runtime.settings import FilePath, Secret
from sentinel.runtime.tls import TlsConfig, certificate_expiry_s

TEXTS = {scope: f"{scope}-token-0123456789" for scope in ("ingest", "read", "admin")}
ALL = TokensConfig(
    ingest=Secret(TEXTS["ingest"]), read=Secret(TEXTS["read"]), admin=Secret(TEXTS["admin"])
)
TLS = TlsConfig(cert_file=FilePath("a.crt"), key_file=FilePath("a.key"))
EVERYWHERE = "0.0.0.0"


@pytest.mark.parametrize(
    ("held", "opened"),
    [("ingest", {"ingest"}), ("read", {"read"}), ("admin", {"admin", "read"})],
)
def test_a_token_opens_its_scope_and_no_other(held: str, opened: set[str]) -> None:
    table = TokenTable(ALL)
    allowed = {
        scope.value
        for scope in AccessScope
        if table.decide(scope, f"Bearer {TEXTS[held]}") is AccessDecision.ALLOWED
    }
    assert allowed == opened | {"open"}


@pytest.mark.parametrize(
    ("shown", "decision"),
    [
        (None, AccessDecision.NO_TOKEN),
        ("", AccessDecision.NO_TOKEN),
        ("Bearer ", AccessDecision.NO_TOKEN),
        (f"Basic {TEXTS['read']}", AccessDecision.NO_TOKEN),
        (f"Bearer {TEXTS['read']}x", AccessDecision.UNKNOWN_TOKEN),
        (f"Bearer {TEXTS['read'][:-1]}", AccessDecision.UNKNOWN_TOKEN),
        ("Bearer " + "x" * 5000, AccessDecision.NO_TOKEN),
        ("Bearer \udce9\udce9\udce9", AccessDecision.UNKNOWN_TOKEN),
        (f"Bearer {TEXTS['ingest']}", AccessDecision.WRONG_SCOPE),
        (f"  bearer   {TEXTS['read']}  ", AccessDecision.ALLOWED),
    ],
)
def test_what_is_shown_is_judged_with_its_reason(
    shown: str | None, decision: AccessDecision
) -> None:
    assert TokenTable(ALL).decide(AccessScope.READ, shown) is decision


def test_both_tokens_of_a_scope_are_valid_during_a_change() -> None:
    tokens = TokensConfig(
        read=Secret("old-token-0123456789"), read_next=Secret("new-token-0123456789")
    )
    table = TokenTable(tokens)
    for text in ("old-token-0123456789", "new-token-0123456789"):
        assert table.decide(AccessScope.READ, f"Bearer {text}") is AccessDecision.ALLOWED


def test_a_token_for_one_scope_leaves_the_others_free() -> None:
    """So that `tokens.read` on a loopback listener does not stop a sender; exposed listeners need both."""
    table = TokenTable(TokensConfig(read=Secret(TEXTS["read"])))
    assert table.decide(AccessScope.INGEST, None) is AccessDecision.ALLOWED


@pytest.mark.parametrize(
    "text", ["short", "x" * 513, "with a space in it", "non-ascii-é-0123456789"]
)
def test_weak_or_unsendable_tokens_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"token for read") as caught:
        TokensConfig(read=Secret(text))
    assert text not in str(caught.value)


def test_one_token_for_two_scopes_is_refused() -> None:
    with pytest.raises(ValueError, match="different"):
        TokensConfig(read=Secret(TEXTS["read"]), ingest=Secret(TEXTS["read"]))


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "localhost"]
)
def test_loopback_needs_nothing(address: str) -> None:
    listening = ListenConfig(address=address)
    refuse_exposed(listening, scopes=[AccessScope.READ])
    with pytest.raises(ValueError, match="needs tls"):
        refuse_exposed(replace(listening, address=EVERYWHERE), scopes=[AccessScope.READ])


@pytest.mark.parametrize(
    "address", [EVERYWHERE, "::", "10.0.0.7", "169.254.1.1", "::ffff:10.0.0.1", "fe80::1"]
)
def test_an_exposed_address_needs_tls_and_the_token_of_each_scope(address: str) -> None:
    scopes = [AccessScope.OPEN, AccessScope.READ]
    with pytest.raises(ValueError, match=r"needs tls and tokens\.read"):
        refuse_exposed(ListenConfig(address=address), scopes=scopes)
    with pytest.raises(ValueError, match=r"needs tokens\.read"):
        refuse_exposed(ListenConfig(address=address, tls=TLS), scopes=scopes)
    with pytest.raises(ValueError, match=r"needs tls$"):
        refuse_exposed(ListenConfig(address=address, tokens=ALL), scopes=scopes)
    refuse_exposed(ListenConfig(address=address, tls=TLS, tokens=ALL), scopes=scopes)
    refuse_exposed(ListenConfig(address=address), scopes=[AccessScope.OPEN])


@pytest.mark.parametrize(
    "address", ["", "example.com", "0x7f000001", "2130706433", "127.1", "127.0.0.1:80", "loopback"]
)
def test_an_address_is_an_ip_address(address: str) -> None:
    """A name, or a number some resolvers take for loopback, may mean something else tomorrow."""
    with pytest.raises(ValueError, match="address must be"):
        ListenConfig(address=address)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_is_in_range(port: int) -> None:
    with pytest.raises(ValueError, match="port"):
        ListenConfig(port=port)


def test_tls_needs_both_files() -> None:
    with pytest.raises(ValueError, match="both"):
        TlsConfig(cert_file=FilePath("a.crt"))


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_what_is_no_certificate_is_a_value_error(pem: str) -> None:
    with pytest.raises(ValueError, match=r"certificate|date"):
        certificate_expiry_s(pem)
