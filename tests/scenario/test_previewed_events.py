"""Goal: where a preview can equal what live decided it does, and where it cannot it says why.

Method: the whole program in shadow mode lives through what does not follow from its windows: a store that fails or is full, a
person's word that is taken back, clocks that jump, a start that comes too late. Then its store is previewed. What may be
lost or damaged in a store afterwards is taken out of a copy of one.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from sentinel.core.decide import DecisionSettings
from sentinel.core.model import PageReason
from sentinel.errors import StoreError
from sentinel.pipeline.evaluate import EvaluateConfig
from sentinel.runtime.settings import Duration
from sentinel.storage.sqlite.excerpt import write_excerpt
from tests.support.clock import ManualClock
from tests.support.previewed import (
    EDGE,
    POSTER,
    USUAL,
    assert_same,
    in_shadow,
    listening,
    previewed,
    told,
    word,
)
from tests.support.whole_app import Sidecar, crash, sidecar, until, with_history

pytestmark = pytest.mark.timeout(120)

WINDOW_NS = 10 * 10**9
HOUR_NS = 3600 * 10**9
FAILING = replace(EDGE, failed_count=25)


async def go_on(side: Sidecar, seconds: float) -> None:
    """Let the clock confirm itself after a step, looked at each second; sources send nothing meanwhile."""
    for _ in range(round(seconds)):
        await side.clock.advance(1.0)
        await until(lambda: not side.app.ingest._wake.is_set(), what="the reduction's next look")
    side.next_ns = -(-side.clock.now_ns() // WINDOW_NS) * WINDOW_NS


@pytest.mark.parametrize("trouble", ["failing", "full"])
async def test_windows_that_were_not_stored_are_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """They were decided, and a preview took them for a pause of the sidecar; it said that it was equal."""
    heard = listening(monkeypatch)
    async with sidecar(in_shadow(tmp_path)) as side:
        await with_history(side, USUAL, days=15)
        await told(side, 6, EDGE, POSTER)
        first_ns = side.next_ns
        with monkeypatch.context() as broken:
            if trouble == "full":
                broken.setattr(side.app.store.sync._access, "has_room", lambda: False)
            else:

                def refuse(_tick: object) -> bool:
                    msg = "the disk is gone"
                    raise StoreError(msg)

                broken.setattr(side.app.store.sync, "append_tick", refuse)
            await told(side, 3, FAILING, POSTER)
        await told(side, 8, EDGE, POSTER)
    assert len(heard.windows) == 17
    seen, found = previewed(tmp_path)
    assert len(seen.windows) == 14
    assert any(
        "3 windows from" in why and "were decided and could not be stored" in why
        for why in found.doubts
    ), found.doubts
    # What lies before them is as it was.
    before, found = previewed(tmp_path, to_ns=first_ns)
    assert found.doubts == []
    assert before.windows == [one for one in heard.windows if one[0] < first_ns]
    # A copy knows of them, too, though the event was stored with a window that it does not hold.
    until_ns = first_ns + 4 * WINDOW_NS
    part = tmp_path / "part"
    write_excerpt(
        tmp_path / "store", part, step_ns=WINDOW_NS, start_ns=found.begun_ns, end_ns=until_ns
    )
    _, of_part = previewed(tmp_path, place=part, to_ns=until_ns)
    _, of_store = previewed(tmp_path, to_ns=until_ns)
    assert of_part.doubts == of_store.doubts
    assert "3 windows from" in of_part.doubts[0]


async def test_every_word_is_replayed_though_the_last_one_took_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored incident knows who spoke last alone; the page that told of the end named another."""
    heard = listening(monkeypatch)
    async with sidecar(in_shadow(tmp_path)) as side:
        await with_history(side, USUAL, days=15)
        await told(side, 6, EDGE, POSTER)
        await told(side, 4, FAILING, POSTER)
        (incident,) = await side.incidents()
        await word(side, "include", incident["id"], FAILING, POSTER, by="alice")
        await told(side, 2, FAILING, POSTER)
        await word(side, "exclude", incident["id"], EDGE, POSTER, by="bob")
        await word(side, "include", incident["id"], EDGE, POSTER, by="carol")
        await told(side, 4, EDGE, POSTER)
        (incident,) = await side.incidents()
        assert incident["accepted"]["by"] == "carol"
    (ended,) = [page for page in heard.pages if page.reason is PageReason.RESOLVED]
    assert "by alice" in ended.annotations["summary"]
    seen, found = previewed(tmp_path)
    assert found.doubts == []
    assert_same(seen, heard)


async def test_after_a_sleep_of_hours_the_fit_still_judges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part that was recorded had ended meanwhile, and the next was recorded minutes later: those were not judged."""
    heard = listening(monkeypatch)
    async with sidecar(in_shadow(tmp_path)) as side:
        await with_history(side, USUAL, days=15)
        await told(side, 6, EDGE, POSTER)
        fit = side.app.fitter.current()
        monkeypatch.setattr(side.app.fitter, "current", lambda: fit)
        side.clock.step_wall(5 * 3600.0)
        await go_on(side, 31)
        await told(side, 40, FAILING, POSTER)
    assert heard.windows[-1][0] - heard.windows[0][0] > 5 * HOUR_NS
    seen, found = previewed(tmp_path)
    assert_same(seen, heard)
    assert found.doubts == []


async def test_over_a_clock_that_was_put_back_is_a_doubt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = listening(monkeypatch)
    async with sidecar(in_shadow(tmp_path)) as side:
        await with_history(side, USUAL, days=15)
        await told(side, 6, EDGE, POSTER)
        side.clock.step_wall(200.0)
        await go_on(side, 31)
        await told(side, 4, EDGE, POSTER)
        ahead_ns = side.next_ns
        side.clock.step_wall(-200.0)
        await go_on(side, 65)
        await told(side, 20, EDGE, POSTER)
        assert side.next_ns > ahead_ns + 5 * WINDOW_NS
        await told(side, 8, FAILING, POSTER)
    _, found = previewed(tmp_path)
    assert [why for why in found.doubts if "the clock was put back" in why]
    # Up to then it is as it was.
    back_ns = min(
        after[0]
        for before, after in zip(heard.windows, heard.windows[1:], strict=False)
        if after[0] < before[0]
    )
    early, found = previewed(tmp_path, to_ns=back_ns)
    assert not [why for why in found.doubts if "the clock was put back" in why]
    assert early.windows[:6] == heard.windows[:6]
    # From then on it begins from what was learned there, and not by the clock that was ahead.
    after, found = previewed(tmp_path, from_ns=back_ns + WINDOW_NS)
    back = [one[0] for one in heard.windows].index(back_ns)
    assert after.windows == heard.windows[back + 1 :]
    assert (found.begun_ns, found.doubts) == (back_ns + WINDOW_NS, [])


async def test_windows_too_old_to_be_decided_again_are_a_doubt(tmp_path: Path) -> None:
    clock = ManualClock()
    config = replace(in_shadow(tmp_path), evaluate=EvaluateConfig(resume_max=Duration(60.0)))
    async with sidecar(config, clock=clock) as side:
        await with_history(side, USUAL, days=15)
        await told(side, 8, EDGE, POSTER)
        await crash(side.app)
    await clock.advance(600)
    async with sidecar(config, clock=clock) as side:
        side.next_ns = -(-clock.now_ns() // WINDOW_NS) * WINDOW_NS
        await told(side, 3, EDGE, POSTER)
    _, found = previewed(tmp_path)
    assert any("too old to be decided again" in why for why in found.doubts), found.doubts


@pytest.fixture(scope="module")
def lived_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 30 windows, two fits, an incident and a stop in order."""
    folder = tmp_path_factory.mktemp("lived")

    async def live() -> None:
        async with sidecar(in_shadow(folder)) as side:
            await told(side, 2, EDGE, POSTER)
            await with_history(side, USUAL, days=15)
            await told(side, 8, EDGE, POSTER)
            await side.app.fitter.fitted()
            await told(side, 4, FAILING, POSTER, logs=["connection refused by ledger-db"])
            await told(side, 16, EDGE, POSTER)

    asyncio.run(live())
    _, found = previewed(folder)
    assert found.doubts == []
    return folder


def notes_of(connection: sqlite3.Connection, event: str) -> list[tuple[int, str]]:
    found = connection.execute("SELECT note_id, text FROM notes").fetchall()
    return [(number, text) for number, text in found if json.loads(text)["event"] == event]


def spoil(connection: sqlite3.Connection, event: str, text: str) -> None:
    """Put another text in the place of the last such event."""
    number = notes_of(connection, event)[-1][0]
    connection.execute("UPDATE notes SET text = ? WHERE note_id = ?", (text, number))


SPOILT: dict[str, tuple[Callable[[sqlite3.Connection], object], str]] = {
    "a fit": (
        lambda one: one.execute(
            "DELETE FROM snapshots WHERE snapshot_id ="
            " (SELECT max(snapshot_id) FROM snapshots WHERE what = 'fit_record')"
        ),
        "the fit that live judged by from ",
    ),
    "all fits": (
        lambda one: one.execute("DELETE FROM snapshots WHERE what = 'fit_record'"),
        "the fit that live judged by from ",
    ),
    "a damaged fit": (
        lambda one: one.execute(
            "UPDATE snapshots SET payload = zeroblob(length(payload)) WHERE snapshot_id ="
            " (SELECT max(snapshot_id) FROM snapshots WHERE what = 'fit_record')"
        ),
        "1 damaged pieces of the store were skipped",
    ),
    "a damaged chunk": (
        lambda one: one.execute(
            "UPDATE chunks SET payload = zeroblob(length(payload)) WHERE chunk_id ="
            " (SELECT max(chunk_id) FROM chunks WHERE step_ns = ?)",
            (WINDOW_NS,),
        ),
        "damaged pieces of the store were skipped",
    ),
    "windows": (
        lambda one: one.execute(
            "DELETE FROM chunks WHERE chunk_id ="
            " (SELECT chunk_id FROM chunks WHERE step_ns = ? ORDER BY chunk_id DESC LIMIT 1 OFFSET 1)",
            (WINDOW_NS,),
        ),
        "and no start explains it",
    ),
    "evidence": (
        lambda one: one.execute("""DELETE FROM notes WHERE text LIKE '{"event": "evidence"%'"""),
        "what live put on ",
    ),
    "text": (lambda one: spoil(one, "evidence", "{"), "1 of the events that live noted cannot be"),
    "an event of another kind": (
        lambda one: spoil(one, "evidence", '{"event": "later"}'),
        "1 of the events that live noted cannot be read",
    ),
    "no event": (lambda one: spoil(one, "evidence", "[]"), "cannot be read"),
    "what was learned": (
        lambda one: spoil(
            one, "learned", notes_of(one, "learned")[-1][1].replace('"crc": ', '"crc": 1')
        ),
        "is not what live learned",
    ),
}


@pytest.mark.parametrize("what", list(SPOILT))
def test_what_is_lost_or_damaged_is_a_doubt(lived_store: Path, tmp_path: Path, what: str) -> None:
    shutil.copytree(lived_store / "store", tmp_path / "store")
    spoiling, said = SPOILT[what]
    with closing(sqlite3.connect(tmp_path / "store" / "sentinel.db")) as connection, connection:
        spoiling(connection)
    _, found = previewed(tmp_path)
    assert any(said in why for why in found.doubts), found.doubts


def test_what_other_pages_would_carry_is_no_doubt_of_its_own(
    lived_store: Path, tmp_path: Path
) -> None:
    shutil.copytree(lived_store / "store", tmp_path / "store")
    with closing(sqlite3.connect(tmp_path / "store" / "sentinel.db")) as connection, connection:
        SPOILT["evidence"][0](connection)
    _, found = previewed(tmp_path, settings=DecisionSettings())
    assert found.pages
    assert found.doubts == ["it was decided by other settings than live"]
