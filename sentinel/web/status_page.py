"""`/` for a browser: what runs here, how it is, what is open, and where to go on, on one page of HTML.

The page has no script and asks for nothing else: its style stands in it and is allowed by its digest. Every text that
comes from outside is escaped. What a word means is never said by colour alone, and the page is read as well by a narrow
window, a dark screen and a reader of screens.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from sentinel.core.model import Incident, Reason
from sentinel.runtime.component import Health, HealthStatus
from sentinel.web.api import words_of
from sentinel.web.health import iso_time
from sentinel.web.sources import LatestVerdicts, Status
from sentinel.web.standing import standing, word_of, worst_of

INCIDENTS_MAX = 20
_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --soft: #57606a; --back: #ffffff; --card: #f6f8fa; --line: #d0d7de;
  --ok: #0f6b2f; --degraded: #845400; --failing: #b3161f; --link: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --soft: #9da7b3; --back: #0d1117; --card: #161b22;
  --line: #30363d; --ok: #56d364; --degraded: #e3b341; --failing: #ff8078; --link: #79c0ff; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 60rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; margin: 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .6rem; }
p { margin: .4rem 0; }
a { color: var(--link); }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
small, .soft { color: var(--soft); font-size: .9rem; }
.story { background: var(--card); border-left: .25rem solid var(--link); padding: .6rem .8rem; margin: 1rem 0; }
code { font-family: ui-monospace, monospace; font-size: .9rem; }
.state { display: inline-block; border: 1px solid; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem;
  font-weight: 600; white-space: nowrap; }
.ok { color: var(--ok); } .degraded { color: var(--degraded); } .failing { color: var(--failing); }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(12rem, 1fr)); gap: .8rem; margin: 1.2rem 0 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
dt { color: var(--soft); font-size: .85rem; }
dd { margin: 0; }
ul { list-style: none; margin: 0; padding: 0; }
li { border-top: 1px solid var(--line); padding: .6rem 0; }
table { width: 100%; border-collapse: collapse; }
th { text-align: left; color: var(--soft); font-size: .85rem; font-weight: 600; }
th, td { padding: .45rem .8rem .45rem 0; vertical-align: top; }
tbody tr { border-top: 1px solid var(--line); }
td code, td time { white-space: nowrap; }
.pages li { display: grid; grid-template-columns: minmax(0, 15rem) 1fr; gap: 0 1rem; }
@media (max-width: 42rem) {
  thead { position: absolute; left: -9999px; }
  tbody tr { display: block; padding: .5rem 0; }
  td { display: block; padding: .1rem 0; }
  td time::before { content: "since "; }
  .pages li { display: block; } }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src data:; frame-ancestors 'none';"
    " base-uri 'none'; form-action 'none'"
)
_SIGNS = {HealthStatus.OK: "●", HealthStatus.DEGRADED: "▲", HealthStatus.FAILING: "■"}
_WORST_FIRST = (HealthStatus.FAILING, HealthStatus.DEGRADED, HealthStatus.OK)
_ROLES = {
    "collect": "<strong>collect</strong>: windows are sent to the service's scorer, which decides on them",
    "score": "<strong>score</strong>: windows of the service's collectors are merged and decided on here",
}
_MODES = {
    "live": "pages are sent",
    "shadow": "it decides and records, and sends no page",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the page shows.

    Attributes:
        status: of the process.
        now_ns: when.
        latest: the last window, or None before the first.
        incidents: the open ones, newest first, one more than are shown; None when they could not be read.
        pages: each path with what it shows.
        is_detailed: whether sentences, incidents and numbers may be shown to whoever asks.
    """

    status: Status
    now_ns: int
    latest: LatestVerdicts | None
    incidents: Sequence[Incident] | None
    pages: Mapping[str, str]
    is_detailed: bool


def status_page(seen: Seen) -> str:
    """The page, whole."""
    status = seen.status
    word, state = word_of(status), worst_of(status).value
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<title>Sentinel: {word}</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head><body>',
        f'<header><h1>Sentinel <small>{escape(status.version)}</small> <span class="state {state}">{word}</span></h1>',
        "<p>It learns what is ordinary for the services beside it at this hour of this weekday, and pages when one of them"
        " leaves that and stays out.</p></header><main>",
    ]
    if seen.is_detailed:
        told = standing(status, seen.latest, now_ns=seen.now_ns)
        parts.append(f'<p class="story">{escape(told)}</p>')
    parts.append(_facts(seen))
    if seen.is_detailed:
        parts.append(_incidents(seen.incidents))
    parts.append(_components(status.components, is_detailed=seen.is_detailed))
    parts.append(_pages(seen))
    parts.append(
        f'</main><footer><p class="soft">As of {_time(seen.now_ns)}. <a href="/">Look again</a>.</p></footer></body></html>'
    )
    return "".join(parts)


def _facts(seen: Seen) -> str:
    status = seen.status
    facts = [
        ("Mode", f"<strong>{escape(status.mode)}</strong>: {_MODES.get(status.mode, '')}"),
        *([] if status.role == "both" else [("Role", _ROLES.get(status.role, ""))]),
        ("Runs since", _time(status.started_ns)),
    ]
    if seen.is_detailed:
        facts.append(_up_to(seen))
    if seen.is_detailed and status.role != "collect":
        fit = status.fit_version
        facts += [
            ("Series", _series(seen.latest)),
            ("Baseline", "none in effect yet" if fit is None else f"fit {fit}"),
        ]
    if status.shed:
        facts.append(("Given up under overload", escape(", ".join(status.shed))))
    return f"<dl>{''.join(f'<div><dt>{name}</dt><dd>{value}</dd></div>' for name, value in facts)}</dl>"


def _up_to(seen: Seen) -> tuple[str, str]:
    """Up to where windows are decided, or closed where they are decided elsewhere; what was over before the start is none of them."""
    if seen.status.role == "collect":
        name, end_ns = "Windows closed up to", seen.status.watermark_ns
        if end_ns is not None and end_ns <= seen.status.started_ns:
            end_ns = None
    else:
        name = "Windows decided up to"
        end_ns = None if seen.latest is None else seen.latest.block.end_ns
    return name, "none yet" if end_ns is None else _time(end_ns)


def _series(latest: LatestVerdicts | None) -> str:
    if latest is None:
        return "none yet"
    reasons = latest.verdicts.reason[0]
    told = f"{len(latest.keys):,}"
    learning = int(np.isin(reasons, (Reason.NO_HISTORY, Reason.NO_SCALE)).sum())
    blind = int((reasons == Reason.BLIND).sum())
    if learning:
        told += f", {learning:,} of them still being learned"
    if blind:
        told += f"; {blind:,} without a word from their source"
    return told


def _incidents(incidents: Sequence[Incident] | None) -> str:
    head = '<section aria-labelledby="open"><h2 id="open">Open incidents</h2>'
    if incidents is None:
        return f"{head}<p>They cannot be read now.</p></section>"
    if not incidents:
        return f"{head}<p>None.</p></section>"
    rows = []
    for one in incidents[:INCIDENTS_MAX]:
        summary = words_of(one)["summary"]
        state = "failing" if one.severity.value == "page" else "degraded"
        rows.append(
            f'<li><span class="state {state}">{escape(one.severity.value)}</span> {escape(summary)}'
            f"<br><small>More: <code>sentinel incidents {escape(one.incident_id)}</code></small></li>"
        )
    more = ""
    if len(incidents) > INCIDENTS_MAX:
        more = '<p>And more: <a href="/api/v1/incidents?state=open">all of them</a>.</p>'
    return f"{head}<ul>{''.join(rows)}</ul>{more}</section>"


def _components(components: Mapping[str, Health], *, is_detailed: bool) -> str:
    rows = []
    for name, health in sorted(
        components.items(), key=lambda item: (_WORST_FIRST.index(item[1].status), item[0])
    ):
        status = health.status
        cells = [
            f'<span class="state {status.value}">{_SIGNS[status]} {status.value}</span>',
            f"<code>{escape(name)}</code>",
            *([escape(health.sentence)] if is_detailed else []),
            _time(health.since_ns),
        ]
        # Roles are written out, for a table whose rows are blocks in a narrow window is none to a reader of screens.
        row = "".join(f'<td role="cell">{cell}</td>' for cell in cells)
        rows.append(f'<tr role="row">{row}</tr>')
    names = ["State", "Part", *(["What it says"] if is_detailed else []), "Since"]
    heads = "".join(f'<th scope="col" role="columnheader">{name}</th>' for name in names)
    return (
        '<section aria-labelledby="parts"><h2 id="parts">Parts</h2>'
        f'<table role="table"><thead role="rowgroup"><tr role="row">{heads}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(rows)}</tbody></table></section>'
    )


def _pages(seen: Seen) -> str:
    rows = "".join(
        f'<li><a href="{escape(path)}"><code>{escape(path)}</code></a><small>{escape(what)}</small></li>'
        for path, what in seen.pages.items()
    )
    note = (
        "On a terminal: <code>sentinel incidents</code>, <code>sentinel check ready</code>."
        if seen.is_detailed
        else "More is shown to whoever has the read token: <code>curl -H 'Authorization: Bearer …'</code>"
        " with <code>/api/v1/status</code> or <code>/api/v1/incidents</code>."
    )
    return (
        '<section aria-labelledby="pages"><h2 id="pages">Pages</h2>'
        f'<nav aria-labelledby="pages"><ul class="pages">{rows}</ul></nav><p class="soft">{note}</p></section>'
    )


def _time(time_ns: int) -> str:
    text = iso_time(time_ns)
    return f'<time datetime="{text}">{text[:10]} {text[11:19]} UTC</time>'
