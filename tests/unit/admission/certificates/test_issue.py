"""Goal: the authority signs for the webhook alone, is renewed before it ends, and its successor is trusted beside it.

Method: real certificates; OpenSSL, through Python's own TLS, decides who is believed.
"""

from __future__ import annotations

import dataclasses
import ssl
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from sentinel.admission.certificates import issue as module
from sentinel.admission.certificates.issue import (
    KeyMaterial,
    Lifetimes,
    holds,
    issue,
    why_renew,
)
from sentinel.errors import MalformedInputError

NAMES = ("inject.sentinel.svc", "inject.sentinel.svc.cluster.local")
DAY_S = 86_400.0
LIFETIMES = Lifetimes(certificate_s=90 * DAY_S, authority_s=3650 * DAY_S)
NOW_S = 1_790_000_000.0


def made(
    now_s: float = NOW_S, before: KeyMaterial | None = None, names: tuple[str, ...] = NAMES
) -> KeyMaterial:
    return issue(names, lifetimes=LIFETIMES, now_s=now_s, before=before)


def renewal(material: KeyMaterial, now_s: float = NOW_S) -> str:
    return why_renew(material, NAMES, lifetimes=LIFETIMES, now_s=now_s)


def shake_hands(server: KeyMaterial, trusted: bytes, name: str, folder: Path) -> None:
    """A handshake in memory, at the real time; raises where the client does not believe the server."""
    (folder / "tls.crt").write_bytes(server.certificate)
    (folder / "tls.key").write_bytes(server.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    asking = ssl.create_default_context(cadata=trusted.decode())
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = serving.wrap_bio(to_server, to_client, server_side=True)
    theirs = asking.wrap_bio(to_client, to_server, server_hostname=name)
    waiting = [theirs, ours]
    for _ in range(20):
        for one in list(waiting):
            try:
                one.do_handshake()
                waiting.remove(one)
            except ssl.SSLWantReadError:
                continue
    assert not waiting


def test_whoever_trusts_the_authority_believes_the_webhook_and_only_by_its_names(
    tmp_path: Path,
) -> None:
    material = made(time.time())
    for name in NAMES:
        shake_hands(material, material.authorities, name, tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(material, material.authorities, "other.sentinel.svc", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(material, made(time.time()).authorities, NAMES[0], tmp_path)


def test_the_authority_may_sign_for_nobody_else(tmp_path: Path) -> None:
    """Its key lies in a Secret: whoever reads that must not be able to pose as another service."""
    ours = made(time.time())
    # What a thief would make: the same authority and key, another name.
    authority = module._authorities(ours.authorities)[0]
    own_key = ec.generate_private_key(ec.SECP256R1())
    forged = module._new_certificate(
        ["kubernetes.default.svc"],
        own_key,
        authority,
        module._key(ours.authority_key),
        lifetime_s=DAY_S,
        now_s=time.time(),
    )
    stolen = dataclasses.replace(
        ours, certificate=module._pem(forged), key=module._key_pem(own_key)
    )
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
        shake_hands(stolen, ours.authorities, "kubernetes.default.svc", tmp_path)


def test_a_certificate_is_renewed_by_the_same_authority_at_a_third_of_its_time() -> None:
    first = made()
    assert renewal(first) == ""
    assert renewal(first, NOW_S + 59 * DAY_S) == ""
    assert renewal(first, NOW_S + 61 * DAY_S) == "it ends soon"
    second = made(NOW_S + 61 * DAY_S, first)
    assert second.authorities == first.authorities
    assert second.authority_key == first.authority_key
    assert second.certificate != first.certificate
    assert renewal(second, NOW_S + 61 * DAY_S) == ""


def test_an_authority_near_its_end_gets_a_successor_that_is_trusted_beside_it() -> None:
    first = made()
    late_s = NOW_S + 3600 * DAY_S
    second = made(late_s, first)
    assert second.signer != first.signer
    assert holds(second.authorities, first.authorities)
    assert not holds(first.authorities, second.authorities)
    assert renewal(second, late_s) == ""
    third = made(late_s + 100 * DAY_S, second)
    assert third.signer == second.signer
    assert not holds(third.authorities, first.authorities)


def test_no_certificate_outlives_its_authority() -> None:
    short = Lifetimes(certificate_s=90 * DAY_S, authority_s=30 * DAY_S)
    material = issue(NAMES, lifetimes=short, now_s=NOW_S)
    assert material.certificate_ends_s <= material.authority_ends_s


def test_other_names_need_another_authority() -> None:
    first = made()
    other = made(before=first, names=("elsewhere.svc",))
    assert other.signer != first.signer
    assert renewal(other) == "it is for another name"


@pytest.mark.parametrize("part", ["authorities", "authority_key", "certificate", "key"])
def test_parts_that_do_not_belong_together_are_found(part: str) -> None:
    good, other = made(), made()
    with pytest.raises(MalformedInputError):
        renewal(dataclasses.replace(good, **{part: getattr(other, part)}))
    with pytest.raises(MalformedInputError):
        renewal(dataclasses.replace(good, **{part: b"not PEM"}))


def test_keys_are_never_shown() -> None:
    assert "PRIVATE" not in repr(made())
    assert "PRIVATE" not in f"{made()}"


def test_a_bundle_that_cannot_be_read_holds_nothing() -> None:
    assert not holds(b"", made().authorities)
    assert not holds(b"not PEM", made().authorities)
