"""Goal: nothing of a request that is a secret comes back in what is told of the answer, and plain words stay.

Method: requests and answers that say parts of them back, literally, decoded and as JSON.
"""

from __future__ import annotations

import pytest

from sentinel.runtime.echo import secrets_of, without_secrets
from sentinel.runtime.http.client import Reply

URL = "https://hooks.example.com/services/T0AB12CD/abcdefghijklmnopqr?key=URL%20SECRET456&v=1"
SECRETS = secrets_of(
    URL,
    {
        "Authorization": "Basic am9lOmh1bnRlcjI=",
        "Content-Type": "application/json",
        "X-Key": "k3y!",
    },
    ["hunter2"],
)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Authorization: Basic am9lOmh1bnRlcjI=", "Authorization: [SECRET]"),
        ("got am9lOmh1bnRlcjI= and k3y!", "got [SECRET] and [SECRET]"),
        ("user joe has not hunter2", "user joe has not [SECRET]"),
        ("no token T0AB12CD here", "no token [SECRET] here"),
        ("POST /services/T0AB12CD/abcdefghijklmnopqr failed", "POST [SECRET] failed"),
        (r"\/services\/T0AB12CD\/abcdefghijklmnopqr", r"\/services\/[SECRET]\/[SECRET]"),
        ("unknown 'URL SECRET456'", "unknown '[SECRET]'"),
        ("unknown URL%20SECRET456", "unknown [SECRET]"),
        ("/services takes application/json, v=1", "/services takes application/json, v=1"),
        ("card 4111 1111 1111 1111 of jane@example.com", "card [PAN] of [EMAIL]"),
    ],
)
def test_what_was_sent_is_cut_out_of_what_is_said(said: str, shown: str) -> None:
    assert without_secrets(said, SECRETS) == shown


def test_an_address_of_plain_words_stays_readable() -> None:
    secrets = secrets_of("http://am.example:9093/api/v2/alerts", {}, [])
    assert secrets == ()
    assert without_secrets("/api/v2/alerts is not known", secrets) == "/api/v2/alerts is not known"


def test_a_secret_across_the_end_of_the_line_told_is_cut_out_before_the_line_is() -> None:
    """Cut to length first, half a secret would be left that nothing recognises."""
    reply = Reply(status=500, text="x" * 195 + "T0AB12CD", secrets=SECRETS)
    assert "T0" not in reply.detail
    assert "T0AB12CD" not in repr(Reply(status=500, secrets=SECRETS))
