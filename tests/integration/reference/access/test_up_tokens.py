"""Goal: a ledger that believes tokens only is used by its own programs, and by a person who asks it for one.

Method: `up --tokens-only` with its commands, each a process of its own.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import signal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from tests.support.ledger_run import Up, end_up, eventually, ledger, start_up
from tests.support.otlp_collector import OtlpCollector

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


async def test_programs_come_in_by_tokens_also_after_the_issuer_began_anew(tmp_path: Path) -> None:
    collector = OtlpCollector()
    await collector.start()
    up = await start_up(tmp_path, collector, "--tokens-only", "--no-replica")
    try:
        assert up.ready["issuer_url"].startswith("http://127.0.0.1:")
        assert Path(up.ready["accounts_file"]).stat().st_mode & 0o077 == 0
        status, told = await up.transfer("by-header")
        assert (status, told["code"]) == (401, "no_credentials")
        state = ("--state", str(up.state_file), "--tenant", "shop")

        async def read() -> int:
            process = await ledger("token", *state, mark=up.mark)
            token, _ = await process.communicate()
            assert process.returncode == 0
            bearer = {"Authorization": f"Bearer {token.decode().strip()}"}
            async with up.http.get("/v1/accounts/alice/balance", headers=bearer) as response:
                return response.status

        assert await read() == 404
        await a_person_pays(up)
        before = json.loads(up.state_file.read_text())["pids"]["authorize"]
        os.kill(before, signal.SIGKILL)
        await eventually(
            "a new issuer",
            lambda: json.loads(up.state_file.read_text())["pids"]["authorize"],
            lambda pid: pid != before,
        )
        # Its keys are new, which the edge finds out by the first token that it does not know.
        await eventually("the new keys", read, lambda status: status == 404)
        process = await ledger("load", *state, "--rate", "30", "--seconds", "2", mark=up.mark)
        output, _ = await process.communicate()
        counts = json.loads(output)["status_counts"]
        assert counts["202"] > 0
        assert set(counts) <= {"200", "202", "401", "404"}
        process = await ledger(
            "token", "--state", str(up.state_file), "--tenant", "nobody", mark=up.mark
        )
        await process.communicate()
        assert process.returncode == 1
    finally:
        await end_up(up)
        await collector.stop()


async def a_person_pays(up: Up) -> None:
    """The walk of somebody new, with nothing but what `up` has told: discovery, page, code, token, transfer."""
    accounts = json.loads(Path(up.ready["accounts_file"]).read_bytes())
    [client] = [one for one in accounts["clients"] if one["id"] == "browser"]
    [person] = [one for one in accounts["users"] if one["tenant"] == "shop"]
    [back] = client["redirect_uris"]
    verifier = secrets.token_urlsafe(48)
    digest = hashlib.sha256(verifier.encode()).digest()
    asked = {
        "response_type": "code",
        "client_id": client["id"],
        "redirect_uri": back,
        "scope": "ledger.write",
        "state": "here",
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    jar = aiohttp.CookieJar(unsafe=True)  # the host is an address
    async with aiohttp.ClientSession(cookie_jar=jar) as http:
        async with http.get(
            up.ready["issuer_url"] + "/.well-known/openid-configuration"
        ) as response:
            found = await response.json()
        async with http.get(found["authorization_endpoint"], params=asked) as response:
            [consent] = re.findall(r'name="consent" value="([^"]+)"', await response.text())
        form = {
            "consent": consent,
            "decision": "allow",
            "name": person["name"],
            "password": person["password"],
        }
        async with http.post(
            found["authorization_endpoint"], data=form, allow_redirects=False
        ) as response:
            assert response.status == 303
            query = parse_qs(urlsplit(response.headers["Location"]).query)
        assert query["state"] == ["here"]
        form = {
            "grant_type": "authorization_code",
            "client_id": client["id"],
            "redirect_uri": back,
            "code": query["code"][0],
            "code_verifier": verifier,
        }
        async with http.post(found["token_endpoint"], data=form) as response:
            token = (await response.json())["access_token"]
    bearer = {"Authorization": f"Bearer {token}"}
    body = {
        "debit_account": "external:bank",
        "credit_account": "till",
        "amount_minor": 5,
        "currency": "EUR",
    }
    async with up.http.post(
        "/v1/transfers", json=body, headers={**bearer, "Idempotency-Key": "a-person"}
    ) as response:
        assert response.status == 202
        status_url = (await response.json())["status_url"]
    # She let it move money, and not look.
    async with up.http.get(status_url, headers=bearer) as response:
        assert response.status == 403
        assert 'scope="ledger.read"' in response.headers["WWW-Authenticate"]
