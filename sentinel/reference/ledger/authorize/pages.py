"""The two pages a person sees: plain HTML without scripts, which says who wants what and as whom."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Final
from urllib.parse import urlsplit

_STYLE: Final = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:3rem auto;padding:0 1rem;color:#111;background:#fff}"
    "label,input{display:block;width:100%;box-sizing:border-box}input{font:inherit;padding:.4rem;margin:.2rem 0 1rem;border:1px solid #555}"
    "button{font:inherit;padding:.5rem 1.2rem;margin-right:1rem}[role=alert]{border-left:.3rem solid #a00;padding-left:.7rem}"
)
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_WHAT: Final = {
    "ledger.read": "see transactions and balances",
    "ledger.write": "move money",
}


def headers(redirect_uri: str = "") -> dict[str, str]:
    """Return the headers of a page; a form on it may lead to `redirect_uri`'s origin and nowhere else."""
    parts = urlsplit(redirect_uri)
    origin = f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'{origin}; "
        "frame-ancestors 'none'; base-uri 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def consent_page(
    *, client: str, scope: str, redirect_uri: str, consent: str, problem: str = ""
) -> str:
    """Return the page that asks whether the client may."""
    wants = "".join(f"<li>{escape(_WHAT[one])}</li>" for one in scope.split() if one in _WHAT)
    alert = f'<p role="alert">{escape(problem)}</p>' if problem else ""
    where = escape(urlsplit(redirect_uri).netloc)
    return _page(
        "Let it in?",
        f"<h1>{escape(client)} wants to use the ledger as you</h1>"
        f"<p>It could then:</p><ul>{wants}</ul><p>You will be sent back to <strong>{where}</strong>.</p>{alert}"
        f'<form method="post" action="/authorize"><input type="hidden" name="consent" value="{escape(consent)}">'
        '<label for="name">Name</label><input id="name" name="name" autocomplete="username" maxlength="63">'
        '<label for="password">Password</label><input id="password" name="password" type="password" '
        'autocomplete="current-password" maxlength="256">'
        '<button name="decision" value="allow">Allow</button><button name="decision" value="deny">Deny</button></form>',
    )


def problem_page(what: str) -> str:
    """Return the page that says why nothing can be asked."""
    return _page(
        "This cannot be asked",
        f'<h1>This cannot be asked</h1><p role="alert">{escape(what)}</p><p>Go back to the program that sent you here, and begin again.</p>',
    )


def _page(title: str, body: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )
