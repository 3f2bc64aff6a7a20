"""Goal: a changed configuration takes effect while the program runs, and a wrong one changes nothing but says so.

Method: the whole program on a manual clock, watching a real file that the test rewrites.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sentinel.app.config import load_config
from sentinel.core.redact import DEFAULT_POLICY, put_in_force, redact
from tests.support.alertmanager_server import collector
from tests.support.tls import make_certificate
from tests.support.whole_app import Calls, Sidecar, sidecar, until, usual_of, with_history

pytestmark = pytest.mark.timeout(60)

BURST = Calls(failed_count=40)
SUCCESS = "sentinel_config_last_reload_success"


class File:
    """The configuration file, and what in it a test may change."""

    def __init__(self, folder: Path, url: str) -> None:
        self.path = folder / "sentinel.yaml"
        self._folder = folder
        self.write(url=url)

    def write(
        self,
        *,
        url: str,
        mode: str = "live",
        sensitivity: str = "normal",
        error_ratio: float = 0.5,
        series_count_max: int = 10_000,
        client: str = "",
        more: str = "",
    ) -> None:
        """Write it whole."""
        self.path.write_text(
            f"""
mode: {mode}
sensitivity: {sensitivity}
receivers: {{otlp_http: {{listen: {{port: 0}}}}, otlp_grpc: {{enabled: false}}}}
series: {{tick: 1s, series_count_max: {series_count_max}}}
store: {{directory: {self._folder / "store"}}}
incidents: {{hold: 1m, guards: {{error_ratio: {error_ratio}}}}}
senders: {{webhooks: [{{name: hook, url: "{url}", client: {{{client}}}}}]}}
web: {{listen: {{port: 0}}}}
# The memory read is that of the process that runs the tests.
overload: {{memory_max: 1000GiB}}
{more}
"""
        )


@asynccontextmanager
async def watching(file: File) -> AsyncIterator[Sidecar]:
    config = load_config(file.path, environment=os.environ).config
    async with sidecar(config, watched=file.path) as side:
        yield side


async def reload_sentence(side: Sidecar) -> tuple[str, str]:
    _, status = await side.get("/api/v1/status")
    health = status["components"]["app.reload"]
    return health["status"], health["sentence"]


async def taken(side: Sidecar, success: float = 1.0) -> None:
    """The watch has looked at the file and come to an end with it."""
    before = side.metrics.value("sentinel_config_last_reload_success_timestamp_seconds")

    def looked() -> bool:
        after = side.metrics.value("sentinel_config_last_reload_success_timestamp_seconds")
        return side.metrics.value(SUCCESS) == success and (success == 0.0 or after > before)

    await side.sees(looked, "the reload")


async def test_limits_destinations_and_mode_change_while_it_runs(tmp_path: Path) -> None:
    with collector() as hook, collector() as other:
        file = File(tmp_path, hook.url)
        file.write(url=hook.url, error_ratio=0.9)
        async with watching(file) as side:
            await side.windows(2, Calls())
            await side.windows(3, BURST)
            assert await side.incidents() == []
            file.write(url=other.url, error_ratio=0.5)
            await taken(side)
            await side.windows(3, BURST)
            await side.sees(lambda: bool(other.distinct()), "the page at the new destination")
            file.write(url=other.url, mode="shadow")
            await taken(side)
            await side.windows(9, Calls())
            assert [one["state"] for one in await side.incidents()] == ["resolved"]
            assert side.metrics.value("sentinel_pages_withheld_total", reason="resolved") == 1
            assert hook.distinct() == []
            assert other.distinct("resolved") == []
            assert await reload_sentence(side) == ("ok", "In effect")


async def test_sensitivity_moves_the_band(tmp_path: Path) -> None:
    with collector() as hook:
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await with_history(
                side, usual_of(Calls(), stage="edge", route="POST /v1/transfers"), days=15
            )
            await side.windows(10, Calls())
            assert side.app.evaluate.latest is not None
            before = side.app.evaluate.latest.verdicts.upper[0, 0]
            file.write(url=hook.url, sensitivity="quiet")
            await taken(side)
            await side.window(Calls())
            assert side.app.evaluate.latest.verdicts.upper[0, 0] > before * 1.05


async def test_a_changed_calendar_is_fitted_with_at_once(tmp_path: Path) -> None:
    with collector() as hook:
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await with_history(
                side, usual_of(Calls(), stage="edge", route="POST /v1/transfers"), days=15
            )

            def digest() -> str:
                fit = side.app.fitter.current()
                return "" if fit is None else fit.calendar

            assert digest() == "UTC"
            file.write(url=hook.url, more="zone: Europe/Berlin")
            await taken(side)
            await until(lambda: digest() == "Europe/Berlin", what="a fit on the wall clock")
            # The country is looked up in a child, which takes real time.
            file.write(url=hook.url, more="calendar: {country: DE}")
            await side.clock.advance(2.5)
            await until(lambda: len(digest()) == 12, what="a fit with special days")
            file.write(url=hook.url, more="calendar: {country: XX}")
            await side.clock.advance(2.5)
            await until(lambda: side.metrics.value(SUCCESS) == 0, what="the refusal")
            assert (await reload_sentence(side))[0] == "degraded"
            assert len(digest()) == 12


async def test_a_wrong_file_keeps_the_last_good_one_and_says_so(tmp_path: Path) -> None:
    with collector() as hook:
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await side.window(Calls())
            file.write(url=hook.url, more="senstivity: high")
            await taken(side, success=0.0)
            status, sentence = await reload_sentence(side)
            assert status == "degraded"
            assert "1 fault" in sentence
            assert "last good one is kept" in sentence
            await side.windows(2, BURST)
            await side.sees(lambda: bool(hook.distinct()), "a page by the last good configuration")
            file.path.unlink()
            await side.clock.advance(2.5)
            assert (await reload_sentence(side))[0] == "degraded"
            await side.window(BURST)
            file.write(url=hook.url)
            await taken(side)
            assert await reload_sentence(side) == ("ok", "In effect")


async def test_a_missing_file_of_authorities_keeps_the_last_good_configuration(
    tmp_path: Path,
) -> None:
    """It was taken once, and from then on every page waited for a file that nobody had been told of."""
    with collector() as hook:
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await side.window(Calls())
            file.write(url=hook.url, client=f"ca_file: {tmp_path / 'missing.pem'}")
            await taken(side, success=0.0)
            assert await reload_sentence(side) == (
                "degraded",
                "The changed configuration has 1 fault; the last good one is kept",
            )
            await side.windows(2, BURST)
            await side.sees(lambda: bool(hook.distinct()), "a page by the last good configuration")
            # The file comes later, as a mounted secret may: nothing else has to change.
            cert, _ = make_certificate(tmp_path, "missing")
            cert.rename(tmp_path / "missing.pem")
            await taken(side)
            assert await reload_sentence(side) == ("ok", "In effect")


@pytest.mark.parametrize("text", ["", "# every line is commented out\n", "{}\n"])
async def test_an_emptied_file_is_not_taken(tmp_path: Path, text: str) -> None:
    """A file that was truncated by a full disk once turned every page off: an empty one is a right configuration."""
    with collector() as hook:
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await side.window(Calls())
            file.path.write_text(text)
            await taken(side, success=0.0)
            assert await reload_sentence(side) == (
                "degraded",
                "The changed configuration is empty; the last good one is kept",
            )
            assert side.metrics.value("sentinel_config_reloads_total", result="refused") == 1
            await side.windows(2, BURST)
            await side.sees(lambda: bool(hook.distinct()), "a page by the last good configuration")
            file.write(url=hook.url)
            await taken(side)
            assert await reload_sentence(side) == ("ok", "In effect")


async def test_the_last_destination_is_taken_away_only_by_who_says_so(tmp_path: Path) -> None:
    """A template that rendered no destination made a sidecar that pages nobody, and said nothing."""
    with collector() as hook:
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await side.window(Calls())
            whole = file.path.read_text()
            without = "\n".join(line for line in whole.split("\n") if "senders:" not in line)
            file.path.write_text(without)
            await taken(side, success=0.0)
            status, sentence = await reload_sentence(side)
            assert status == "degraded"
            assert "takes away every destination of pages" in sentence
            assert "senders: {webhooks: []}" in sentence
            file.path.write_text(without + "senders: {webhooks: []}\n")
            await taken(side)
            assert await reload_sentence(side) == ("ok", "In effect")
            assert side.metrics.value("sentinel_config_reloads_total", result="taken") == 1


async def test_a_folder_in_the_folder_is_named_and_the_last_good_one_kept(tmp_path: Path) -> None:
    """A folder named like a file crashed the watch, which was then restarted for ever and looked at nothing."""
    with collector() as hook:
        folder = tmp_path / "conf.d"
        folder.mkdir()
        file = File(tmp_path, hook.url)
        file.path = file.path.rename(folder / "a.yaml")
        config = load_config(folder, environment=os.environ).config
        async with sidecar(config, watched=folder) as side:
            await side.window(Calls())
            (folder / "x.yaml").mkdir()
            await taken(side, success=0.0)
            status, sentence = await reload_sentence(side)
            assert (status, sentence) == (
                "degraded",
                "The changed configuration has 1 fault; the last good one is kept",
            )
            (folder / "x.yaml").rmdir()
            await taken(side)
            assert side.metrics.value("sentinel_task_crashes_total") == 0


async def test_asked_to_look_it_does_so_before_its_turn_and_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with collector() as hook, caplog.at_level("INFO", logger="sentinel"):
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await side.window(Calls())
            assert side.reloader is not None
            side.reloader.look_now()
            await side.sees(lambda: "it has not changed" in caplog.text, "the answer")
            file.write(url=hook.url, sensitivity="high")
            before_s = side.clock.monotonic_s()
            side.reloader.look_now()
            await until(
                lambda: "Changed configuration taken" in caplog.text, what="the change to be taken"
            )
            assert side.clock.monotonic_s() == before_s
            (line,) = (one for one in caplog.records if "taken" in one.message)
            assert vars(line)["changed"] == "sensitivity"


async def test_what_needs_a_restart_is_named_until_it_comes(tmp_path: Path) -> None:
    with collector() as hook:
        file = File(tmp_path, hook.url)
        async with watching(file) as side:
            await side.window(Calls())
            file.write(url=hook.url, series_count_max=5000)
            await taken(side)
            assert await reload_sentence(side) == (
                "degraded",
                "A restart is needed for series.series_count_max",
            )
            await side.window(Calls())
            file.write(url=hook.url, series_count_max=5000, sensitivity="high")
            await taken(side)
            assert "series.series_count_max" in (await reload_sentence(side))[1]
            await side.window(Calls())
            file.write(url=hook.url, sensitivity="high")
            await taken(side)
            assert await reload_sentence(side) == ("ok", "In effect")


async def test_what_is_redacted_changes_while_it_runs(tmp_path: Path) -> None:
    """From the next text on, everywhere, and a pattern that could hold the process up is refused with the old one kept."""
    line = "for CUST-123456 by jane@example.com"
    try:
        with collector() as hook:
            file = File(tmp_path, hook.url)
            async with watching(file) as side:
                assert redact(line) == "for CUST-123456 by [EMAIL]"
                own = "redact: {patterns: [{name: CUSTOMER, pattern: 'CUST-[0-9]{6,10}'}]}"
                file.write(url=hook.url, more=own)
                await taken(side)
                assert redact(line) == "for [CUSTOMER] by [EMAIL]"
                file.write(url=hook.url, more="redact: {patterns: [{name: X, pattern: '(a+)+'}]}")
                await taken(side, 0.0)
                assert redact(line) == "for [CUSTOMER] by [EMAIL]"
                key = tmp_path / "mail.key"
                key.write_text("0123456789abcdef")
                file.write(url=hook.url, more=f"redact: {{mail_key_file: {key}}}")
                await taken(side)
                assert redact(line).startswith("for CUST-123456 by [EMAIL:")
    finally:
        put_in_force(DEFAULT_POLICY)
