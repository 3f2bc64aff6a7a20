"""Goal: a browser at the bare address shows how everything is, to those who may know, on any screen.

Method: the web component on a free port of loopback, shown by a real Chromium; what is asked for, said and drawn is looked at.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from sentinel.core.model import (
    Incident,
    IncidentKind,
    IncidentState,
    Member,
    SeriesKey,
    Severity,
)
from sentinel.errors import StoreError
from sentinel.runtime.auth import TokensConfig
from sentinel.runtime.component import Health, HealthStatus
from sentinel.runtime.settings import Secret
from sentinel.web import Status, WebConfig, WebListenConfig
from sentinel.web.index_page import PAGES
from sentinel.web.status_page import INCIDENTS_MAX
from tests.support.browser import browser
from tests.support.latest_verdicts import make_latest, many_keys
from tests.support.web_pages import Pages, serve_pages

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
HOSTILE = '<script>alert("x")</script><img src=//evil.example/x>'
# The ratio of contrast of every text with what lies behind it, by WCAG's formula; the least of each page is given back.
CONTRAST = """
(() => {
  const light = text => { const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map(one => {
    const part = one / 255; return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = node => { for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour !== 'rgba(0, 0, 0, 0)') return colour; } return 'rgb(255, 255, 255)'; };
  return Math.min(...[...document.body.querySelectorAll('*')].filter(node =>
    [...node.childNodes].some(child => child.nodeType === 3 && child.textContent.trim())).map(node => {
      const [dark, bright] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => a - b);
      return (bright + 0.05) / (dark + 0.05); }));
})()
"""


class Busy(Pages):
    """A process with parts in every state, and text from outside that means harm."""

    def __init__(self) -> None:
        super().__init__()
        self.latest = make_latest(many_keys(30), [1.0] * 30, [math.nan] * 20 + [0.3] * 10)
        self.found = [incident(number) for number in range(3)]

    def status(self) -> Status:
        """In shadow mode, without a fit."""
        sentences = {
            "pipeline.ingest": (HealthStatus.OK, "Windows are closed in time"),
            "scrapers.postgres": (HealthStatus.FAILING, f"No target can be read: {HOSTILE}"),
            "receivers.log_files": (HealthStatus.DEGRADED, "x" * 300),
        }
        components = {
            name: Health(status=status, sentence=sentence, since_ns=10**18)
            for name, (status, sentence) in sentences.items()
        }
        return replace(super().status(), mode="shadow", components=components, fit_version=None)


def incident(number: int) -> Incident:
    key = SeriesKey("api", "edge", f"POST {HOSTILE}", "errors")
    member = Member(
        series_id=1, key=key, direction=1, first_ns=10**18, last_ns=2 * 10**18, peak_score=3.5,
        value=0.5, expected=math.nan, lower=math.nan, upper=math.nan, why="half of the calls fail",
    )  # fmt: skip
    return Incident(
        incident_id=f"incident-{number}",
        group="api",
        kind=IncidentKind.GUARD,
        severity=Severity.PAGE,
        state=IncidentState.OPEN,
        opened_ns=10**18,
        paged_ns=10**18,
        members=(member,),
    )


async def test_a_browser_is_shown_how_everything_is(tmp_path: Path) -> None:
    async with serve_pages(Busy()) as server, browser(tmp_path) as window:
        await window.open(f"{server.url}/")
        text = await window.value("document.body.innerText")
        for told in (
            "not well",
            "shadow: it decides and records, and sends no page",
            "30, 20 of them still being learned",
            "none in effect yet",
            "Not all of it works: scrapers.postgres fails, see below. 30 series are heard. No baseline is in effect yet",
            "Open incidents",
            "sentinel incidents incident-2",
            "half of the calls fail",
            "■ failing",
            "▲ degraded",
            "● ok",
            "Windows are closed in time",
        ):
            assert told in text
        links = await window.value("[...document.links].map(one => one.getAttribute('href'))")
        assert [link for link in links if link != "/"] == list(PAGES)
        # The worst stands first, and what means harm is text.
        parts = await window.value(
            "[...document.querySelectorAll('td code')].map(one => one.innerText)"
        )
        assert parts == ["scrapers.postgres", "receivers.log_files", "pipeline.ingest"]
        assert f"No target can be read: {HOSTILE}" in text
        assert await window.value("document.scripts.length + document.images.length") == 0
        # Nothing else is asked for, and nothing of the page is refused by its own policy.
        assert [url for url in window.asked if not url.startswith("data:")] == [f"{server.url}/"]
        assert window.complaints == []
        assert await window.value("document.title") == "Sentinel: not well"
        assert await window.value("document.documentElement.lang") == "en"


async def test_it_is_read_on_a_narrow_and_on_a_dark_screen(tmp_path: Path) -> None:
    async with serve_pages(Busy()) as server, browser(tmp_path) as window:
        backgrounds = []
        for dark, wide in ((False, 1100), (True, 1100), (False, 320)):
            await window.open(f"{server.url}/", dark=dark, wide=wide)
            assert await window.value("document.documentElement.scrollWidth") <= wide
            assert await window.value(CONTRAST) >= 4.5
            backgrounds.append(
                await window.value("getComputedStyle(document.body).backgroundColor")
            )
        assert backgrounds[0] == backgrounds[2] != backgrounds[1]


async def test_a_terminal_gets_text_and_a_browser_html() -> None:
    async with serve_pages(Busy()) as server, aiohttp.ClientSession() as client:
        for headers, kind in (({}, "text/plain"), (HTML, "text/html")):
            async with client.get(f"{server.url}/", headers=headers) as response:
                assert response.content_type == kind
                assert response.headers["Vary"] == "Accept"
        async with client.head(f"{server.url}/", headers=HTML) as response:
            assert (response.status, await response.read()) == (200, b"")


async def test_where_a_token_is_asked_for_names_and_states_alone_are_shown() -> None:
    tokens = TokensConfig(read=Secret("read-token-0123456789"))
    config = WebConfig(listen=WebListenConfig(port=0, tokens=tokens))
    async with (
        serve_pages(Busy(), config) as server,
        aiohttp.ClientSession() as client,
        client.get(f"{server.url}/", headers=HTML) as response,
    ):
        text = await response.text()
    assert "scrapers.postgres" in text
    assert "More is shown to whoever has the read token" in text
    for hidden in ("No target can be read", "incident-", "half of the calls", "Windows are", "30"):
        assert hidden not in text.partition("</style>")[2].replace("2001-09-09", "")


async def test_many_incidents_are_cut_and_a_store_that_fails_is_told() -> None:
    pages = Busy()
    pages.found = [incident(number) for number in range(INCIDENTS_MAX + 5)]
    async with serve_pages(pages) as server, aiohttp.ClientSession() as client:
        async with client.get(f"{server.url}/", headers=HTML) as response:
            text = await response.text()
        assert text.count("sentinel incidents incident-") == INCIDENTS_MAX
        assert "And more" in text
        pages.found = []
        async with client.get(f"{server.url}/", headers=HTML) as response:
            assert "<p>None.</p>" in await response.text()

        async def fail(**_: object) -> list[Incident]:
            msg = "the store is gone"
            raise StoreError(msg)

        pages.incidents = fail  # type: ignore[method-assign]
        async with client.get(f"{server.url}/", headers=HTML) as response:
            assert response.status == 200
            assert "They cannot be read now." in await response.text()
