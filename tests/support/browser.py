"""A real browser, headless, that a test drives over its debugging protocol: what it shows, asks for and complains of."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.skips import require_binary

_START_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 20.0
_WIDE, _HIGH = 1100, 900


class Browser:
    """One page of a browser.

    Attributes:
        asked: the addresses that were asked for since the last `open`.
        complaints: what was refused by a page's policy, or failed to load, since then.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket = socket
        self._session = session
        self._numbers = itertools.count(1)
        self._is_loaded = False
        self.asked: list[str] = []
        self.complaints: list[str] = []

    async def open(
        self, url: str, *, dark: bool = False, wide: int = _WIDE, high: int = _HIGH
    ) -> None:
        """Go to a page as a window of this size shows it, and wait until it is whole."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self._say("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": wide, "height": high, "deviceScaleFactor": 1, "mobile": False}
        await self._say("Emulation.setDeviceMetricsOverride", **size)
        self.asked, self.complaints, self._is_loaded = [], [], False
        await self._say("Page.navigate", url=url)
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            while not self._is_loaded:
                self._note(await self._socket.receive_json())

    async def value(self, script: str) -> Any:
        """What an expression comes to in the page, as JSON has it."""
        found = await self._say("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def _say(self, method: str, **params: object) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params, "sessionId": self._session}
        await self._socket.send_json(message)
        async with asyncio.timeout(_ANSWER_TIMEOUT_S):
            while True:
                told = await self._socket.receive_json()
                if told.get("id") == number:
                    assert "error" not in told, told["error"]
                    return dict(told["result"])
                self._note(told)

    def _note(self, told: dict[str, Any]) -> None:
        params = told.get("params", {})
        match told.get("method"):
            case "Page.loadEventFired":
                self._is_loaded = True
            case "Network.requestWillBeSent":
                self.asked.append(params["request"]["url"])
            case "Log.entryAdded":
                self.complaints.append(params["entry"]["text"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """Chromium with a folder of its own; it ends with the block."""
    process = await asyncio.create_subprocess_exec(
        require_binary("chromium"),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *("--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"),
        f"--user-data-dir={folder}",
        "about:blank",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(await _address(process), max_msg_size=0) as socket,
        ):
            yield Browser(socket, await _session(socket))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(_START_TIMEOUT_S):
        while line := await process.stderr.readline():
            if b"DevTools listening on " in line:
                return line.decode().rpartition(" ")[2].strip()
    msg = "the browser ended before it could be driven"
    raise AssertionError(msg)


async def _session(socket: aiohttp.ClientWebSocketResponse) -> str:
    """A page of its own, whose events are told."""
    await socket.send_json(
        {"id": 0, "method": "Target.createTarget", "params": {"url": "about:blank"}}
    )
    target = await _answer(socket, 0)
    params = {"targetId": target["targetId"], "flatten": True}
    await socket.send_json({"id": 0, "method": "Target.attachToTarget", "params": params})
    session = str((await _answer(socket, 0))["sessionId"])
    for domain in ("Page", "Network", "Log"):
        await socket.send_json({"id": 0, "method": f"{domain}.enable", "sessionId": session})
        await _answer(socket, 0)
    return session


async def _answer(socket: aiohttp.ClientWebSocketResponse, number: int) -> dict[str, Any]:
    async with asyncio.timeout(_ANSWER_TIMEOUT_S):
        while True:
            told = await socket.receive_json()
            if told.get("id") == number:
                assert "error" not in told, told["error"]
                return dict(told["result"])
