"""Goal: what is audited is what the live fit expected, to the bit. Method: fits of a store at midnights that are over, beside what the audit says of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from sentinel.app.audit import _READ_DAYS
from sentinel.app.audit_ours import FitBasis, Ours, known_then, midnights
from sentinel.app.calendar_section import CalendarConfig
from sentinel.app.calendars import make_calendar
from sentinel.core.baseline import BIN_NS, Calendar, Model, ModelRule
from sentinel.core.model import (
    Incident,
    Kind,
    SeriesKey,
    WindowBlock,
)
from sentinel.core.scoring import ScoringSettings
from sentinel.pipeline.fit_history import read_history
from sentinel.pipeline.fit_result import fit_from_snapshot
from sentinel.pipeline.fitting import fit_payload
from sentinel.pipeline.models import ModelFailedError, ModelSettings
from sentinel.ports import Snapshot, Tick
from sentinel.runtime.settings import Zone
from sentinel.storage.memory import MemoryStore
from tests.support.past_incidents import past_fall

pytestmark = pytest.mark.timeout(120)

DAY_NS = 86_400_000_000_000
PER_DAY = DAY_NS // BIN_NS
HOUR_NS = 3_600_000_000_000
BERLIN = Zone("Europe/Berlin")
MOVED_NS = 1_792_890_000_000_000_000
"""2026-10-25 01:00 UTC: the clocks of Berlin go back."""
END_NS = MOVED_NS + 5 * DAY_NS + 5 * HOUR_NS
DAYS = 56
KEYS = [
    SeriesKey("ledger", "edge", "POST /v1/transfers", "traffic"),
    SeriesKey("ledger", "edge", "GET /v1/reports", "traffic"),
    SeriesKey("ledger", "edge", "GET /v1/rates", "traffic"),
]
RULES = (
    ModelRule(model=Model.FOURIER, route="GET /v1/reports"),
    ModelRule(model=Model.MSTL, route="GET /v1/rates"),
)


def incident(series_id: int, first_ns: int, hours: int) -> Incident:
    last_ns = first_ns + hours * HOUR_NS - BIN_NS
    return past_fall(series_id, KEYS[series_id - 1], first_ns=first_ns, last_ns=last_ns)


OUTAGE = incident(1, END_NS - 4 * DAY_NS, 6)


@pytest.fixture(scope="module")
def store() -> MemoryStore:
    """Eight weeks on the wall clock of Berlin, with days that are not like others and an outage of six hours."""
    made = MemoryStore()
    ids = made.register([(key, Kind.TRAFFIC) for key in KEYS], now_ns=END_NS)
    at_ns = END_NS - DAYS * DAY_NS + np.arange(DAYS * PER_DAY) * BIN_NS
    local = (at_ns + calendar().offset_ns(at_ns)) // BIN_NS
    shape = 100 * (1 + 0.4 * np.sin(2 * np.pi * local / PER_DAY))
    shape[local // PER_DAY % 7 == 2] *= 0.6
    closing = calendar().class_names.index("month-end-3")
    shape[calendar().membership(local // PER_DAY)[:, closing]] *= 1.8
    rng = np.random.default_rng(4)
    value = shape[:, None] * (1 + 0.03 * rng.standard_normal((len(shape), len(ids))))
    out = (at_ns >= OUTAGE.opened_ns) & (at_ns < OUTAGE.opened_ns + 6 * HOUR_NS)
    value[out, 0] = 0.0
    block = WindowBlock(
        start_ns=int(at_ns[0]),
        step_ns=BIN_NS,
        series=np.array(ids),
        kind=np.zeros(len(ids), np.int8),
        value=value.astype(np.float32),
        weight=np.ones(value.shape, np.float32),
        heard=np.ones(value.shape, np.bool_),
    )
    made.append_history(block)
    last = block.windows(block.window_count - 1, block.window_count)
    made.append_tick(Tick(block=last, incidents=(OUTAGE,)))
    return made


def calendar() -> Calendar:
    plain = CalendarConfig(country="DE", subdivision="SN").to_plain(BERLIN)
    return make_calendar(plain, now_ns=END_NS)


def foretold(
    value: NDArray[np.float32], *, per_day: int, bin_count: int, limit_s: float
) -> NDArray[np.float32]:
    """The last week again."""
    return np.resize(value[-7 * per_day :], bin_count)


def asked(store: MemoryStore, *, foretell: object = foretold) -> Ours:
    return Ours(
        store,
        {row.series_id: row.key for row in store.series()},
        store.incidents(limit=10),
        asked=np.array([1, 2, 3]),
        end_ns=END_NS,
        basis=FitBasis(calendar=calendar(), models=ModelSettings(rules=RULES)),
        foretell=foretell,  # type: ignore[arg-type]  # one that fails, too
    )


def test_it_is_what_a_fit_of_that_midnight_expected_through_a_change_of_the_clocks(
    store: MemoryStore,
) -> None:
    """On the wall clock, with special days, without the outage, by the model of the series."""
    ours = asked(store)
    history = read_history(store, np.array([1, 2, 3]), now_ns=END_NS, days=_READ_DAYS)
    assert history is not None
    found = [ours.expected(history.columns(at, at + 1), limit_s=60.0) for at in range(3)]
    assert [(one.fits, one.fallbacks) for one in found] == [(21, {})] * 3
    instants = midnights(END_NS, calendar())
    lengths = np.diff(instants) // HOUR_NS
    assert sorted(lengths.tolist()) == [24] * 20 + [25]
    for at in (int(np.argmax(lengths)), 18):
        payload = fit_payload(
            _Until(store, instants[at]),  # type: ignore[arg-type]  # what a fit reads of it
            now_ns=instants[at],
            version=1,
            step_ns=10_000_000_000,
            settings=ScoringSettings(),
            models=ModelSettings(rules=RULES),
            foretell=foretold,
            calendar=calendar(),
        )
        assert payload is not None
        live = fit_from_snapshot(Snapshot(at_ns=0, version=1, payload=payload)).profile
        first = (instants[at] - history.start_ns) // BIN_NS
        # The second is the third last business day of October, two days after the outage.
        count = int(lengths[at]) * HOUR_NS // BIN_NS
        for column, one in enumerate(found):
            np.testing.assert_array_equal(
                one.value[first : first + count], live.grid[:count, column]
            )


class _Until:
    """A store as it was: without what came later."""

    def __init__(self, store: MemoryStore, at_ns: int) -> None:
        self._store = store
        self._at_ns = at_ns

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def incidents(self, *, limit: int) -> list[Incident]:
        """Those of before, as they were known."""
        known = (known_then(one, self._at_ns) for one in self._store.incidents(limit=limit))
        return [one for one in known if one is not None]


def test_what_the_profile_stands_in_for_is_counted(store: MemoryStore) -> None:
    def fails(value: NDArray[np.float32], **_: object) -> NDArray[np.float32]:
        reason = "time_limit"
        raise ModelFailedError(reason, "as told")

    history = read_history(store, np.array([3]), now_ns=END_NS, days=_READ_DAYS)
    assert history is not None
    ours = asked(store, foretell=fails)
    assert ours.model_of(3) is Model.MSTL
    assert ours.expected(history, limit_s=60.0).fallbacks == {"time_limit": 21}
    assert asked(store).expected(history, limit_s=0.0).fallbacks == {"not_reached": 21}


def test_an_incident_is_known_as_it_was_then() -> None:
    accepted = replace(OUTAGE, accepted_ns=END_NS, accepted_by="alice")
    assert known_then(accepted, OUTAGE.opened_ns) is None
    during = known_then(accepted, OUTAGE.opened_ns + HOUR_NS)
    assert during is not None
    assert (during.resolved_ns, during.accepted_ns) == (None, None)
    after = known_then(accepted, END_NS - DAY_NS)
    assert after is not None
    assert (after.resolved_ns, after.accepted_ns) == (OUTAGE.resolved_ns, None)
    assert known_then(accepted, END_NS) is accepted
