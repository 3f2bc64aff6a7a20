"""Goal: the demo's table of expected ranges can be read on a terminal of 80 columns. Method: its lines as written."""

from __future__ import annotations

import pytest

from sentinel.app.demo.telling import Teller

PLACES = [
    ("ledger-edge", "edge", "GET /v1/accounts/{id}/balance"),
    ("ledger-edge", "edge", "GET /v1/transactions/{id}"),
    ("ledger-edge", "edge", "POST /v1/transfers"),
    ("ledger-edge", "database", "SELECT accounts"),
    ("ledger-edge", "database", "SELECT transactions"),
    ("ledger-edge", "queue", "publish ledger.transfers"),
    ("ledger-poster", "consumer", "process ledger.transfers"),
]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_every_row_of_the_ranges_differs_and_fits(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names were cut at their end, so that the rows of a service read alike: "ledger-edge edge GET /v1/"."""
    monkeypatch.setenv("COLUMNS", str(columns))
    written: list[str] = []
    teller = Teller(written.append)
    for service, stage, route in PLACES:
        teller.band(
            {
                "service": service,
                "stage": stage,
                "route": route,
                "value": 15.94,
                "expected": 16.1,
                "lower": -2.0,
                "upper": 123.0,
            }
        )
    assert len({line.split("]")[1] for line in written}) == len(PLACES)
    if columns >= 80:
        assert max(map(len, written)) <= columns
        assert all(stage in line for line, (_, stage, _) in zip(written, PLACES, strict=True))
    assert all(line.endswith("15.9/s, usual 16.1 (0.0-123.0)") for line in written)
    if columns >= 80:
        assert "GET /v1/accounts" in written[0]
