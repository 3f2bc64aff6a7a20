"""Goal: Kong's spans are one call each, wherever its plugin puts the word. Method: payloads of tests/data/kong, decoded."""

from __future__ import annotations

from pathlib import Path

import pytest

from sentinel.core.model import SampleBatch, Scope
from sentinel.core.normalise import OtlpDecoder
from sentinel.core.normalise.span_rules import scope_of
from tests.support.otlp_messages import CLIENT, span, traces

DATA = Path(__file__).parents[4] / "data" / "kong"
NOW_NS = 1_790_000_010 * 10**9


def _counted(batch: SampleBatch) -> dict[Scope, list[bool]]:
    batch = batch.in_columns(now_ns=NOW_NS)
    assert batch.calls is not None
    found: dict[Scope, list[bool]] = {}
    for at, error in zip(
        batch.calls.scope_index.tolist(), batch.calls.error.tolist(), strict=True
    ):
        found.setdefault(batch.calls.scopes[at], []).append(error)
    return found


def test_a_root_span_is_a_call_that_fails_by_its_code_and_the_rest_of_it_is_none() -> None:
    body = (DATA / "traces_old_names.json").read_bytes()
    batch = OtlpDecoder().decode("traces", "application/json", body, now_ns=NOW_NS)

    assert _counted(batch) == {
        # 502 fails although Kong leaves the status unset; the other one was answered.
        Scope("kong", "edge", "GET /v1/orders"): [True, False],
        Scope("kong", "edge", "other"): [False],
        # Each try to reach an upstream, by its name; the one that failed says so itself.
        Scope("kong", "client", "balancer orders.svc"): [True, False],
        Scope("kong", "client", "balancer"): [False],
    }
    assert not batch.rejected
    assert batch.services == {"kong"}


def test_the_newer_names_say_the_same() -> None:
    body = (DATA / "traces_new_names.json").read_bytes()
    batch = OtlpDecoder().decode("traces", "application/json", body, now_ns=NOW_NS)
    assert _counted(batch) == {
        Scope("kong", "edge", "GET /v1/orders"): [True],
        Scope("kong", "client", "balancer orders.svc"): [True],
    }


@pytest.mark.parametrize("address", ["10.0.3.7", "fd00::1:7", "[fd00::7]", ""])
def test_upstreams_in_numbers_have_one_name(address: str) -> None:
    found = scope_of("kong", CLIENT, "kong.balancer", {"net.peer.name": address})
    assert found == Scope("kong", "client", "balancer")


def test_what_makes_no_series_is_learnt_once_and_not_for_ever() -> None:
    """Each of Kong's inner spans was looked into anew, because only places were remembered."""
    decoder = OtlpDecoder()
    inner = [
        span("kong.internal.request", kind=CLIENT, number=number + 1, http__method=f"M{number}")
        for number in range(2000)
    ]
    body = traces(*inner, service="kong").SerializeToString()
    for _ in range(8):
        batch = decoder.decode("traces", "application/x-protobuf", body, now_ns=NOW_NS)
        assert batch.calls is None
        assert batch.services == {"kong"}
    spans = decoder._traces
    assert 0 < spans._without_series <= 2000
    more = [
        span("kong.internal.request", kind=CLIENT, number=number + 1, http__method=f"N{number}")
        for number in range(9000)
    ]
    body = traces(*more, service="kong").SerializeToString()
    decoder.decode("traces", "application/x-protobuf", body, now_ns=NOW_NS)
    decoder.decode("traces", "application/x-protobuf", traces().SerializeToString(), now_ns=NOW_NS)
    assert spans._without_series == 0
    assert "kong" not in spans._tables
